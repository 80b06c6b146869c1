"""Preview: a schedule's rates without training."""

from typing import Any

import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks.schedules import _inner
from keras_tricks.schedules._evaluate import rates_at
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
    return rates_at(schedule, np.arange(count("steps", steps), dtype="int32"))
