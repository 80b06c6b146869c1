"""Exact arithmetic on the step: integers as long as possible, then float32."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_tricks import _arguments

# The largest int32 that float32 holds exactly, so that clipping to it is safe in both.
LAST_STEP = 2**31 - 128


def whole(step: Any) -> Any:
    """Turns any step (number, tensor, variable, scalar or vector) into int32.

    Fractions are cut off: an optimizer only counts whole steps. Negative steps
    become 0.
    """
    if isinstance(step, int | np.number | np.ndarray):
        # Before a backend cuts it down to the integers that it has.
        step = np.asarray(np.clip(step, 0, LAST_STEP), "int32")
    step = ops.clip(ops.convert_to_tensor(step), 0, LAST_STEP)
    return ops.cast(step, "int32")


def power(base: float, exponent: Any) -> Any:
    """Raises a positive number to an integer tensor.

    The logarithm is taken in float64, which keeps the error near 1e-7 where the
    result matters: the relative error grows only as fast as the result shrinks.
    """
    return ops.exp(ops.cast(exponent, "float32") * math.log(base))


def count(name: str, value: int, least: int = 1) -> int:
    """Checks for a number of optimizer steps."""
    _arguments.positive_integer(name, value)
    return _arguments.integer(name, value, least, LAST_STEP)
