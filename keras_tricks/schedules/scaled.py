"""Scaled: any schedule times a number."""

from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks import _arguments
from keras_tricks.schedules import _inner


@keras.saving.register_keras_serializable("keras_tricks")
class Scaled(LearningRateSchedule):
    """Multiplies a schedule by a fixed number.

    When: a schedule has the right form, but the wrong height.
    Typical: `factor=0.5` when the loss has stopped falling.
    Costs: nothing.
    Beware: to change the factor in a running training make a new `Scaled`, at the
        end of an epoch; the compiled step keeps the old number.

    Args:
        schedule: Float, or the schedule to multiply.
        factor: Positive float.

    Raises:
        TypeError: If `schedule` is neither a number nor a `LearningRateSchedule`, or
            `factor` is not a number.
        ValueError: If `factor`, or a number given as `schedule`, is not positive.

    Example:
    >>> import keras_tricks as kt
    >>> schedule = kt.schedules.Scaled(kt.schedules.Warmup(0.1, 4), factor=0.5)
    >>> [round(float(schedule(step)), 3) for step in (0, 2, 4, 100)]
    [0.0, 0.025, 0.05, 0.05]

    Reference: none; a product.
    """

    def __init__(self, schedule: LearningRateSchedule | float, factor: float) -> None:
        self.schedule = _inner.checked("schedule", schedule)
        self.factor = _arguments.positive("factor", factor)

    def __call__(self, step: Any) -> Any:
        """Returns the rate at `step`, a scalar or a vector of steps."""
        return _inner.rate_at(self.schedule, step) * float(self.factor)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the inner schedule serialized."""
        return {
            "schedule": _inner.serialized(self.schedule),
            "factor": self.factor,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Scaled":
        """Makes the schedule that `get_config` describes."""
        return cls(**_inner.deserialized(config))


def scaled(schedule: LearningRateSchedule | float, factor: float) -> Any:
    """Multiplies a rate, be it a schedule or a float, by a number.

    When: you scale again and again, as a callback on a plateau does.
    Typical: `factor=0.5`.
    Costs: nothing; factors are multiplied, so nesting never grows.
    Beware: a float gives a float, anything else a `Scaled`.

    Args:
        schedule: Float or schedule.
        factor: Positive float.

    Returns:
        Float for a float, else `Scaled`.

    Raises:
        TypeError: If `schedule` is neither a number nor a `LearningRateSchedule`, or
            `factor` is not a number.
        ValueError: If `factor`, or a number given as `schedule`, is not positive.

    Example:
    >>> import keras_tricks as kt
    >>> once = kt.schedules.scaled(kt.schedules.Warmup(0.1, 4), 0.5)
    >>> kt.schedules.scaled(once, 0.5).factor
    0.25

    Reference: none; a product.
    """
    _arguments.positive("factor", factor)
    if isinstance(schedule, Scaled):
        return Scaled(schedule.schedule, schedule.factor * factor)
    if isinstance(schedule, LearningRateSchedule):
        return Scaled(schedule, factor)
    return _inner.checked("schedule", schedule) * factor
