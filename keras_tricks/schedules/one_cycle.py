"""One cycle: up to a large rate, then down to almost nothing."""

import math
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks import _arguments
from keras_tricks.schedules._step import count, whole

ANNEALS = ("cosine", "linear")


@keras.saving.register_keras_serializable("keras_tricks")
class OneCycle(LearningRateSchedule):
    """Raises the rate to a large value, then lowers it to almost nothing.

    When: the number of steps is known beforehand and training time is short.
    Typical: `maximal_learning_rate` from a range test, one half to one fifth of
        the rate at which the loss begins to grow.
    Costs: nothing.
    Beware: stopping early wastes the good part, the end. `final_div_factor`
        divides the FIRST rate here, as in PyTorch; in fastai it divides the
        maximal one.

    The rate starts at `maximal_learning_rate / div_factor`, is largest at step
    `round(warmup_fraction * total_steps) - 1`, and at step `total_steps - 1`, the
    last one, has come down to `maximal_learning_rate / div_factor / final_div_factor`.
    There it stays. These are PyTorch's defaults and steps. For fastai's shape use
    `warmup_fraction=0.25, final_div_factor=1e5 / 25`.

    Args:
        maximal_learning_rate: Float, the largest rate.
        total_steps: Integer of at least 3, steps in the whole training.
        warmup_fraction: Float in (0, 1), share of the steps in which the rate rises.
        div_factor: Float, the maximal rate divided by the first one, above 1.
        final_div_factor: Float, the first rate divided by the last one, at least 1.
        anneal: `"cosine"` or `"linear"`, the form of both slopes.

    Raises:
        TypeError: If an argument is not a number of the right kind.
        ValueError: If an argument is out of its range or `anneal` is unknown.

    Example:
    >>> import keras_tricks as kt
    >>> schedule = kt.schedules.OneCycle(0.1, total_steps=100)
    >>> [round(float(schedule(step)), 4) for step in (0, 29, 64, 99)]
    [0.004, 0.1, 0.05, 0.0]

    Reference: Smith and Topin 2018, Super-Convergence, arXiv 1708.07120.
    """

    def __init__(
        self,
        maximal_learning_rate: float,
        total_steps: int,
        warmup_fraction: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        anneal: str = "cosine",
    ) -> None:
        self.maximal_learning_rate = _arguments.positive(
            "maximal_learning_rate", maximal_learning_rate
        )
        self.total_steps = count("total_steps", total_steps, least=3)
        self.warmup_fraction = _arguments.within(
            "warmup_fraction", warmup_fraction, 0, 1, open_low=True, open_high=True
        )
        self.div_factor = _arguments.within(
            "div_factor", div_factor, 1, math.inf, open_low=True, open_high=True
        )
        self.final_div_factor = _arguments.within(
            "final_div_factor", final_div_factor, 1, math.inf, open_high=True
        )
        self.anneal = _arguments.one_of("anneal", anneal, ANNEALS)

    def __call__(self, step: Any) -> Any:
        """Returns the rate at `step`, a scalar or a vector of steps."""
        top = self.maximal_learning_rate
        first = top / self.div_factor
        last_step = self.total_steps - 1
        # A short training still has one step on each slope.
        peak = round(self.warmup_fraction * self.total_steps) - 1
        peak = min(max(peak, 1), last_step - 1)
        after = ops.cast(whole(step) - peak, "float32")
        rising = self._slope(first, top, 1.0 + after / peak)
        falling = after / (last_step - peak)
        falling = self._slope(top, first / self.final_div_factor, falling)
        return ops.where(after < 0, rising, falling)

    def _slope(self, start: float, end: float, way: Any) -> Any:
        """Goes from `start` to `end` while `way` goes from 0 to 1, and stays there."""
        way = ops.clip(way, 0.0, 1.0)
        if self.anneal == "cosine":
            way = 0.5 - 0.5 * ops.cos(math.pi * way)
        return start * (1.0 - way) + end * way

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "maximal_learning_rate": self.maximal_learning_rate,
            "total_steps": self.total_steps,
            "warmup_fraction": self.warmup_fraction,
            "div_factor": self.div_factor,
            "final_div_factor": self.final_div_factor,
            "anneal": self.anneal,
        }
