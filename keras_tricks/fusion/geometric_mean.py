"""The geometric mean of probabilities, normalised over the classes."""

from typing import Any

import numpy as np
from keras import ops

from keras_tricks.fusion import _blocks, _checks, _members, _tensors

# Where the means of a row sum up to less, they have lost digits, or are all 0.
_FAINT = 1e-30


def geometric_mean(
    predictions: Any, weights: Any = None, *, classes: Any = None, members_axis: int = 0
) -> Any:
    """Averages logarithms of probabilities: a class needs the consent of all members.

    When: calibrated members that see different evidence; softmax members whose logits
        should be averaged (it is the same).
    Typical: 3 to 10 members, equal weights.
    Costs: one logarithm per number; memory for one answer.
    Beware: a member that gives 0 to a class vetoes it, and so does one that lacks it
        in `classes`. Rows are normalised: not for labels that exclude no other.

    A 0 counts as a number that goes to 0, the same for all: where each class is vetoed
    by someone, those with the least weight of vetoes are left. Numbers below the least
    normal one of their type (1e-38 in single precision) count as 0, as some backends
    cannot tell them apart. Takes NumPy arrays or
    tensors and gives the same. A tensor with NaN gives NaN, and numbers in tensors are
    not checked. A member with the weight 0 is as if it were not there.

    Args:
        predictions: Array of the shape (members, samples, classes), or a list with
            one array per member. One column, or none, is the probability of class 1;
            class 0 has the rest.
        weights: Sequence or tensor of numbers of at least 0, one per member; only their
            ratios count. Defaults to equal weights.
        classes: List with the class labels of each member in the order of its columns.
            The answer has all classes, sorted. A member with one column and two labels
            gives the probability of the second. Defaults to None, the same columns in
            all.
        members_axis: Integer, the axis of the members in an array. Defaults to 0.

    Returns:
        Array of the shape (samples, classes), whose rows have the sum 1.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If members do not fit together, a weight is negative or all are 0,
            or an array holds a NaN (a member and a row are named) or numbers that are
            no probabilities.

    Example:
    >>> import keras_tricks as kt
    >>> members = [[[0.5, 0.5, 0.0]], [[0.8, 0.2, 0.0]]]
    >>> kt.fusion.geometric_mean(members).round(3).tolist()
    [[0.667, 0.333, 0.0]]

    Reference: Hinton 2002, "Training products of experts", with the weights of a
        logarithmic opinion pool.
    """
    members = _members.members(predictions, weights, classes, members_axis)
    shape = members.shape
    binary = len(shape) == 1 or shape[-1] == 1
    if members.tensors:
        parts = _tensors.wide(members)
        least = _tensors.least(members)
        if binary:
            both = [_both(part, ops) for part in parts]
            one = _exact(both, members.weights, ops, least)
            answer = one[..., 1] if len(shape) == 1 else one[..., 1:]
        else:
            answer = _exact(parts, members.weights, ops, least)
        return _tensors.like(answer, members)
    # What is too small in half precision is not in single, in which it is summed.
    kind = _blocks.float_type(members.parts)
    least = float(np.finfo("float32" if kind == np.float16 else kind).tiny)

    def fuse(rows: slice, target: Any) -> None:
        def part(index: int) -> Any:
            found = _blocks.block(members, index, rows, target)
            return _both(found, np) if binary else found

        parts = [part(index) for index in members.counted]
        shares = [members.weights[index] for index in members.counted]
        if binary:
            both = np.empty((*parts[0].shape[:-1], 2), target.dtype)
            _fill(parts, shares, both, least)
            target[...] = both[..., 1].reshape(target.shape)
        else:
            _fill(parts, shares, target, least)

    return _blocks.fused(members, fuse, _checks.holds_nan, _checks.refuse_improbable)


def _both(part: Any, xp: Any) -> Any:
    """The probabilities of class 0 and of class 1 in two columns."""
    column = part if tuple(part.shape)[1:][-1:] == (1,) else part[..., None]
    return xp.concatenate([1 - column, column], axis=-1)


def _fill(parts: list[Any], shares: list[float], target: Any, least: float) -> None:
    """Fills a block; a number that is no probability becomes NaN."""
    term = np.empty_like(target)
    for place, (part, share) in enumerate(zip(parts, shares, strict=True)):
        logs = term if place else target
        np.log(part, out=logs, dtype=logs.dtype)
        if not logs.max(initial=-np.inf) <= _checks.ONE - 1:
            target[...] = np.nan
            return
        if logs.min(initial=0) < np.log(least):
            np.putmask(logs, part < least, -np.inf)
        logs *= share
        if place:
            target += term
    np.exp(target, out=target)
    # As a product: NumPy is slow at sums of few numbers.
    sums = target @ np.ones(target.shape[-1], target.dtype)
    target /= sums[..., None]
    faint = sums < _FAINT
    if faint.any():
        rows = [part[faint].astype("float64") for part in parts]
        target[faint] = _exact(rows, shares, np, least)


def _exact(parts: list[Any], weights: list[Any], xp: Any, least: float) -> Any:
    """The mean as all zeros go to 0: only classes with the least weight of zeros."""
    logs: Any = 0.0
    zeros: Any = 0.0
    for part, weight in zip(parts, weights, strict=True):
        if isinstance(weight, float) and weight == 0:
            continue
        # Negative numbers give NaN.
        zero = xp.less(xp.absolute(part), least)
        nothing, one = xp.zeros_like(part), xp.ones_like(part)
        logs = logs + xp.log(xp.where(zero, one, part)) * weight
        zeros = zeros + xp.where(zero, one, nothing) * weight
    left = zeros <= xp.min(zeros, axis=-1, keepdims=True) + 1e-6
    highest = xp.max(xp.where(left, logs, xp.full_like(logs, -1e9)), -1, keepdims=True)
    share = xp.where(left, xp.exp(xp.where(left, logs - highest, 0.0)), 0.0)
    return share / xp.sum(share, axis=-1, keepdims=True)
