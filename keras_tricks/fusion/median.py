"""The weighted median of values."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks.fusion import _blocks, _members, _tensors

# With more members a sort is faster.
_FEW = 32


def median(
    predictions: Any, weights: Any = None, *, classes: Any = None, members_axis: int = 0
) -> Any:
    """Takes the middle of what several regression models predict.

    When: regression where single members fail wildly now and then.
    Typical: 5 or more members, equal weights.
    Costs: with equal weights a few comparisons per number, else one sort; memory for
        one answer.
    Beware: medians of probabilities do not have the sum 1.

    The weighted median has half of the weight on either side; where two members bound
    the half exactly it is their mean. Takes NumPy arrays or tensors and gives the same.
    A tensor with NaN gives NaN. A member with the weight 0 is as if it were not there.

    Args:
        predictions: Array of the shape (members, samples) or (members, samples,
            outputs), or a list with one array per member.
        weights: Sequence or tensor of numbers of at least 0, one per member; only their
            ratios count. Defaults to equal weights.
        classes: List with the names of each member's outputs in the order of its
            columns, where they differ. The answer has them sorted. Defaults to None,
            the same order in all members.
        members_axis: Integer, the axis of the members in an array. Defaults to 0.

    Returns:
        Array of the shape (samples,) or (samples, outputs).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If members do not fit together, a weight is negative or all are 0,
            or an array holds a NaN; a member and a row are named.

    Example:
    >>> import keras_tricks as kt
    >>> kt.fusion.median([[1.0], [2.0], [90.0]]).tolist()
    [2.0]
    >>> kt.fusion.median([[1.0], [2.0], [90.0]], weights=[1, 1, 2]).tolist()
    [46.0]

    Reference: Edgeworth 1888, "On a new method of reducing observations".
    """
    members = _members.members(
        predictions, weights, classes, members_axis, complete=True
    )
    network = members.equal and len(members.parts) <= _FEW
    if members.tensors:
        # `ops.minimum` makes them single on PyTorch.
        kind = keras.backend.standardize_dtype(members.parts[0].dtype)
        network = network and kind != "float64"
    if members.tensors and network:
        return _tensors.like(_of_few(_tensors.wide(members), ops), members)
    if members.tensors:
        shares, wide = members.weights, _tensors.wide(members)
        stacked = ops.stack([wide[index] for index in members.counted])
        shares = ops.stack([shares[index] for index in members.counted])
        return _tensors.like(_middle(stacked, shares, ops), members)

    def fuse(rows: slice, target: Any) -> None:
        used = members.counted
        blocks = [_blocks.block(members, index, rows, target) for index in used]
        if network:
            target[...] = _of_few(blocks, np)
            return
        if members.equal:
            target[...] = np.median(np.stack(blocks), axis=0, overwrite_input=True)
            return
        shares = np.array([members.weights[index] for index in used])
        target[...] = _middle(np.stack(blocks), shares, np)

    return _blocks.fused(members, fuse, share=len(members.counted))


def _of_few(parts: list[Any], xp: Any) -> Any:
    """The median by least and greatest of pairs only, which is faster than a sort.

    Of half of the members and two more, neither the least nor the greatest is in the
    middle: both are dropped, and the next member joins.
    """
    size = len(parts) // 2 + 2
    pool, waiting = parts[:size], parts[size:]
    while len(pool) > 2:
        pool = _without_first(pool, xp.minimum, xp.maximum)
        pool = _without_first(pool, xp.maximum, xp.minimum)
        pool += waiting[:1]
        waiting = waiting[1:]
    return pool[0] * 1.0 if len(pool) == 1 else pool[0] * 0.5 + pool[1] * 0.5


def _without_first(pool: list[Any], first: Any, other: Any) -> list[Any]:
    """The pool without its least part, or without the greatest, number by number."""
    dropped, left = pool[0], []
    for part in pool[1:]:
        left.append(other(dropped, part))
        # The last one is never looked at.
        dropped = first(dropped, part) if len(left) < len(pool) - 1 else None
    return left


def _middle(stacked: Any, shares: Any, xp: Any) -> Any:
    order = xp.argsort(stacked, axis=0)
    values = xp.take_along_axis(stacked, order, axis=0)
    reached = xp.cumsum(xp.take(shares, order), axis=0)
    # A little off the half: sums of shares are rounded.
    low, high = (
        xp.sum(xp.where(reached < half, 1, 0), axis=0, keepdims=True)
        for half in (0.5 - 1e-6, 0.5 + 1e-6)
    )
    middle = sum(xp.take_along_axis(values, at, axis=0)[0] * 0.5 for at in (low, high))
    spoilt = xp.any(xp.isnan(stacked), axis=0)
    return xp.where(spoilt, xp.full_like(middle, float("nan")), middle)
