"""A cross-validation: everything is checked, then its folds are trained."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_tricks import _arguments, _backend, _build, _state
from keras_tricks.ensembles import _initial_weights, _random
from keras_tricks.model_selection import (
    _answers,
    _callbacks,
    _data,
    _fold,
    _folds,
    _jobs,
    _program,
    _vectorized,
)
from keras_tricks.model_selection._progress import Progress
from keras_tricks.model_selection._reuse import Reused
from keras_tricks.model_selection._scoring import Judge
from keras_tricks.model_selection._store import Store
from keras_tricks.model_selection._task import Outcome, Task

# Updates of all folds. With fewer than these the loop has mostly been faster.
_FEW_STEPS = 100
# What `cross_validate` gives to `fit` itself.
_OWN = ("x", "y", "validation_data", "validation_split", "initial_epoch")


class Plan:
    """What is trained, on which rows, where it is kept, and how it is run."""

    def __init__(
        self,
        task: Task,
        data: _data.Data,
        splits: list[_folds.Split],
        kind: str,
        store: Store | None,
        vectorized: Any,
        n_jobs: int | None,
    ) -> None:
        self.task, self.data, self.splits, self.kind = task, data, splits, kind
        self.store, self._vectorized, self._n_jobs = store, vectorized, n_jobs
        self.how = ""

    def finished(self) -> dict[int, Outcome]:
        """The folds that an earlier run has left."""
        if self.store is None:
            return {}
        tests = enumerate(test for _, test in self.splits)
        read = [self.store.read(fold, len(test)) for fold, test in tests]
        return {outcome.fold: outcome for outcome in read if outcome is not None}

    def keep(self, outcome: Outcome) -> Outcome:
        """Writes a fold to the directory; its weights need no memory then."""
        if self.store is not None:
            self.store.write(outcome)
            outcome.weights = None
        return outcome

    def run(self, progress: Progress, reused: Reused | None = None) -> list[Outcome]:
        """Trains the folds that are not finished yet."""
        reused = Reused() if reused is None else reused
        outcomes = self.finished()
        progress.resumed(len(outcomes))
        pending = [f for f in range(len(self.splits)) if f not in outcomes]
        for outcome in self._trained(pending, progress, reused):
            outcomes[outcome.fold] = self.keep(outcome)
            progress.finished(f"fold {outcome.fold}, {note(outcome.scores)}")
        return [outcomes[fold] for fold in sorted(outcomes)]

    def _trained(
        self, pending: list[int], progress: Progress, reused: Reused
    ) -> Iterator[Outcome]:
        if not pending:
            self.how = "all from an earlier run"
            return
        if self._vectorized == "auto" and self.alone():
            self.how = self.alone()
        elif self._vectorized:
            members = [(self.task, fold) for fold in pending]
            try:
                # All or nothing: it fails before the first outcome.
                found = _vectorized.run(members, self.data, self.splits, progress)
                made = list(found)
            except _vectorized.NotPossibleError as error:
                if self._vectorized is True:
                    raise refused(error) from error
                self.how = f"one after the other: {error}"
            else:
                self.how = "vectorized"
                yield from made
                return
        jobs = _jobs.count(self._n_jobs)
        if jobs > 1:
            self.how = f"{jobs} jobs"
            yield from _jobs.run(
                self.task, self.data, self.splits, pending, self._n_jobs
            )
            return
        for fold in pending:
            yield _fold.run(self.task, self.data, self.splits[fold], fold, reused)

    def alone(self) -> str:
        """Why "auto" does not look for a vectorized program, if it does not."""
        if _jobs.count(self._n_jobs) > 1:
            return "in jobs"
        if self.store is not None:
            # As one program all folds are finished at once, and lost at once.
            return "one after the other: each is kept in `directory`"
        steps = sum(-(-len(train) // self.task.batch_size) for train, _ in self.splits)
        if steps * self.task.epochs < _FEW_STEPS:
            return "one after the other: too few steps to compile a program for"
        return ""


def refused(error: Exception) -> ValueError:
    """The error of who insists on a vectorized program."""
    return ValueError(
        "`vectorized` must be False or 'auto' where folds cannot be one program. "
        f"Received: vectorized=True, but {error}"
    )


def note(scores: dict[str, float]) -> str:
    """The first two scores in a few characters."""
    return ", ".join(f"{name} {value:.4g}" for name, value in list(scores.items())[:2])


def checked(
    build: Callable[..., Any],
    x: Any,
    y: Any,
    *,
    cv: Any,
    groups: Any,
    epochs: Any,
    batch_size: Any,
    metrics: Any,
    scoring: Any,
    return_train_score: bool,
    preprocess: Any,
    callbacks: Any,
    sample_weight: Any,
    keep_models: bool,
    vectorized: Any,
    n_jobs: Any,
    directory: Any,
    seed: Any,
    fit_arguments: dict[str, Any],
) -> Plan:
    """Checks all arguments, and refuses a directory of something else."""
    _arguments.positive_integer("epochs", epochs)
    _arguments.positive_integer("batch_size", batch_size)
    _callbacks.check(callbacks)
    if vectorized not in (True, False):
        _arguments.one_of("vectorized", vectorized, ("auto", True, False))
    if preprocess is not None and not hasattr(preprocess, "fit_transform"):
        raise TypeError(
            "`preprocess` must be a transformer of scikit-learn, with `fit_transform` "
            f"and `transform`. Received: preprocess={preprocess!r}"
        )
    for name in _OWN:
        if name in fit_arguments:
            raise TypeError(
                f"`{name}` must not be given: cross-validation chooses the rows. "
                f"Received: {name}"
            )
    judge = Judge(metrics, scoring)
    data = _data.checked(x, y, sample_weight, table=preprocess is not None)
    store = None if directory is None else Store(directory)
    if seed is None and store is not None:
        seed = store.seed
    base = _random.drawn(seed)
    task = Task(
        build,
        epochs,
        batch_size,
        base,
        judge,
        callbacks,
        preprocess,
        bool(return_train_score),
        bool(keep_models),
        fit_arguments,
    )
    with _state.seeded(base), _initial_weights.drawn_anew(base):
        model = _build.model(build, seed=task.seed_of(0), fold=0)
        outputs = getattr(model, "outputs", None) or ()
        if len(outputs) > 1:
            raise _fold.not_one_output(f"has {len(outputs)}")
        kind, program = _answers.kind_of(model), described(model)
    with _state.seeded(base):
        splits = _folds.made(
            cv, data.x, data.y, groups, classes=kind != "values", seed=base
        )
    plan = Plan(task, data, splits, kind, store, vectorized, n_jobs)
    if store is not None:
        store.open(
            {
                "seed": base,
                "data": _data.fingerprint(*data),
                "model": program,
                "folds": _data.fingerprint([part for pair in splits for part in pair]),
                "settings": settings(task, metrics),
                "backend": _backend.NAME,
            }
        )
    return plan


def described(model: Any) -> str:
    """A model's architecture and how it is compiled, as a fingerprint."""
    key = _program.key(model)
    text = repr([(tuple(v.shape), str(v.dtype)) for v in model.variables])
    optimizer = model.optimizer.get_config()
    text += json.dumps({**optimizer, "name": ""}, default=repr, sort_keys=True)
    if key is None:
        text += type(model).__qualname__ + repr(_name(model.loss))
    else:
        text += key[0] + repr(_name(key[1]))
    return _data.fingerprint(np.frombuffer(text.encode(), "uint8"))


def settings(task: Task, metrics: Any) -> dict[str, Any]:
    """What else decides on the results, for a file."""
    return {
        "epochs": int(task.epochs),
        "batch_size": int(task.batch_size),
        "metrics": [_name(metric) for metric in metrics or []],
        "scoring": task.judge.names,
        "return_train_score": task.train_scores,
        "keep_models": task.keep_models,
        "preprocess": None if task.preprocess is None else repr(task.preprocess),
        "callbacks": _callbacks.described(task.callbacks),
        "fit": {name: str(value) for name, value in sorted(task.fit_arguments.items())},
    }


def _name(thing: Any) -> str:
    if thing is None or isinstance(thing, str):
        return str(thing)
    return str(getattr(thing, "__qualname__", getattr(thing, "name", type(thing))))
