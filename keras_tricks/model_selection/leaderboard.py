"""Leaderboards: configurations compared by cross-validation."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_tricks import _arguments
from keras_tricks.ensembles import _random
from keras_tricks.model_selection import (
    _configurations,
    _data,
    _plan,
    _progress,
    _sweep,
)
from keras_tricks.model_selection._board import Entry, Leaderboard, higher_is_better
from keras_tricks.model_selection._configurations import Configuration, Configured
from keras_tricks.model_selection._cross_validation import CrossValidation
from keras_tricks.model_selection._progress import Progress
from keras_tricks.model_selection._reuse import Reused
from keras_tricks.model_selection._scoring import Judge
from keras_tricks.model_selection._store import Store


def leaderboard(
    build: Callable[..., Any],
    configurations: Any,
    x: Any,
    y: Any,
    *,
    epochs: int,
    cv: Any = 5,
    groups: Any = None,
    batch_size: int = 32,
    rank_by: str | None = None,
    mode: str = "auto",
    keep: int = 10,
    halving: int | None = None,
    trials: int | None = None,
    distributions: Any = None,
    metrics: Any = None,
    scoring: Any = None,
    vectorized: Any = "auto",
    directory: Any = None,
    seed: int | None = None,
    verbose: Any = "auto",
    **arguments: Any,
) -> Leaderboard:
    """Compares configurations by cross-validation, and keeps the best few.

    When: to choose a learning rate, then batch size and weight decay, then widths.
    Typical: `suggest_configurations(build, x, y)`; 10 to 100 configurations, 5 folds.
    Costs: a cross-validation each. Where `kt.ensembles.VectorizedEnsemble` takes the
        model, all learning rates and weight decays of one architecture and batch size
        are one program, of configurations times folds members.
    Beware: the best score of many is too good: judge what you choose on other data.
        Differences below the standard error are luck.

    All configurations have the same folds, and in every fold the same seed.

    Args:
        build: Function that returns a new compiled model. It is called with the values
            of a configuration, and with those of `seed` and `fold` that its signature
            accepts.
        configurations: List of dicts, a `ParameterGrid` or `ParameterSampler` of
            scikit-learn, or an Optuna study. Keys are arguments of `build`, or
            `batch_size` and `epochs`, or `learning_rate` and `weight_decay`, which are
            set on the optimizer where `build` does not take them; a schedule is scaled
            to the rate.
        x: As for `cross_validate`.
        y: As for `cross_validate`.
        epochs: Positive integer.
        cv: As for `cross_validate`. Defaults to 5.
        groups: As for `cross_validate`. Defaults to None.
        batch_size: Positive integer, where a configuration names none. Defaults to 32.
        rank_by: String, the score that decides. Defaults to None: the first of
            `scoring`, or "loss".
        mode: "min" or "max", which is better; "auto" goes by the name. Defaults to
            "auto".
        keep: Positive integer, how many of the best keep their models in memory; with
            a `directory` all have them there. Defaults to 10.
        halving: Integer of at least 2: all configurations get a few epochs, the best
            `1 / halving` of them `halving` times as many from the start, and so on up
            to `epochs`; then no configuration may name its epochs. Defaults to None:
            all get `epochs`.
        trials: Positive integer, how many configurations a study is asked for.
        distributions: Dict from a key to an Optuna distribution, for a study.
        metrics: As for `cross_validate`. Defaults to None.
        scoring: As for `cross_validate`. Defaults to None.
        vectorized: As for `cross_validate`: True also together with `directory`, which
            then gets the folds of one program at once. Defaults to "auto".
        directory: Path of a folder for finished folds, one in it for each
            configuration; the same call goes on where it was killed. Defaults to None.
        seed: As for `cross_validate`. Defaults to None.
        verbose: As for `cross_validate`, of configurations. Defaults to "auto".
        arguments: More that `cross_validate` takes: `preprocess`, `callbacks`,
            `n_jobs`, `sample_weight`, ... and `fit`.

    Returns:
        A leaderboard with `entries` (each with `configuration` and `result`), the best
        one first, `best`, `summary()` with ranks and standard errors, `top(k)`,
        `select()` for greedy selection, and `ensemble(fusion)`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range, or a configuration has a key
            that nothing takes.

    Example:
    >>> import keras, numpy as np
    >>> from keras_tricks.model_selection import leaderboard
    >>> def build():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> x, y = np.ones((6, 2)), np.ones(6)
    >>> rates = [{"learning_rate": 0.1}, {"learning_rate": 0.0}]
    >>> board = leaderboard(build, rates, x, y, cv=2, epochs=3, seed=1, verbose=0)
    >>> board.best
    {'learning_rate': 0.1}

    Reference: Caruana et al. 2004, "Ensemble selection from libraries of models";
    Jamieson and Talwalkar 2015, arXiv 1502.07943 (halving).
    """
    _arguments.positive_integer("epochs", epochs)
    _arguments.positive_integer("keep", keep)
    level = _progress.check(verbose)
    store = None if directory is None else Store(directory, "leaderboard.json")
    base = _random.drawn(store.seed if seed is None and store is not None else seed)
    if store is not None:
        data = _data.fingerprint(*[_data.leaves(part) for part in (x, y)])
        store.open({"seed": base, "data": data})
    names = Judge(metrics, scoring).names
    rank_by = rank_by or (names[0] if names else "loss")
    higher = higher_is_better(rank_by, mode, names)
    runner = _Runner(
        build,
        x,
        y,
        directory,
        vectorized,
        batch_size,
        {
            "groups": groups,
            "metrics": metrics,
            "scoring": scoring,
            "seed": base,
            **_completed(arguments),
        },
        cv,
        (rank_by, higher),
        keep,
    )
    if hasattr(configurations, "ask") and hasattr(configurations, "tell"):
        return _studied(
            runner,
            configurations,
            trials,
            distributions,
            epochs,
            keep,
            rank_by,
            higher,
            level,
        )
    if trials is not None or distributions is not None:
        raise ValueError(
            "`trials` and `distributions` go with an Optuna study. Received: "
            f"trials={trials!r} and configurations of the type "
            f"{type(configurations).__name__}"
        )
    left = _configurations.listed(configurations)
    if halving is not None and any("epochs" in configuration for configuration in left):
        raise ValueError(
            "`halving` must be None where configurations name their epochs: it gives "
            f"them out. Received: halving={halving!r}"
        )
    entries: list[Entry] = []
    for number, (count, budget) in enumerate(_rungs(len(left), epochs, halving)):
        left = left[:count]
        progress = Progress(len(left), level, "configurations")
        fresh = [e._replace(round=number) for e in runner(left, budget, progress)]
        again = [e for e in entries if e.configuration not in left]
        board = Leaderboard([*fresh, *again], rank_by, higher)
        board.keep_models(keep)
        entries = board.entries
        left = [entry.configuration for entry in entries[: len(left)]]
    return Leaderboard(entries, rank_by, higher)


def _completed(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `cross_validate`, and those of `fit` apart."""
    defaults = {
        "return_train_score": False,
        "preprocess": None,
        "callbacks": None,
        "sample_weight": None,
        "keep_models": True,
        "n_jobs": None,
    }
    own = {name: arguments.pop(name, value) for name, value in defaults.items()}
    return {**own, "fit_arguments": arguments}


def _rungs(count: int, epochs: int, halving: Any) -> list[tuple[int, int]]:
    """How many configurations get how many epochs, round by round."""
    if halving is None:
        return [(count, epochs)]
    _arguments.integer("halving", halving, 2, 1000)
    counts, budgets = [count], [epochs]
    while counts[-1] > 1 and budgets[-1] >= halving:
        counts.append(-(-counts[-1] // halving))
        budgets.append(budgets[-1] // halving)
    return list(zip(counts, reversed(budgets), strict=True))


@dataclasses.dataclass
class _Runner:
    """Cross-validates configurations on the same folds."""

    build: Any
    x: Any
    y: Any
    directory: Any
    vectorized: Any
    batch_size: int
    settings: dict[str, Any]
    cv: Any
    ranked: tuple[str, bool]
    keep: int

    def __call__(
        self, configurations: list[Configuration], epochs: int, progress: Progress
    ) -> list[Entry]:
        plans = [self._plan(configuration, epochs) for configuration in configurations]
        outcomes: dict[int, Any] = {}
        alone = self.directory is not None or self.settings["n_jobs"] is not None
        if self.vectorized is True or (self.vectorized == "auto" and not alone):
            outcomes = _sweep.run(plans, progress, insist=self.vectorized is True)
        entries, reused = [], Reused()
        for number, plan in enumerate(plans):
            if number not in outcomes:
                outcomes[number] = plan.run(Progress(len(plan.splits), 0), reused)
                progress.finished(f"configuration {number}")
            result = CrossValidation(plan, outcomes[number])
            entries.append(Entry(configurations[number], result, plan.task.epochs))
            # After each: the memory is that of the best few, and a wrong `rank_by` is
            # told at once.
            Leaderboard(entries, *self.ranked).keep_models(self.keep)
        return entries

    def _plan(self, configuration: Configuration, epochs: int) -> Any:
        given, batch = _configurations.training(configuration, epochs, self.batch_size)
        folder = None
        if self.directory is not None:
            name = f"{_configurations.name(configuration)}-{given}"
            folder = Path(self.directory) / f"configuration-{name}"
        plan = _plan.checked(
            Configured(self.build, configuration),
            self.x,
            self.y,
            cv=self.cv,
            epochs=given,
            batch_size=batch,
            # What cannot be swept is not tried again, fold by fold.
            vectorized=False,
            directory=folder,
            **self.settings,
        )
        # The same folds for all, whatever the splitter does.
        self.cv = plan.splits
        return plan


def _studied(
    runner: _Runner,
    study: Any,
    trials: Any,
    distributions: Any,
    epochs: int,
    keep: int,
    rank_by: str,
    higher: bool,
    level: int,
) -> Leaderboard:
    if trials is None or not isinstance(distributions, dict):
        raise ValueError(
            "`trials` and `distributions` must be given with a study. Received: "
            f"trials={trials!r}, distributions={distributions!r}"
        )
    _arguments.positive_integer("trials", trials)
    wanted = "MAXIMIZE" if higher else "MINIMIZE"
    if study.direction.name != wanted:
        raise ValueError(
            f"`configurations` must be a study that looks for the "
            f"{'highest' if higher else 'lowest'} {rank_by!r}. Received: one with the "
            f"direction {study.direction.name}; create it with direction="
            f"{wanted.lower()!r}"
        )
    progress = Progress(trials, level, "configurations")
    entries: dict[str, Entry] = {}
    for number in range(trials):
        trial = study.ask(distributions)
        name = _configurations.name(trial.params)
        if name not in entries:
            # A study may ask for the same values again.
            silent = Progress(1, 0)
            (entries[name],) = runner([dict(trial.params)], epochs, silent)
        board = Leaderboard([*entries.values()], rank_by, higher)
        board.keep_models(keep)
        mean = board.mean(entries[name])
        study.tell(trial, mean)
        progress.finished(f"trial {number}, {rank_by} {mean:.4g}")
    return Leaderboard([*entries.values()], rank_by, higher)
