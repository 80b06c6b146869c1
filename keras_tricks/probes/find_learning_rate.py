"""The learning-rate range test."""

import itertools
import math
from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments, _backend, _state
from keras_tricks.probes._range_run import RangeRun
from keras_tricks.probes.learning_rate_curve import LearningRateCurve
from keras_tricks.schedules import _rates


def find_learning_rate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    batch_size: int = 32,
    sample_weight: Any = None,
    min_learning_rate: float = 1e-7,
    max_learning_rate: float = 10.0,
    growth: float = 1.05,
    smoothing: float = 0.98,
    stop_at: float = 4.0,
    max_steps: int | None = None,
    class_weight: dict[int, float] | None = None,
    repeats: int = 1,
    seed: int | None = None,
    verbose: int | str = "auto",
) -> LearningRateCurve:
    """Trains for a few hundred steps at ever higher rates and reads off a good one.

    When: before the first real training, and again when the model, the optimizer,
        the batch size or the data change.
    Typical: the defaults, 378 steps from 1e-7 to 10.
    Costs: one short training at the speed of `fit`, and one compilation.
    Beware: the rate holds for this optimizer and batch size. Dropout and
        augmentation make the curve noisy: use `repeats=3`.

    The test trains the model itself, with a copy of its optimizer that starts afresh.
    Afterwards the model, its optimizer, its compiled functions and the global random
    numbers are exactly as before, also when the test ends with an error or Ctrl-C.
    (A model that was not built is built, with untrained weights.)

    With several parameter groups the rate is that of the group with the highest one,
    and the others keep their ratio to it. With gradient accumulation the rate grows
    once per update, and a loss is the mean over the batches of that update. A training
    step of your own that uses several optimizers is tested with the rate of
    `model.optimizer` growing and the others as they are.

    Args:
        model: Compiled model.
        x: Whatever `fit` takes: arrays, `keras.utils.PyDataset`, `tf.data.Dataset`,
            torch `DataLoader`, generator. Data shorter than the test are repeated,
            arrays and the batches of a PyDataset reshuffled. The test takes its batches
            from a generator for good, and ends with it.
        y: Targets, when `x` does not bring them.
        batch_size: Positive integer, for arrays. Use that of the training to come.
        sample_weight: As in `fit`.
        min_learning_rate: Float, the rate of the first update.
        max_learning_rate: Float, no rate is higher.
        growth: Float above 1, the factor from one update to the next.
        smoothing: Float in [0, 1), weight of the past in the smoothed loss.
        stop_at: Float above 1. The test ends when the smoothed loss exceeds this many
            times its lowest value, or is no longer finite.
        max_steps: Positive integer or None. Ends the test after so many updates. To
            cover the same range in fewer steps, raise `growth`.
        class_weight: As in `fit`.
        repeats: Positive integer. The curve is the mean of so many tests.
        seed: Integer or None. With a seed two tests of one model see the same
            batches.
        verbose: "auto", 1 or 2 show a progress bar, 0 does not.

    Returns:
        A `LearningRateCurve`; its `suggestion` is the rate to use.

    Raises:
        TypeError: If an argument has the wrong type, or the optimizer's rate is
            neither a number nor a schedule.
        ValueError: If the model is not compiled, the data are empty, targets are
            missing, a number is out of its range, or the optimizer cannot be copied
            from its config. No value was changed then.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> x = np.random.default_rng(0).normal(size=(512, 8))
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(), "mse")
    >>> curve = kt.probes.find_learning_rate(model, x, x @ np.ones(8), verbose=0)
    >>> curve.verdict, 1e-3 < curve.suggestion < 1.0
    ('clear', True)

    Reference: Smith 2015, section 3.3, arXiv 1506.01186; the defaults and the stopping
    rule are fastai's.
    """
    rates = _learning_rates(min_learning_rate, max_learning_rate, growth, max_steps)
    _arguments.within("smoothing", smoothing, 0, 1, open_high=True)
    _arguments.within("stop_at", stop_at, 1, math.inf, open_low=True, open_high=True)
    _arguments.positive_integer("batch_size", batch_size)
    _arguments.positive_integer("repeats", repeats)
    if seed is not None:
        seed = int(_arguments.integer("seed", seed, 0, 2**32 - repeats))
    _arguments.one_of("verbose", verbose, ("auto", 0, 1, 2))
    _arguments.compiled_model("model", model)
    for group in _rates.groups(model.optimizer):
        _rates.schedule_of(group)
    _check_data(model, x, y, repeats)
    data = {
        "x": x,
        "y": y,
        "sample_weight": sample_weight,
        "class_weight": class_weight,
        "batch_size": batch_size,
        # Keras warns when data that shuffle themselves are to be shuffled.
        "shuffle": _is_arrays(x) or getattr(x, "num_batches", None) is not None,
    }
    _build(model, data)
    with _state.borrowed(model):
        run = RangeRun(model, rates, smoothing, stop_at, verbose=bool(verbose))
        start = _state.copy_variables([*model.variables, *model.optimizer.variables])
        repeated = []
        for repeat in range(repeats):
            _state.assign_variables(start)
            try:
                repeated.append(run(data, None if seed is None else seed + repeat))
            except StopIteration:
                raise _no_batch(x) from None
    if run.steps == 0:
        raise _no_batch(x)
    steps = min(len(losses) for losses in repeated)
    if steps == 0:
        raise ValueError(
            "`x` and `y` must give at least one batch with a finite loss. Received: "
            "a loss that is NaN or infinite in the first batch; look for such values "
            "in the data, or for a loss that does not suit the model's output"
        )
    return LearningRateCurve(
        rates[:steps],
        np.mean([losses[:steps] for losses in repeated], axis=0),
        smoothing=smoothing,
        diverged=run.diverged,
        ended=run.ended,
        seconds=run.seconds,
        first_step_seconds=run.first_step_seconds,
    )


def _learning_rates(low: Any, high: Any, growth: Any, max_steps: Any) -> np.ndarray:
    """`low * growth**k` up to `high`, in float64."""
    _arguments.positive("min_learning_rate", low)
    _arguments.positive("max_learning_rate", high)
    if low >= high:
        raise ValueError(
            "`min_learning_rate` must be below `max_learning_rate`. Received: "
            f"min_learning_rate={low!r}, max_learning_rate={high!r}; leave a range "
            "between the two, the lower first"
        )
    _arguments.within("growth", growth, 1, math.inf, open_low=True, open_high=True)
    if max_steps is not None:
        _arguments.positive_integer("max_steps", max_steps)
    # A range that is a whole number of factors keeps its last rate despite rounding.
    steps = math.floor(math.log(high / low) / math.log(growth) + 1e-9) + 1
    return low * float(growth) ** np.arange(min(steps, max_steps or steps))


def _is_arrays(x: Any) -> bool:
    leaves = keras.tree.flatten(x)
    return bool(leaves) and all(hasattr(leaf, "shape") for leaf in leaves)


def _check_data(model: Any, x: Any, y: Any, repeats: int) -> None:
    if x is None:
        raise ValueError(
            "`x` must be the training data, as for `fit`. Received: x=None; pass "
            "arrays or a data set"
        )
    if hasattr(x, "__next__") and repeats > 1:
        raise ValueError(
            "`repeats` must be 1 with a generator, which cannot start again. Received: "
            f"repeats={repeats}; pass arrays or a keras.utils.PyDataset"
        )
    if not _is_arrays(x):
        if _is_empty(x):
            raise _no_batch(x)
        missing = isinstance(x, keras.utils.PyDataset) and len(_batch(x[0])) < 2
    else:
        missing = y is None
        rows = {leaf.shape[0] if leaf.shape else None for leaf in _leaves(x, y)}
        if len(rows) > 1 or None in rows:
            raise ValueError(
                "`x` and `y` must be arrays with one row per sample. Received: shapes "
                f"{[tuple(leaf.shape) for leaf in _leaves(x, y)]}"
            )
        if rows == {0}:
            raise ValueError(
                "`x` must hold at least one sample. Received: x with 0 rows; look at "
                "how it was selected"
            )
    if missing and model.loss is not None:
        raise ValueError(
            "`y` must hold the targets, because the model was compiled with a loss. "
            "Received: y=None; pass `y`, or a data set that yields (x, y)"
        )


def _leaves(x: Any, y: Any) -> list[Any]:
    leaves = [leaf for leaf in keras.tree.flatten((x, y)) if leaf is not None]
    return [leaf for leaf in leaves if hasattr(leaf, "shape")]


def _batch(batch: Any) -> tuple[Any, ...]:
    return batch if isinstance(batch, tuple) else (batch,)


def _is_empty(x: Any) -> bool:
    try:
        return len(x) == 0
    except TypeError:  # A generator, or a data set of unknown or infinite length.
        return False


def _no_batch(x: Any) -> ValueError:
    return ValueError(
        "`x` must yield at least one batch. Received: an empty "
        f"{type(x).__name__}; look at how it was made"
    )


def _build(model: Any, data: dict[str, Any]) -> None:
    """Builds an unbuilt model on one batch, but not its optimizer."""
    if model.built and all(layer.built for layer in model.layers):
        return
    one = data
    if hasattr(data["x"], "__next__"):
        # The batch is not lost: the generator goes on with it.
        try:
            first = next(data["x"])
        except StopIteration:
            raise _no_batch(data["x"]) from None
        x, y, _ = keras.utils.unpack_x_y_sample_weight(first)
        rest = data["x"]
        data["x"] = (batch for batch in itertools.chain([first], rest))
        one = {"x": x, "y": y, "batch_size": data["batch_size"]}
    with _state.borrowed(model):
        model.optimizer = keras.optimizers.SGD()
        model.train_function = _backend.building_function(model)
        model.fit(**one, verbose=0)
