"""Held-out predictions together with the true answers, on the host."""

from typing import Any

import numpy as np
from keras import ops

from keras_tricks.fusion import _blocks, _checks, _members
from keras_tricks.fusion._members import Members

# The logarithm of a probability of 0 would be infinite. (As in scikit-learn.)
LEAST = float(np.finfo("float32").eps)


def on_host(value: Any) -> Any:
    """The same, with NumPy arrays in place of tensors."""
    if isinstance(value, list | tuple):
        return [on_host(part) for part in value]
    return ops.convert_to_numpy(value) if _members.is_tensor(value) else value


def members(predictions: Any, classes: Any, members_axis: int) -> Members:
    """The members as NumPy arrays, of finite numbers for at least one sample."""
    found = _members.members(on_host(predictions), None, classes, members_axis)
    if not found.shape[0]:
        raise ValueError(
            "`predictions` must hold at least one sample, from which to learn. "
            f"Received: members of the shape {found.shape}"
        )
    _checks.refuse_infinite(found.parts)
    return found


def number(name: str, value: Any) -> float:
    """What a callable returned, as a float."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"`{name}` must return a number. Received: {value!r}") from None
    if np.isnan(result):
        raise ValueError(f"`{name}` must return a number. Received: NaN")
    return result


def has_column_only(shape: tuple[int, ...]) -> bool:
    """Whether predictions of this shape give the probability of class 1 only."""
    return len(shape) == 1 or shape[1:] == (1,)


def true_columns(y: Any, shape: tuple[int, ...], labels: Any = None) -> Any:
    """For each sample the column of its class, from labels or one-hot rows."""
    if len(shape) > 2:
        raise ValueError(
            "`predictions` must have the shape (samples, classes) per member here. "
            f"Received: {shape}"
        )
    y = truth(y)
    width = 2 if has_column_only(shape) else shape[1]
    if len(y) != shape[0]:
        raise ValueError(
            f"`y` must have {shape[0]} entries, one per sample. Received: {len(y)}"
        )
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and y.shape[1] == width:
        if not (np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()):
            raise ValueError(
                "`y` must be labels, or rows with a single 1. Received: rows that are "
                "not one-hot"
            )
        return y.argmax(axis=1)
    if y.ndim != 1:
        raise ValueError(
            f"`y` must be labels, or one-hot rows with {width} columns. Received: "
            f"shape {y.shape}"
        )
    names = np.arange(width) if labels is None else np.asarray(labels)
    if len(names) != width:
        raise ValueError(
            f"`classes` must hold {width} labels here. Received: {labels!r}"
        )
    strange = ~np.isin(y, names)
    if strange.any():
        remedy = "; give `classes` for other labels" if labels is None else ""
        raise ValueError(
            f"`y` must hold only the labels {names.tolist()!r}{remedy}. Received: "
            f"{y[strange].tolist()[0]!r} in row {int(np.argmax(strange))}"
        )
    order = np.argsort(names)
    return order[np.searchsorted(names[order], y)]


def truth(y: Any) -> Any:
    """The true answers as an array, of finite numbers if it is of numbers."""
    y = np.asarray(on_host(y))
    if not y.ndim:
        raise TypeError(
            f"`y` must hold one true answer per sample. Received: y={y.tolist()!r}"
        )
    wrong = ~np.isfinite(y) if y.dtype.kind == "f" else np.zeros(y.shape, bool)
    if wrong.any():
        raise ValueError(
            "`y` must be finite: leave out samples whose answer is not known. "
            f"Received: {y[wrong][0]} in row {np.argwhere(wrong)[0, 0]}"
        )
    return y


def true_probabilities(members: Members, columns: Any) -> Any:
    """What each member gives to the true classes, (members, samples) in float64."""
    rows = np.arange(len(columns))
    found = np.zeros((len(members.parts), len(columns)))
    for index, part in enumerate(members.parts):
        place = members.columns[index]
        if has_column_only(members.shape):
            one = part.reshape(-1).astype("float64")
            found[index] = np.where(columns == 1, one, 1 - one)
        elif place is None:
            found[index] = part[rows, columns]
        else:
            own = np.full(members.shape[1], -1)
            own[place] = np.arange(len(place))
            known = own[columns] >= 0
            found[index, known] = part[rows[known], own[columns[known]]]
    return found


def targets(y: Any, members: Members) -> Any:
    """The true values in the shape of the answer; labels become one-hot rows."""
    shape = members.shape
    y = truth(y)
    if y.shape == shape and y.dtype.kind in "biuf":
        return y.astype("float64")
    if has_column_only(shape) and y.dtype.kind in "biuf" and y.size == shape[0]:
        return y.reshape(shape).astype("float64")
    return np.eye(shape[1])[true_columns(y, shape, members.labels)]


def weighted(members: Members, weights: Any) -> Any:
    """The mean of the members with these weights."""
    shares = [float(weight) for weight in np.asarray(weights) / np.sum(weights)]
    equal = len(set(shares)) == 1
    used = Members(members.parts, shares, equal, False, members.columns, members.labels)
    return _blocks.fused(used, _blocks.weighted_sum(used))
