"""Cyclical rates: up and down between two rates in straight lines."""

from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks import _arguments
from keras_tricks.schedules._step import count, power, whole

MODES = ("triangular", "triangular2", "exp_range")


@keras.saving.register_keras_serializable("keras_tricks")
class Cyclical(LearningRateSchedule):
    """Moves the rate up and down between two values in straight lines.

    When: a range test gave you an interval of good rates rather than one.
    Typical: `step_size` = 2 to 10 epochs; the two rates from a range test.
    Costs: nothing.
    Beware: `step_size` is HALF a cycle. End the training at a multiple of two
        `step_size`, where the rate is lowest.

    Args:
        initial_learning_rate: Float, the lower rate; each cycle starts and ends here.
        maximal_learning_rate: Float, the upper rate, reached after `step_size` steps.
        step_size: Positive integer, half a cycle in steps.
        mode: `"triangular"`: all cycles equal. `"triangular2"`: each cycle is half as
            high as the one before. `"exp_range"`: the height at step t is multiplied
            by `gamma**t`.
        gamma: Float in (0, 1], used by `"exp_range"` only. The default halves the
            height about every 11,500 steps.

    Raises:
        TypeError: If an argument is not a number of the right kind.
        ValueError: If an argument is out of its range, the lower rate is not below
            the upper one, or `mode` is unknown.

    Example:
    >>> import keras_tricks as kt
    >>> schedule = kt.schedules.Cyclical(0.001, 0.006, 2000, mode="triangular2")
    >>> [round(float(schedule(step)), 5) for step in (0, 2000, 4000, 6000, 10_000)]
    [0.001, 0.006, 0.001, 0.0035, 0.00225]

    Reference: Smith 2017, Cyclical Learning Rates, arXiv 1506.01186.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        maximal_learning_rate: float,
        step_size: int,
        mode: str = "triangular",
        gamma: float = 0.99994,
    ) -> None:
        self.initial_learning_rate = _arguments.positive(
            "initial_learning_rate", initial_learning_rate
        )
        self.maximal_learning_rate = _arguments.positive(
            "maximal_learning_rate", maximal_learning_rate
        )
        _arguments.below(
            "initial_learning_rate",
            initial_learning_rate,
            "maximal_learning_rate",
            maximal_learning_rate,
        )
        self.step_size = count("step_size", step_size)
        self.mode = _arguments.one_of("mode", mode, MODES)
        self.gamma = _arguments.within("gamma", gamma, 0, 1, open_low=True)

    def __call__(self, step: Any) -> Any:
        """Returns the rate at `step`, a scalar or a vector of steps."""
        step = whole(step)
        half = step // self.step_size
        cycle = half // 2
        way = ops.cast(step - half * self.step_size, "float32") / self.step_size
        height = ops.where(ops.equal(half, 2 * cycle), way, 1.0 - way)
        if self.mode == "triangular2":
            height = height * power(0.5, cycle)
        elif self.mode == "exp_range":
            height = height * power(self.gamma, step)
        span = self.maximal_learning_rate - self.initial_learning_rate
        return self.initial_learning_rate + span * height

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "maximal_learning_rate": self.maximal_learning_rate,
            "step_size": self.step_size,
            "mode": self.mode,
            "gamma": self.gamma,
        }
