"""Preview: a schedule's rates without training."""

from typing import Any

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks.schedules import _inner
from keras_tricks.schedules._step import count


def preview(schedule: LearningRateSchedule | float, steps: int) -> np.ndarray[Any, Any]:
    """Computes the rates of the first steps without training.

    When: always, before you train with a schedule.
    Typical: `steps` = epochs times steps per epoch.
    Costs: about a second for a million steps, on the CPU; a foreign schedule that
        takes neither a vector of steps nor `keras.ops.vectorized_map` costs 0.1 ms
        per step or more.
    Beware: `steps` counts optimizer steps, not epochs.

    Args:
        schedule: Schedule, or a float for a constant rate.
        steps: Positive integer, in optimizer steps.

    Returns:
        float32 array of shape `(steps,)`: the rates at steps 0 to `steps - 1`.

    Raises:
        TypeError: If `schedule` is neither a number nor a `LearningRateSchedule`, or
            `steps` is not an integer.
        ValueError: If `steps`, or a number given as `schedule`, is not positive.

    Example:
    >>> import keras_tricks as kt
    >>> kt.schedules.preview(kt.schedules.Warmup(0.1, 4), steps=4).round(3)
    array([0.   , 0.025, 0.05 , 0.075], dtype=float32)

    Reference: none.
    """
    _inner.checked("schedule", schedule)
    every = np.arange(count("steps", steps), dtype="int32")
    few = np.unique(np.linspace(0, steps - 1, 8).astype("int32"))
    expected = _one_by_one(schedule, few)
    for compute in (_at_once, _mapped):
        try:
            rates = compute(schedule, every)
        except Exception:  # A single step shows whether it is real.
            continue
        # A schedule that does not foresee a vector may also return a wrong answer.
        if rates.shape == every.shape and _close(rates[few], expected):
            return rates
    return _one_by_one(schedule, every)


def _at_once(schedule: Any, steps: Any) -> np.ndarray[Any, Any]:
    with keras.device("cpu:0"):
        rates = _inner.rate_at(schedule, ops.convert_to_tensor(steps))
        return np.asarray(rates, "float32")


def _mapped(schedule: Any, steps: Any) -> np.ndarray[Any, Any]:
    with keras.device("cpu:0"):
        steps = ops.convert_to_tensor(steps)
        rates = ops.vectorized_map(lambda at: _inner.rate_at(schedule, at), steps)
        return np.asarray(rates, "float32")


def _one_by_one(schedule: Any, steps: Any) -> np.ndarray[Any, Any]:
    return np.stack([_at_once(schedule, step) for step in steps])


def _close(rates: Any, expected: Any) -> bool:
    atol = 1e-6 * float(np.abs(expected).max())
    return np.allclose(rates, expected, rtol=1e-5, atol=atol, equal_nan=True)
