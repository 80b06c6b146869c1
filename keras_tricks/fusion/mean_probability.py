"""The weighted mean of probabilities."""

from typing import Any

from keras_tricks.fusion import _blocks, _checks, _members, _tensors


def mean_probability(
    predictions: Any, weights: Any = None, *, classes: Any = None, members_axis: int = 0
) -> Any:
    """Averages the probabilities that several classifiers give.

    When: members of one family: other seeds, snapshots, folds.
    Typical: 3 to 10 members, equal weights.
    Costs: one pass over the members; memory for one answer.
    Beware: an overconfident member outvotes honest ones; see `fit_temperature`, or
        `majority_vote` across families.

    Takes NumPy arrays or tensors and gives the same. A tensor with NaN gives NaN, and
    numbers in tensors are not checked. A member with the weight 0 is as if it were not
    there.

    Args:
        predictions: Array of the shape (members, samples, classes), or a list with
            one array per member. One column, or none, is the probability of class 1.
        weights: Sequence or tensor of numbers of at least 0, one per member; only their
            ratios count. Defaults to equal weights.
        classes: List with the class labels of each member in the order of its columns.
            The answer has all classes, sorted; where a member lacks one, its
            probability is 0. A member with one column and two labels gives the
            probability of the second. Defaults to None, the same columns in all.
        members_axis: Integer, the axis of the members in an array. Defaults to 0.

    Returns:
        Array of the shape (samples, classes).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If members do not fit together, a weight is negative or all are 0,
            or an array holds a NaN (a member and a row are named) or averages out of
            [0, 1], as logits do.

    Example:
    >>> import keras_tricks as kt
    >>> members = [[[0.5, 0.5]], [[0.75, 0.25]]]
    >>> kt.fusion.mean_probability(members).tolist()
    [[0.625, 0.375]]
    >>> labels = [["cat", "dog"], ["dog", "emu"]]
    >>> kt.fusion.mean_probability(members, classes=labels).tolist()
    [[0.25, 0.625, 0.125]]

    Reference: Lakshminarayanan et al. 2017, arXiv 1612.01474.
    """
    members = _members.members(predictions, weights, classes, members_axis)
    if members.tensors:
        return _tensors.weighted_sum(members)
    return _blocks.fused(
        members,
        _blocks.weighted_sum(members),
        _checks.holds_no_probabilities,
        _checks.refuse_improbable,
    )
