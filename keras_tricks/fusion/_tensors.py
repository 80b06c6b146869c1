"""The same passes on tensors, also symbolic ones, with `keras.ops`."""

import fractions
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks.fusion import _classes
from keras_tricks.fusion._members import Members

# So that sums of several stay below 2**24, from which on single precision has gaps.
_MOST = 2**20
_HALVES = ("float16", "bfloat16")


def wide(members: Members) -> list[Any]:
    """The members with all columns, in single precision where theirs is less."""
    return widened(full_parts(members), members)


def widened(parts: list[Any], members: Members) -> list[Any]:
    """These parts of the members with all columns, 0 where one lacks the class."""
    return [
        part if columns is None else _classes.widened(part, columns, members.shape[-1])
        for part, columns in zip(parts, members.columns, strict=True)
    ]


def full_parts(members: Members) -> list[Any]:
    """The members, in single precision where theirs is less."""
    kinds = [keras.backend.standardize_dtype(part.dtype) for part in members.parts]
    return [
        ops.cast(part, "float32") if kind in _HALVES else part
        for part, kind in zip(members.parts, kinds, strict=True)
    ]


def like(answer: Any, members: Members) -> Any:
    """The answer in the type of the members, which have one."""
    kind = keras.backend.standardize_dtype(members.parts[0].dtype)
    return ops.cast(answer, kind) if kind in _HALVES else answer


def whole(shares: Any) -> tuple[Any, float]:
    """Shares as whole numbers, and the number that stands for 1.

    Single precision adds whole numbers without rounding, so that a tie is one in any
    order. Shares of whole weights become these, others are rounded.
    """
    found = [fractions.Fraction(share).limit_denominator(_MOST) for share in shares]
    unit = math.lcm(*(share.denominator for share in found))
    if unit > _MOST:
        unit = _MOST
    return np.rint(np.array(shares) * unit), float(unit)


def least(members: Members) -> float:
    """The least number that is not 0 for all backends, in the type of the sums."""
    kind = keras.backend.standardize_dtype(members.parts[0].dtype)
    return float(np.finfo("float64" if kind == "float64" else "float32").tiny)


def weighted_sum(members: Members) -> Any:
    """The weighted mean of the members."""
    return like(total(wide(members), members.weights), members)


def total(parts: list[Any], weights: list[Any]) -> Any:
    """The sum of the parts, each times its weight."""
    answer = None
    for part, weight in zip(parts, weights, strict=True):
        # A member that does not count must not spoil the answer by an infinity.
        if isinstance(weight, float) and weight == 0:
            continue
        term = part * weight
        answer = term if answer is None else answer + term
    return answer
