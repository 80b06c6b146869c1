"""The mean of the members' ranks."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_tricks.fusion import _blocks, _checks, _members, _tensors


def rank_average(
    predictions: Any, weights: Any = None, *, classes: Any = None, members_axis: int = 0
) -> Any:
    """Averages the places that members give the samples, not their scores.

    When: only the order counts, as for the area under the ROC curve, and the members'
        scores have different scales.
    Typical: binary scores of models of different families.
    Costs: one sort per member and column; memory for one answer and eight
        columns.
    Beware: the answer for a sample depends on all samples: for a whole test set, never
        for batches. The ranks of different classes cannot be compared.

    Each column of a member becomes average ranks in (0, 1], the highest score 1. Takes
    NumPy arrays or tensors and gives the same. A tensor with NaN is not refused; its
    ranks mean nothing. A member with the weight 0 is as if it were not there.

    Args:
        predictions: Array of the shape (members, samples) or (members, samples,
            classes), or a list with one array per member; any scores.
        weights: Sequence or tensor of numbers of at least 0, one per member; only their
            ratios count. Defaults to equal weights.
        classes: List with the class labels of each member in the order of its columns.
            The answer has all classes, sorted; where a member lacks one, its rank is
            0. A member with one column and two labels gives the probability of the
            second. Defaults to None, the same columns in all.
        members_axis: Integer, the axis of the members in an array. Defaults to 0.

    Returns:
        Array of the shape (samples,) or (samples, classes), in (0, 1], and at least in
        single precision: half precision has too few numbers for the ranks.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If members do not fit together, a weight is negative or all are 0,
            or an array holds a NaN; a member and a row are named.

    Example:
    >>> import keras_tricks as kt
    >>> scores = [[0.1, 0.2, 0.9, 0.2], [10.0, 30.0, 40.0, 20.0]]
    >>> kt.fusion.rank_average(scores).tolist()
    [0.25, 0.6875, 1.0, 0.5625]

    Reference: Borda 1781; ties as in `scipy.stats.rankdata(method="average")`.
    """
    members = _members.members(predictions, weights, classes, members_axis)
    if members.tensors:
        parts = [_tensor_ranks(part) for part in _tensors.full_parts(members)]
        return _tensors.total(_tensors.widened(parts, members), members.weights)
    kind = _blocks.float_type(members.parts)
    answer = np.zeros(members.shape, "float32" if kind == np.float16 else kind)
    if not answer.size:
        return answer
    table = answer.reshape(len(answer), -1)
    unsure = False
    for part, columns, share in zip(
        members.parts, members.columns, members.weights, strict=True
    ):
        scores = part.reshape(len(part), -1)
        places = range(scores.shape[1]) if columns is None else columns
        for column, place in enumerate(places):
            ranks, spoilt = _ranks(scores[:, column])
            ranks *= share
            table[:, place] += ranks
            unsure = unsure or spoilt
    if unsure:
        _checks.refuse_nan(members.parts)
    return answer


def _ranks(scores: Any) -> tuple[Any, bool]:
    """Average ranks in (0, 1], and whether there was a NaN."""
    count = len(scores)
    if scores.dtype == np.float32:
        order, repeated, spoilt = _packed_order(scores)
    else:
        order = np.argsort(scores)
        ordered = scores[order]
        repeated = ordered[1:] == ordered[:-1]
        spoilt = ordered.dtype.kind == "f" and np.isnan(ordered[-1])
    kind = np.dtype("float32" if scores.dtype.itemsize <= 4 else "float64")
    ranks = np.arange(1, count + 1, dtype=kind)
    if repeated.any():
        ranks = _of_repeated(repeated, kind)
    ranks /= count
    placed = np.empty_like(ranks)
    placed[order] = ranks
    return placed, bool(spoilt)


def _of_repeated(repeated: Any, kind: Any) -> Any:
    """The ranks of ordered scores, of which some repeat the one before."""
    count = len(repeated) + 1
    starts = np.flatnonzero(np.r_[True, ~repeated]).astype("uint32")
    lengths = np.diff(starts, append=np.uint32(count))
    ranks = starts.astype(kind)
    ranks += (lengths + 1) * kind.type(0.5)
    return np.repeat(ranks, lengths)


def _packed_order(scores: Any) -> tuple[Any, Any, bool]:
    """As `argsort`, but in one sort of score and row together, which is faster."""
    # The sum makes a copy, and of -0.0 the equal 0.0.
    bits = (scores + np.float32(0)).view("int32")
    spoilt = np.isnan(scores.max())
    # Integers in the order of the floats: the negative ones are stored backwards.
    np.bitwise_xor(bits, 0x7FFFFFFF, out=bits, where=bits < 0)
    keys = bits.astype("int64")
    keys <<= 32
    keys |= np.arange(len(keys), dtype="int64")
    keys.sort()
    order = keys.astype("uint32")
    keys >>= 32
    return order, keys[1:] == keys[:-1], spoilt


def _tensor_ranks(scores: Any) -> Any:
    if len(scores.shape) == 1:
        return _column_ranks(scores)
    shape = tuple(scores.shape[1:])
    table = ops.reshape(scores, (-1, math.prod(shape)))
    columns = [_column_ranks(table[:, i]) for i in range(table.shape[1])]
    ranks = ops.stack(columns, axis=1)
    return ranks if len(shape) == 1 else ops.reshape(ranks, (-1, *shape))


def _column_ranks(scores: Any) -> Any:
    # One column of several is not contiguous, of which PyTorch would complain.
    scores = scores * 1
    ordered = ops.sort(scores)
    below = ops.searchsorted(ordered, scores, side="left")
    up_to = ops.searchsorted(ordered, scores, side="right")
    # Counted, not asked for: a symbol does not know its number of rows.
    count = ops.sum(ops.ones_like(scores))
    return (ops.cast(below + up_to, scores.dtype) + 1) / 2 / count
