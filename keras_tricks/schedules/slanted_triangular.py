"""Slanted triangular rates: a short way up, a long way down."""

import math
from fractions import Fraction
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks import _arguments
from keras_tricks.schedules._step import count, whole


@keras.saving.register_keras_serializable("keras_tricks")
class SlantedTriangular(LearningRateSchedule):
    """Raises the rate in a short straight line and lowers it in a long one.

    When: fine-tuning a pretrained model, above all for text (ULMFiT).
    Typical: the defaults, with `maximal_learning_rate` = 0.01 for SGD.
    Costs: nothing.
    Beware: `total_steps` must be known; after it the rate stays at its lowest.

    The rate is largest at step `floor(warmup_fraction * total_steps)`, at least 1,
    and lowest at steps 0 and `total_steps`. The paper's formula divides by zero where
    that floor is 0 and can fall below its lowest rate where the product is not
    whole; here the way down always ends at `total_steps`. Otherwise they are equal.

    Args:
        maximal_learning_rate: Float, the largest rate.
        total_steps: Integer of at least 2, steps in the whole training.
        warmup_fraction: Float in (0, 1), share of the steps in which the rate
            rises; the paper's `cut_frac`.
        initial_ratio: Float above 1, the largest rate divided by the lowest; the
            paper's `ratio`.

    Raises:
        TypeError: If an argument is not a number of the right kind.
        ValueError: If an argument is out of its range.

    Example:
    >>> import keras_tricks as kt
    >>> schedule = kt.schedules.SlantedTriangular(0.01, total_steps=1000)
    >>> [round(float(schedule(step)), 8) for step in (0, 50, 100, 550, 1000)]
    [0.0003125, 0.00515625, 0.01, 0.00515625, 0.0003125]

    Reference: Howard and Ruder 2018, ULMFiT, section 3.2, arXiv 1801.06146.
    """

    def __init__(
        self,
        maximal_learning_rate: float,
        total_steps: int,
        warmup_fraction: float = 0.1,
        initial_ratio: float = 32,
    ) -> None:
        self.maximal_learning_rate = _arguments.positive(
            "maximal_learning_rate", maximal_learning_rate
        )
        self.total_steps = count("total_steps", total_steps, least=2)
        self.warmup_fraction = _arguments.within(
            "warmup_fraction", warmup_fraction, 0, 1, open_low=True, open_high=True
        )
        self.initial_ratio = _arguments.within(
            "initial_ratio", initial_ratio, 1, math.inf, open_low=True, open_high=True
        )
        # As typed: 0.29 of 100 steps are 29, though the float product is below it.
        peak = math.floor(Fraction(str(warmup_fraction)) * int(total_steps))
        self._peak = max(peak, 1)

    def __call__(self, step: Any) -> Any:
        """Returns the rate at `step`, a scalar or a vector of steps."""
        peak = self._peak
        after = ops.cast(whole(step) - peak, "float32")
        falling = 1.0 - after / (self.total_steps - peak)
        height = ops.where(after < 0, 1.0 + after / peak, falling)
        lowest = self.maximal_learning_rate / self.initial_ratio
        span = self.maximal_learning_rate - lowest
        return lowest + span * ops.maximum(height, 0.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "maximal_learning_rate": self.maximal_learning_rate,
            "total_steps": self.total_steps,
            "warmup_fraction": self.warmup_fraction,
            "initial_ratio": self.initial_ratio,
        }
