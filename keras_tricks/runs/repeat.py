"""Repeat: a recorded run once more, step by step against its record."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np

from keras_tricks import _build, _state
from keras_tricks._report import Report
from keras_tricks.runs import _given
from keras_tricks.runs._checker import Checker
from keras_tricks.runs._repetition import Repetition
from keras_tricks.runs.run import Run
from keras_tricks.runs.unstable_layers import unstable_layers

_REUSED = (
    "batch_size",
    "epochs",
    "shuffle",
    "initial_epoch",
    "steps_per_epoch",
    "validation_split",
    "validation_freq",
)


def repeat(
    path: Any,
    build: Callable[..., Any],
    x: Any,
    y: Any = None,
    *,
    seed: int | None = None,
    **kwargs: Any,
) -> Repetition:
    """Checks that model and data are the recorded ones, and runs the training again.

    When: a result has to be trusted; a new machine or version; a suspected leak of
        chance.
    Typical: `print(kt.runs.repeat("runs/20260102-030405", build, x, y))`.
    Costs: the training once more.
    Beware: only what `fit` does is repeated. Give it the callbacks that act on the
        training and the validation data again. If random numbers were drawn between the
        seed and `fit`, draw them in `build` too.

    Before the training it sets the recorded seed, that of the last
    `kt.runs.reproducible` before the run; the random numbers of Python, NumPy and the
    backend are given back afterwards (not the seed of `keras.random`). The batch size,
    the epochs that were made, class weights, and the other numbers that `fit` was given
    are those of the record. Losses are compared bit for bit over the steps that were
    kept, and all metrics at the ends of epochs.

    Args:
        path: Folder of a run, or one of `kt.runs.list()`.
        build: Function that returns the compiled model; it is called with `seed` if it
            accepts that.
        x: The training data, as `fit` was given them; or the `data` of the recorder.
        y: The targets, or None if they are in `x`.
        seed: Integer, or None for the recorded one. Without any, nothing is seeded.
        **kwargs: Passed on to `fit`, over the recorded settings.

    Returns:
        Rows of `what`, `recorded`, `repeated` and `same`, that print as a table, with
        `same`, `first_difference` (`step`, `epoch`, `batch`, `recorded`, `repeated`),
        `losses` (of the repeated steps),
        `unstable` (what `kt.runs.unstable_layers` says of the new model) and `model`,
        the trained one.

    Raises:
        TypeError: If `build` cannot be called, or returns no model.
        ValueError: If model or data are not those of the record, or the record is
            damaged or holds no epoch.

    Example:
    >>> import tempfile, keras, numpy as np, keras_tricks as kt
    >>> def build():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
    >>> keras.utils.set_random_seed(3)
    >>> model = build()
    >>> recorder = kt.callbacks.RunRecorder(tempfile.mkdtemp())
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[recorder])
    >>> kt.runs.repeat(recorder.path, build, x, y, seed=3)
    <Report the same, bit for bit>

    Reference: none.
    """
    run = _given.one("path", path)
    epochs = run.history.get("epoch", np.empty(0))
    if not (len(epochs) and 0 <= epochs[-1] < 2**31):
        raise ValueError(
            "`path` must be a run with at least one whole epoch. Received: "
            f"path={str(run.path)!r}, {run.state}, without any"
        )
    settings = _fit_settings(run, int(epochs[-1]) + 1) | kwargs
    seed = _seed(run) if seed is None else seed
    with _state.seeded(seed) if seed is not None else nullcontext():
        if seed is not None:
            keras.utils.set_random_seed(seed)
        model = _build.model(build, seed=seed)
        checker = Checker(run, (x, y))
        used = settings.pop("callbacks", None) or []
        callbacks = [*(used if isinstance(used, list | tuple) else [used]), checker]
        model.fit(x, y, callbacks=callbacks, **settings)
    if checker.rows is None:
        unstable = Report("predictions were not compared: the data are no arrays", [])
    else:
        unstable = unstable_layers(model, checker.rows)
    return checker.repetition(unstable)


def _seed(run: Run) -> int | None:
    held = run.settings.get("seeds.reproducible")
    if isinstance(held, bool) or not isinstance(held, int):
        return None
    return held if 0 <= held < 2**32 else None


def _is_class(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 10


def _fit_settings(run: Run, epochs: int) -> dict[str, Any]:
    held = {name: run.settings.get(f"fit.{name}") for name in _REUSED}
    kinds = int | float | bool
    settings: dict[str, Any] = {}
    settings |= {n: v for n, v in held.items() if isinstance(v, kinds) and v == v}
    weights = (run.manifest.get("fit") or {}).get("class_weight")
    if isinstance(weights, dict) and all(map(_is_class, weights)):
        # JSON has no names that are numbers.
        settings["class_weight"] = {int(n): weight for n, weight in weights.items()}
    settings["epochs"] = epochs
    return {**settings, "verbose": 0}
