"""All folds as the members of one vectorized program."""

import copy
import importlib
import inspect
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_tricks import _build, _state
from keras_tricks.model_selection import _answers, _callbacks, _data, _scoring
from keras_tricks.model_selection._data import Data
from keras_tricks.model_selection._progress import Progress
from keras_tricks.model_selection._task import Outcome, Task

_FIT_ARGUMENTS = ("class_weight", "shuffle", "validation_freq")
# Numbers that the members' answers to a block of rows may be.
_BLOCK = 2**24

Member = tuple[Task, int]


class NotPossibleError(ValueError):
    """The reason why folds must be trained one after the other."""


def engine() -> Any:
    """The class that trains many models as one program.

    Raises:
        NotPossibleError: If this version has none.
    """
    # Not by name: it may be missing.
    ensembles = importlib.import_module("keras_tricks.ensembles")
    found = getattr(ensembles, "VectorizedEnsemble", None)
    if found is None:
        raise NotPossibleError("there is no kt.ensembles.VectorizedEnsemble")
    return found


def check(task: Task) -> None:
    """Looks for what needs a loop.

    Raises:
        NotPossibleError: If there is something.
    """
    engine()
    if task.preprocess is not None:
        raise NotPossibleError("`preprocess` gives every fold other inputs")
    if takes_fold(task.build):
        raise NotPossibleError("`build` takes `fold`, so folds may differ")
    others = sorted(set(task.fit_arguments) - {*_FIT_ARGUMENTS, "verbose"})
    if others:
        raise NotPossibleError(f"`{others[0]}` is an argument of `fit` alone")
    given = task.callbacks
    if _callbacks.is_made(given) or any(
        type(callback) is not keras.callbacks.EarlyStopping
        for callback in _callbacks.listed(given)
    ):
        raise NotPossibleError("callbacks other than EarlyStopping see one model")
    if len(_callbacks.listed(given)) > 1:
        raise NotPossibleError("there are two EarlyStopping callbacks")


def takes_fold(build: Any) -> bool:
    """Whether a function is told the number of the fold."""
    try:
        parameters = inspect.signature(build).parameters
    except (ValueError, TypeError):
        return False
    kinds = {parameter.kind for parameter in parameters.values()}
    return "fold" in parameters or inspect.Parameter.VAR_KEYWORD in kinds


def run(
    members: list[Member],
    data: Data,
    splits: list[Any],
    progress: Progress,
    learning_rates: Any = None,
    weight_decays: Any = None,
) -> Iterator[Outcome]:
    """Trains these folds of these tasks together; the outcomes come in their order.

    All tasks have one architecture, batch size and number of epochs; the rates and
    decays that they differ by are given, one per member.

    Raises:
        NotPossibleError: If the model is not one that can be.
    """
    started = time.perf_counter()
    task = members[0][0]
    check(task)
    seeds = [one.seed_of(fold) for one, fold in members]
    train, test = ([splits[fold][side] for _, fold in members] for side in (0, 1))
    models: list[Any] = []

    def build() -> Any:
        model = _build.model(task.build, seed=seeds[0], fold=0)
        models.append(model)
        return model

    with _state.seeded(task.seed):
        try:
            many = engine()(
                build,
                len(members),
                seeds=seeds,
                learning_rates=learning_rates,
                weight_decays=weight_decays,
            )
            histories = _trained(many, task, data, train, test, progress)
        except (TypeError, ValueError) as error:
            raise NotPossibleError(str(error)) from error
        kind = _answers.kind_of(models[0])
        tested = _evaluated(many, models[0], data, test)
        learnt = _evaluated(many, models[0], data, train) if task.train_scores else None
        wanted = [np.union1d(*pair) for pair in zip(train, test, strict=True)]
        answers = _predicted(many, data, wanted if learnt else test)
    seconds = (time.perf_counter() - started) / len(members)
    for place, (one, fold) in enumerate(members):
        rows, found = (wanted if learnt else test)[place], answers[place]
        ours = found[np.searchsorted(rows, test[place])] if learnt else found
        scores = {**tested[place], **_judged(one, data, test[place], ours, kind)}
        if learnt:
            theirs = found[np.searchsorted(rows, train[place])]
            more = {
                **learnt[place],
                **_judged(one, data, train[place], theirs, kind),
            }
            scores.update({f"train_{name}": value for name, value in more.items()})
        weights = None
        if one.keep_models:
            alone = many.member(place)
            weights = [value for _, value in _state.copy_variables(alone.variables)]
        history = {
            name: values[place]
            for name, values in _scoring.canonical(models[0], histories).items()
        }
        yield Outcome(fold, scores, history, ours, weights, kind, seconds)


def _trained(
    many: Any, task: Task, data: Data, train: Any, test: Any, progress: Progress
) -> Any:
    """Every value of every member: lists of floats by name and member."""
    stopping = copy.deepcopy((_callbacks.listed(task.callbacks) or [None])[0])
    many.fit(
        data.x,
        data.y,
        sample_weight=data.sample_weight,
        batch_size=task.batch_size,
        epochs=task.epochs,
        rows=train,
        validation_rows=test,
        early_stopping=stopping,
        callbacks=progress.epochs(task.epochs, len(train)),
        **{"verbose": 0, **task.fit_arguments},
    )
    members = len(train)
    last: list[Any] = [None] * members
    if stopping is not None:
        last = [None if end < 0 else end for end in many.stopped_epochs]
    histories = {}
    for name, values in many.history.history.items():
        if not name.startswith("member_"):
            continue
        table = np.stack(values).astype("float64")
        plain = name.removeprefix("member_")
        epochs = np.arange(task.epochs)
        if plain.startswith("val_"):
            epochs = epochs[_validated(task.fit_arguments, task.epochs)]
        histories[plain] = [
            # Of a member that was stopped, until then.
            table[: None if last[k] is None else (epochs <= last[k]).sum(), k].tolist()
            for k in range(members)
        ]
    return histories


def _validated(fit_arguments: dict[str, Any], epochs: int) -> Any:
    """After which epochs there are values of the held-out rows, as a mask."""
    every, numbers = fit_arguments.get("validation_freq", 1), np.arange(1, epochs + 1)
    return (
        np.isin(numbers, list(every))
        if hasattr(every, "__len__")
        else (numbers % every == 0)
    )


def _evaluated(many: Any, model: Any, data: Data, rows: Any) -> list[dict[str, float]]:
    many.evaluate(
        data.x, data.y, sample_weight=data.sample_weight, verbose=0, rows=rows
    )
    logs = _scoring.canonical(model, many.member_logs)
    return [
        {name: float(values[k]) for name, values in logs.items()}
        for k in range(len(rows))
    ]


def _predicted(many: Any, data: Data, rows: list[Any]) -> list[Any]:
    """The answers of each member to its own rows."""
    order = [np.argsort(own, kind="stable") for own in rows]
    sorted_rows = [own[by] for own, by in zip(rows, order, strict=True)]
    parts: list[list[Any]] = [[] for _ in rows]
    block, start = 32, 0
    while start < len(data):
        stop = min(start + block, len(data))
        found = many.predict(_data.rows(data.x, np.arange(start, stop)), verbose=0)
        for k, own in enumerate(sorted_rows):
            low, high = np.searchsorted(own, [start, stop])
            parts[k].append(found[own[low:high] - start, k])
        # All members answer all rows: not all at once where they are many.
        block = max(32, _BLOCK // max(1, found[0].size))
        start = stop
    answers = []
    for by, part in zip(order, parts, strict=True):
        together = np.concatenate(part)
        back = np.empty_like(together)
        back[by] = together
        answers.append(back)
    return answers


def _judged(task: Task, data: Data, rows: Any, predictions: Any, kind: str) -> Any:
    x, y = _data.rows(data.x, rows), _data.rows(data.y, rows)
    return task.judge(x, y, predictions, kind)
