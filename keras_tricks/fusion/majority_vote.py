"""One member, one vote."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks.fusion import _blocks, _checks, _members, _tensors


def majority_vote(
    predictions: Any, weights: Any = None, *, classes: Any = None, members_axis: int = 0
) -> Any:
    """Lets each member vote for its most probable class.

    When: members of different families, whose probabilities do not compare.
    Typical: 3 to 9 members; averaged families as voters (an ensemble of ensembles).
    Costs: one search for the highest per row; memory for one answer.
    Beware: with two members of equal weight the lower class wins wherever they differ.

    Each member votes for its highest column, the first one if several are equal; in
    the answer, too, ties go to the lowest class: `argmax` takes it. Takes NumPy arrays
    or tensors and gives the same. A tensor of probabilities with NaN gives NaN. A
    member with the weight 0 is as if it were not there.

    Args:
        predictions: Array of the shape (members, samples, classes) of probabilities or
            other scores, or a list with one array per member. One column of floats, or
            none, is the probability of class 1, and votes for it above 0.5. Integers
            or strings of the shape (members, samples) are labels that were voted for.
        weights: Sequence or tensor of numbers of at least 0, one per member; only their
            ratios count. Defaults to equal weights.
        classes: List with the class labels of each member in the order of its columns.
            The answer has all classes, sorted; a member cannot vote for a class that
            it lacks. A member with one column and two labels gives the probability of
            the second. Defaults to None, the same columns in all.
        members_axis: Integer, the axis of the members in an array. Defaults to 0.

    Returns:
        For probabilities the shares of the votes, (samples, classes), or those for
        class 1; for labels the label that wins, (samples,), the lowest in a tie.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If members do not fit together, a weight is negative or all are 0,
            an array holds a NaN (a member and a row are named), a column for class 1
            holds no probabilities, or labels come with `classes`.

    Example:
    >>> import keras_tricks as kt
    >>> members = [[[0.6, 0.4]], [[0.3, 0.7]], [[0.2, 0.8]], [[0.0, 1.0]]]
    >>> kt.fusion.majority_vote(members).tolist()
    [[0.25, 0.75]]
    >>> kt.fusion.majority_vote([["cat", "emu"], ["dog", "emu"]]).tolist()
    ['cat', 'emu']

    Reference: Kuncheva 2004, "Combining pattern classifiers", chapter 4.
    """
    parts = _members.split(predictions, members_axis, "predictions")
    if all(_holds_labels(part) for part in parts):
        return _winning_labels(parts, weights, classes)
    members = _members.members(parts, weights, classes)
    shape = members.shape
    if members.tensors:
        return _tensor_shares(members)
    if len(shape) == 1 or shape[-1] == 1:
        _refuse_columns_of_labels(members.parts)
        _checks.refuse_improbable(members.parts)

    def fuse(rows: slice, target: Any) -> None:
        target[...] = 0
        votes = target.reshape(-1)
        width = shape[-1] if len(shape) > 1 else 1
        first = np.arange(0, votes.size, width)
        for index in members.counted:
            block = members.parts[index][rows]
            weight = 1 if members.equal else members.weights[index]
            if width == 1:
                votes += (block.reshape(-1) > 0.5) * weight
                continue
            place = block.argmax(axis=-1).reshape(-1)
            if _checks.holds_nan(block):
                target[...] = np.nan
            columns = members.columns[index]
            place = place if columns is None else columns[place]
            place += first
            votes[place] += weight
        if members.equal:
            target /= len(members.counted)
        else:
            # What is a tie must not depend on the order of a sum.
            _blocks.settle(target)

    working = None if members.equal else "float64"
    return _blocks.fused(members, fuse, working=working)


def _holds_labels(part: Any) -> bool:
    if _members.is_tensor(part):
        return len(part.shape) == 1 and not keras.backend.is_float_dtype(part.dtype)
    array = np.asarray(part)
    return array.ndim == 1 and array.dtype.kind in "biuUSO"


def _refuse_columns_of_labels(parts: list[Any]) -> None:
    for index, part in enumerate(parts):
        if part.dtype.kind in "iu" and part.size and part.max() > 1:
            raise ValueError(
                "`predictions` must have the shape (members, samples) for labels; "
                f"drop the last axis. Received: {part.max()} in member {index} of the "
                f"shape {part.shape}"
            )


def _tensor_shares(members: _members.Members) -> Any:
    shape = members.shape
    parts, shares = _tensors.full_parts(members), []
    for part, columns in zip(parts, members.columns, strict=True):
        if len(shape) == 1 or shape[-1] == 1:
            share = ops.cast(part > 0.5, part.dtype)
        else:
            place = ops.argmax(part, axis=-1)
            if columns is not None:
                place = ops.take(columns.astype("int32"), place)
            share = ops.one_hot(place, shape[-1], dtype=part.dtype)
        # Not by a product with 0: an infinite score is no NaN.
        spoilt = ops.isnan(part)
        if len(shape) > 1:
            spoilt = ops.any(spoilt, axis=-1, keepdims=True)
        shares.append(ops.where(spoilt, float("nan"), share))
    # What is a tie must not depend on the order of a sum.
    used = [members.weights[index] for index in members.counted]
    shares = [shares[index] for index in members.counted]
    if all(isinstance(weight, float) for weight in used):
        whole, unit = _tensors.whole(used)
        total = _tensors.total(shares, whole.tolist()) / unit
    else:
        total = ops.round(_tensors.total(shares, used) * 2**20) / 2**20
    return _tensors.like(total, members)


def _winning_labels(parts: list[Any], weights: Any, classes: Any) -> Any:
    if classes is not None:
        raise ValueError(
            "`classes` must be None for labels, which name their classes themselves. "
            f"Received: classes={classes!r}"
        )
    voters = _members.members(parts, weights, labels=True)
    if voters.tensors:
        kinds = {keras.backend.standardize_dtype(part.dtype) for part in voters.parts}
        if kinds == {"bool"}:
            # TensorFlow knows no order of them.
            parts = [ops.cast(part, "uint8") for part in voters.parts]
            return ops.cast(_winners(voters, parts, ops), "bool")
        return _winners(voters, voters.parts, ops)
    names = None
    labels = voters.parts
    texts = [part.dtype.kind in "US" for part in labels]
    if any(texts):
        if not all(texts):
            raise TypeError(
                "`predictions` must be labels of one kind, strings or integers. "
                f"Received: numbers in member {texts.index(False)}, strings in member "
                f"{texts.index(True)}"
            )
        names = np.unique(np.concatenate([np.unique(part) for part in labels]))
        labels = [np.searchsorted(names, part) for part in labels]
    kind = np.result_type(*(part.dtype for part in labels))
    answer = np.empty(voters.shape, kind)
    for rows in _blocks.rows(answer.shape):
        answer[rows] = _winners(voters, [label[rows] for label in labels], np)
    return answer if names is None else names[answer]


def _winners(members: _members.Members, labels: list[Any], xp: Any) -> Any:
    """Each label in turn against the best so far: no table of all labels is needed."""
    best: Any = None
    most: Any = None
    for candidate in members.counted:
        label, votes = labels[candidate], 0.0
        for index in members.counted:
            same = xp.equal(labels[index], label)
            votes = votes + xp.where(same, members.weights[index], 0.0)
        if best is None:
            best, most = label, votes
            continue
        more = votes > most + 1e-6
        lower = xp.logical_and(votes > most - 1e-6, xp.less(label, best))
        wins = xp.logical_or(more, lower)
        best, most = xp.where(wins, label, best), xp.where(wins, votes, most)
    return best
