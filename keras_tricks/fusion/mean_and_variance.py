"""Mean and variance of members that predict both."""

from typing import Any

import numpy as np

from keras_tricks.fusion import _blocks, _checks, _members, _tensors


def mean_and_variance(
    means: Any, variances: Any, weights: Any = None, *, members_axis: int = 0
) -> tuple[Any, Any]:
    """Fuses members that each predict a mean and a variance.

    When: a regression must say how sure it is.
    Typical: 5 members with other seeds, each trained on the Gaussian log likelihood.
    Costs: two passes over the members; memory for two answers.
    Beware: the variance holds the members' disagreement, not only their own noise;
        give variances, not deviations or logarithms.

    The answer has the mean and the variance of the mixture of the members. Takes NumPy
    arrays or tensors and gives the same. A tensor with NaN gives NaN. A member with
    the weight 0 is as if it were not there.

    Args:
        means: Array of the shape (members, samples) or (members, samples, outputs), or
            a list with one array per member.
        variances: Array or list like `means`, of numbers of at least 0.
        weights: Sequence or tensor of numbers of at least 0, one per member; only their
            ratios count. Defaults to equal weights.
        members_axis: Integer, the axis of the members in an array. Defaults to 0.

    Returns:
        Two arrays without the members' axis: mean and variance.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If members do not fit together, a weight is negative or all are 0,
            an array holds a NaN (a member and a row are named), or a variance is
            negative.

    Example:
    >>> import keras_tricks as kt
    >>> mean, variance = kt.fusion.mean_and_variance([[1.0], [3.0]], [[0.5], [1.5]])
    >>> mean.tolist(), variance.tolist()
    ([2.0], [2.0])

    Reference: Lakshminarayanan et al. 2017, arXiv 1612.01474, section 2.4.
    """
    parts = _members.split(means, members_axis, "means")
    around = _members.split(variances, members_axis, "variances")
    centres = _members.members(parts, weights, name="means", beside=around)
    spreads = _members.members(around, weights, name="variances", beside=parts)
    _check_pairs(centres, spreads)
    if centres.tensors:
        return _of_tensors(centres, spreads)
    _checks.refuse_nan(spreads.parts, "variances")
    for index, part in enumerate(spreads.parts):
        if part.size and part.min() < 0:
            row = np.argwhere(part < 0)[0, 0]
            raise ValueError(
                "`variances` must be at least 0; take the exponential of logarithms, "
                f"the square of deviations. Received: {part.min()} at the least in "
                f"member {index}, first in row {row}"
            )
    mean = _blocks.fused(
        centres,
        _blocks.weighted_sum(centres),
        explain=lambda parts: _checks.refuse_nan(parts, "means"),
    )
    own = _blocks.weighted_sum(spreads)

    def fuse(rows: slice, target: Any) -> None:
        own(rows, target)
        for index in centres.counted:
            # Not by the mean of squares, which loses all digits far from 0.
            apart = centres.parts[index][rows] - mean[rows]
            target += apart * apart * centres.weights[index]

    return mean, _blocks.fused(spreads, fuse)


def _check_pairs(centres: _members.Members, spreads: _members.Members) -> None:
    if len(centres.parts) != len(spreads.parts):
        raise ValueError(
            "`variances` must have as many members as `means`. Received: "
            f"{len(spreads.parts)} members, not {len(centres.parts)}"
        )
    shapes = [tuple(every.parts[0].shape) for every in (centres, spreads)]
    if len(shapes[0]) != len(shapes[1]) or any(
        None not in (a, b) and a != b for a, b in zip(*shapes, strict=True)
    ):
        raise ValueError(
            "`variances` must have the shape of `means`. Received: variances of the "
            f"shape {shapes[1]}, means of the shape {shapes[0]}, per member"
        )


def _of_tensors(
    centres: _members.Members, spreads: _members.Members
) -> tuple[Any, Any]:
    parts = _tensors.full_parts(centres)
    mean = _tensors.total(parts, centres.weights)
    around = [
        spread + (part - mean) * (part - mean)
        for part, spread in zip(parts, _tensors.full_parts(spreads), strict=True)
    ]
    variance = _tensors.total(around, centres.weights)
    return _tensors.like(mean, centres), _tensors.like(variance, spreads)
