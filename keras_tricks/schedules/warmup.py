"""Warm-up: reach the learning rate in small steps."""

from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks import _arguments
from keras_tricks.schedules import _inner
from keras_tricks.schedules._step import count, whole


@keras.saving.register_keras_serializable("keras_tricks")
class Warmup(LearningRateSchedule):
    """Raises the learning rate linearly, then hands over to another schedule.

    When: the loss jumps in the first hundred updates; large batches; Adam.
    Typical: `warmup_steps` = 1 to 5 % of the training.
    Costs: nothing.
    Beware: restarts of the inner schedule are not warmed up again.

    Args:
        schedule: Float, or the schedule that takes over. It counts from its
            own step 0, so its first value is reached after `warmup_steps`.
        warmup_steps: Positive integer, in optimizer steps.
        initial_learning_rate: Float, the rate at step 0. Defaults to 0.

    Raises:
        TypeError: If `schedule` is neither a number nor a `LearningRateSchedule`, or
            another argument is not a number of the right kind.
        ValueError: If an argument is out of its range, or the initial rate is not
            below the rate that follows.

    Example:
    >>> import keras_tricks as kt
    >>> schedule = kt.schedules.Warmup(0.1, warmup_steps=4)
    >>> [round(float(schedule(step)), 3) for step in (0, 2, 4, 100)]
    [0.0, 0.05, 0.1, 0.1]

    Reference: Goyal et al. 2017, section 2.2, arXiv 1706.02677.
    """

    def __init__(
        self,
        schedule: LearningRateSchedule | float,
        warmup_steps: int,
        initial_learning_rate: float = 0.0,
    ) -> None:
        self.schedule = _inner.checked("schedule", schedule)
        self.warmup_steps = count("warmup_steps", warmup_steps)
        self.initial_learning_rate = _arguments.not_negative(
            "initial_learning_rate", initial_learning_rate
        )
        if not isinstance(schedule, LearningRateSchedule):
            _arguments.below(
                "initial_learning_rate", initial_learning_rate, "schedule", schedule
            )

    def __call__(self, step: Any) -> Any:
        """Returns the rate at `step`, a scalar or a vector of steps."""
        step = whole(step)
        # The inner schedule never sees a negative step: some return NaN there, and
        # NaN would survive the `where`.
        after = ops.maximum(step - self.warmup_steps, 0)
        target = _inner.rate_at(self.schedule, after)
        start = self.initial_learning_rate
        way = ops.cast(step, "float32") / self.warmup_steps
        rising = start + (_inner.rate_at(self.schedule, 0) - start) * way
        return ops.where(step < self.warmup_steps, rising, target)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the inner schedule serialized."""
        return {
            "schedule": _inner.serialized(self.schedule),
            "warmup_steps": self.warmup_steps,
            "initial_learning_rate": self.initial_learning_rate,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Warmup":
        """Makes the schedule that `get_config` describes."""
        return cls(**_inner.deserialized(config))
