"""The weighted mean of values."""

from typing import Any

from keras_tricks.fusion import _blocks, _members, _tensors


def mean(
    predictions: Any, weights: Any = None, *, classes: Any = None, members_axis: int = 0
) -> Any:
    """Averages what several regression models predict.

    When: regression; or logits, where `mean_probability` is not wanted.
    Typical: 3 to 10 members, equal weights.
    Costs: one pass over the members; memory for one answer.
    Beware: one wild member spoils it; `median` does not mind.

    Takes NumPy arrays or tensors and gives the same. A tensor with NaN gives NaN. A
    member with the weight 0 is as if it were not there.

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
    >>> kt.fusion.mean([[1.0, 2.0], [3.0, 6.0]], weights=[3, 1]).tolist()
    [1.5, 3.0]

    Reference: Perrone and Cooper 1993, "When networks disagree".
    """
    members = _members.members(
        predictions, weights, classes, members_axis, complete=True
    )
    if members.tensors:
        return _tensors.weighted_sum(members)
    return _blocks.fused(members, _blocks.weighted_sum(members))
