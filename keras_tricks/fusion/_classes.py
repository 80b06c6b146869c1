"""Members that know different classes, or the same in another order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops


def aligned(
    parts: Sequence[Any], classes: Any, complete: bool
) -> tuple[list[Any], list[np.ndarray | None], list[Any]]:
    """The members, where their columns belong, and the labels of all columns.

    A member with one column and two classes holds the probability of the second; it
    becomes two columns. With `complete` no member may lack a class, and the numbers
    may be of any kind, so that one column is no two.
    """
    given = _checked(classes, len(parts))
    labels = _union(given)
    parts = [
        _as_columns(part, names, index, not complete)
        for index, (part, names) in enumerate(zip(parts, given, strict=True))
    ]
    for index, names in enumerate(given):
        if complete and len(names) < len(labels):
            lacking = [label for label in labels if label not in names]
            raise ValueError(
                "`classes` must hold the same labels for every member here: nothing "
                f"can stand for a value that is missing. Received: member {index} "
                f"without {lacking!r}"
            )
    return parts, [_columns(names, labels) for names in given], labels


def _checked(classes: Any, count: int) -> list[list[Any]]:
    if _is_no_list(classes):
        raise TypeError(
            "`classes` must be a list with one list of labels per member. Received: "
            f"classes={classes!r}"
        )
    if len(classes) != count:
        raise ValueError(
            f"`classes` must hold {count} lists of labels, one per member. Received: "
            f"{len(classes)}"
        )
    places = [f"member {index}" for index in range(count)]
    given = [listed(*each) for each in zip(classes, places, strict=True)]
    kinds = {isinstance(label, bool | np.bool_) for names in given for label in names}
    if len(kinds) > 1:
        # They would be equal to 0 and 1.
        raise _several_kinds(given)
    return given


def _is_no_list(value: Any) -> bool:
    return isinstance(value, str | dict) or not hasattr(value, "__len__")


def listed(names: Any, place: str) -> list[Any]:
    """The labels of one member as a list, each of them once."""
    if _is_no_list(names) or getattr(names, "ndim", 1) != 1:
        raise TypeError(
            "`classes` must be a list with one list of labels per member. "
            f"Received: {names!r} for {place}"
        )
    labels = names.tolist() if isinstance(names, np.ndarray) else list(names)
    try:
        once = len(set(labels)) == len(labels) > 0
    except TypeError:
        raise TypeError(
            "`classes` must hold numbers or strings as labels. Received: "
            f"{labels!r} for {place}"
        ) from None
    if not once:
        raise ValueError(
            "`classes` must name at least one class per member, and each once. "
            f"Received: {labels!r} for {place}"
        )
    return labels


def _several_kinds(given: Any) -> TypeError:
    return TypeError(
        "`classes` must hold labels of one kind, which can be sorted. Received: "
        f"{given!r}"
    )


def _union(given: Sequence[Sequence[Any]]) -> list[Any]:
    labels = set().union(*given)
    try:
        return sorted(labels)
    except TypeError:
        raise _several_kinds(given) from None


def _as_columns(part: Any, names: Sequence[Any], index: int, expand: bool) -> Any:
    shape = tuple(part.shape)
    if expand and len(names) == 2 and (len(shape) == 1 or shape[-1] == 1):
        column = part[:, None] if len(shape) == 1 else part
        one = [1 - column, column]
        if isinstance(part, np.ndarray):
            return np.concatenate(one, axis=-1)
        return ops.concatenate(one, axis=-1)
    if len(shape) < 2 or shape[-1] != len(names):
        raise ValueError(
            "`classes` must hold one label per column. Received: "
            f"{len(names)} labels for member {index} of the shape {shape}"
        )
    return part


def _columns(names: Sequence[Any], labels: Sequence[Any]) -> np.ndarray | None:
    """The place of each column in the union; None where nothing has to move."""
    if list(names) == list(labels):
        return None
    place = {label: index for index, label in enumerate(labels)}
    return np.array([place[name] for name in names])


def widened(part: Any, columns: np.ndarray, width: int) -> Any:
    """The member's tensor with all columns, 0 where it lacks the class."""
    source = np.full(width, len(columns))
    source[columns] = np.arange(len(columns))
    padded = ops.concatenate([part, ops.zeros_like(part[..., :1])], axis=-1)
    return ops.take(padded, source.astype("int32"), axis=-1)
