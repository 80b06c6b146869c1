"""The highest rate of a schedule, without a run through it where that is known.

On JAX a schedule takes up to a second when it is asked the first time.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks import schedules as ours
from keras_tricks.schedules import _inner

_theirs = keras.optimizers.schedules
# Where other schedules are asked: at most twice as far as the last time.
_STEPS = np.unique(np.geomspace(1, 1_000_000, 24).astype("int32")) - 1

_KNOWN: dict[type, Callable[[Any], float]] = {
    _theirs.CosineDecay: lambda s: max(s.initial_learning_rate, s.warmup_target or 0),
    _theirs.CosineDecayRestarts: lambda s: s.initial_learning_rate,
    _theirs.ExponentialDecay: lambda s: s.initial_learning_rate,
    _theirs.InverseTimeDecay: lambda s: s.initial_learning_rate,
    _theirs.PiecewiseConstantDecay: lambda s: max(s.values),
    _theirs.PolynomialDecay: lambda s: max(
        s.initial_learning_rate, s.end_learning_rate
    ),
    ours.CosineRestarts: lambda s: s.initial_learning_rate,
    ours.Cyclical: lambda s: s.maximal_learning_rate,
    ours.OneCycle: lambda s: s.maximal_learning_rate,
    ours.SlantedTriangular: lambda s: s.maximal_learning_rate,
    ours.Scaled: lambda s: s.factor * peak(s.schedule),
    ours.Warmup: lambda s: peak(s.schedule),
}


def peak(schedule: Any) -> float:
    """The highest rate of a schedule, or the rate that stands for one."""
    if not isinstance(schedule, LearningRateSchedule):
        return float(schedule)
    if type(schedule) in _KNOWN:
        return float(_KNOWN[type(schedule)](schedule))
    with keras.device("cpu:0"):
        steps = [keras.ops.convert_to_tensor(step) for step in _STEPS]
        rates = [_inner.rate_at(schedule, step) for step in steps]
    return max(float(keras.ops.convert_to_numpy(rate)) for rate in rates)
