"""Cosine restarts: cool down along a cosine, jump back up, again and again."""

import itertools
import math
from decimal import Decimal, localcontext
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks import _arguments
from keras_tricks.schedules._step import LAST_STEP, count, power, whole


@keras.saving.register_keras_serializable("keras_tricks")
class CosineRestarts(LearningRateSchedule):
    """Lowers the rate along half a cosine, then restarts at the top (SGDR).

    When: you want a good model at the end of every cycle, or do not know how
        long to train; snapshot ensembles.
    Typical: `first_decay_steps` = 1 to 10 epochs with `t_mul=2`, or the whole
        training divided by the number of snapshots with `t_mul=1`.
    Costs: nothing.
    Beware: the loss jumps at each restart, so judge the model at `cycle_ends`.

    The arguments mean what they mean in Keras's `CosineDecayRestarts`, but no restart
    is missed: Keras finds its cycle by a float32 logarithm, which fails at some.
    Restart k is at `first_decay_steps * (t_mul**k - 1) / (t_mul - 1)`. Where that is
    not a whole number (`t_mul=1.5`) the cycle's first step is the next whole one, and
    the rate there is a little below the peak, as in Keras.

    Args:
        initial_learning_rate: Float, the rate at step 0.
        first_decay_steps: Positive integer, length of the first cycle in steps.
        t_mul: Float, 1 or from 1.001 to 1000. Each cycle is this many times longer.
        m_mul: Positive float. At each restart the height above the floor is
            multiplied by it: with `alpha=0`, the peak.
        alpha: Float in [0, 1), the floor as a fraction of `initial_learning_rate`.

    Raises:
        TypeError: If an argument is not a number of the right kind.
        ValueError: If an argument is out of its range; `t_mul` below 1 would shrink
            the cycles until they are shorter than one step.

    Example:
    >>> import keras_tricks as kt
    >>> schedule = kt.schedules.CosineRestarts(0.1, first_decay_steps=10, t_mul=2.0)
    >>> [round(float(schedule(step)), 3) for step in (0, 5, 9, 10, 20, 30)]
    [0.1, 0.05, 0.002, 0.1, 0.05, 0.1]
    >>> schedule.cycle_ends(70)
    [9, 29, 69]

    Reference: Loshchilov and Hutter 2017, SGDR, arXiv 1608.03983.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
    ) -> None:
        self.initial_learning_rate = _arguments.positive(
            "initial_learning_rate", initial_learning_rate
        )
        self.first_decay_steps = count("first_decay_steps", first_decay_steps)
        self.t_mul = _checked_t_mul(t_mul)
        self.m_mul = _arguments.positive("m_mul", m_mul)
        self.alpha = _arguments.within("alpha", alpha, 0, 1, open_high=True)
        self._table = None if t_mul == 1 else self._cycles()

    def __call__(self, step: Any) -> Any:
        """Returns the rate at `step`, a scalar or a vector of steps."""
        cycle, position, length = self._locate(whole(step))
        cosine = ops.cos(position / length * math.pi)
        height = power(self.m_mul, cycle) * 0.5 * (1.0 + cosine)
        return self.initial_learning_rate * (self.alpha + (1 - self.alpha) * height)

    def cycle_ends(self, steps: int) -> list[int]:
        """Returns the last step of every cycle in a training of so many steps.

        The rate is lowest there. A last cycle that the training cuts short ends at
        `steps - 1`.

        Args:
            steps: Positive integer, length of the training in optimizer steps.

        Returns:
            List of integers, counted from step 0.

        Raises:
            TypeError: If `steps` is not an integer.
            ValueError: If `steps` is not positive.

        Example:
        >>> import keras_tricks as kt
        >>> kt.schedules.CosineRestarts(0.1, 10, t_mul=2.0).cycle_ends(50)
        [9, 29, 49]
        """
        starts = self._starts(count("steps", steps))
        return [min(math.ceil(start), steps) - 1 for start in starts[1:]]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "first_decay_steps": self.first_decay_steps,
            "t_mul": self.t_mul,
            "m_mul": self.m_mul,
            "alpha": self.alpha,
        }

    def _starts(self, steps: int) -> list[Decimal]:
        """Returns where each cycle starts; only the last start is `steps` or later."""
        # Decimals hold 1.1 as it was typed: in binary, 10 + 11 would miss step 21.
        with localcontext(prec=50):
            growth = Decimal(repr(float(self.t_mul)))
            length = Decimal(int(self.first_decay_steps))
            starts = [Decimal(0)]
            while starts[-1] < steps:
                starts.append(starts[-1] + length)
                length *= growth
        return starts

    def _cycles(self) -> tuple[Any, Any, Any]:
        """Each cycle's first step, how far that is into the cycle, and its length.

        The cycles are few, as they grow.
        """
        starts = self._starts(LAST_STEP + 1)
        first = [math.ceil(start) for start in starts[:-1]]
        late = [step - start for step, start in zip(first, starts, strict=False)]
        length = [end - start for start, end in itertools.pairwise(starts)]
        return (
            np.array(first, "int32"),
            np.array(late, "float32"),
            np.array(length, "float32"),
        )

    def _locate(self, step: Any) -> tuple[Any, Any, Any]:
        """Returns the cycle, the position in it and its length."""
        if self._table is None:
            cycle = step // self.first_decay_steps
            start = cycle * self.first_decay_steps
            position = ops.cast(step - start, "float32")
            return cycle, position, float(self.first_decay_steps)
        first = ops.convert_to_tensor(self._table[0], dtype="int32")
        late = ops.convert_to_tensor(self._table[1], dtype="float32")
        length = ops.convert_to_tensor(self._table[2], dtype="float32")
        flat = ops.reshape(step, (-1,))
        cycle = ops.searchsorted(first, flat, side="right") - 1
        cycle = ops.reshape(cycle, ops.shape(step))
        whole_steps = ops.cast(step - ops.take(first, cycle), "float32")
        return cycle, whole_steps + ops.take(late, cycle), ops.take(length, cycle)


def _checked_t_mul(t_mul: float) -> float:
    if _arguments.positive("t_mul", t_mul) < 1:
        raise ValueError(
            "`t_mul` must be at least 1: below it the cycles shrink until they are "
            "shorter than one step. Use t_mul=1.0 for cycles of equal length. "
            f"Received: t_mul={t_mul!r}"
        )
    return t_mul if t_mul == 1 else _arguments.within("t_mul", t_mul, 1.001, 1000)
