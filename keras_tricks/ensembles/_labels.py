"""From the user's labels to the columns of an answer, and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def of_columns(classes: Any, count: int) -> tuple[Any, list[Any] | None]:
    """`classes` as one list per member, if given so, and the labels of the answer.

    Raises:
        TypeError: If it is no list.
        ValueError: If it is empty, not one per member, or names a class twice.
    """
    if classes is None:
        return None, None
    if isinstance(classes, str) or not hasattr(classes, "__len__"):
        raise TypeError(
            "`classes` must be a list of labels, or one such list per member. "
            f"Received: classes={classes!r}"
        )
    given = plain(classes)
    nested = [isinstance(item, list) for item in given]
    lists = given if all(nested) else [given]
    if (
        not given
        or (any(nested) and not all(nested))
        or (all(nested) and len(given) != count)
        or any(not names or len(set(names)) < len(names) for names in lists)
    ):
        raise ValueError(
            "`classes` must be a list of labels, each once, or one such list for each "
            f"of the {count} members. Received: classes={classes!r}"
        )
    if not all(nested):
        return None, given
    try:
        return given, sorted(set().union(*given))
    except TypeError:
        raise TypeError(
            "`classes` must hold labels of one kind, which can be sorted. Received: "
            f"classes={classes!r}"
        ) from None


def check_columns(
    columns: Any, labels: list[Any] | None, widths: Sequence[int | None], code: Any
) -> None:
    """Checks that `classes` names all columns of the members, as far as known.

    Raises:
        ValueError: If it names more, or fewer.
    """
    if code is not None:
        if labels is not None and len(labels) != len(code):
            raise ValueError(
                "`classes` must name every row of a code table. Received: "
                f"classes={labels!r} for {len(code)} rows"
            )
        return
    for index, width in enumerate(widths):
        names = labels if columns is None else columns[index]
        if width is not None:
            _check_width(names, width, f"models[{index}]")


def check_count(labels: list[Any] | None, answer: np.ndarray, name: str) -> None:
    """The same for an answer.

    Raises:
        ValueError: If it has more columns, or fewer.
    """
    _check_width(labels, 1 if answer.ndim < 2 else answer.shape[-1], name)


def _check_width(names: list[Any] | None, width: int, name: str) -> None:
    if names is not None and len(names) != (2 if width == 1 else width):
        raise ValueError(
            "`classes` must name every column, and two classes for a single one. "
            f"Received: {names!r} for {name} with {width} columns"
        )


def plain(value: Any) -> Any:
    """What is nested, with lists and Python scalars only, as a file gives it back."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def targets(y: Any, labels: list[Any] | None) -> np.ndarray:
    """Labels as column numbers where the ensemble has names for them.

    Raises:
        ValueError: If a label is none of the names.
    """
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if labels is None or y.ndim != 1:
        return y
    place = {label: index for index, label in enumerate(labels)}
    values, where = np.unique(y, return_inverse=True)
    unknown = [value for value in values.tolist() if value not in place]
    if unknown:
        raise ValueError(
            "`y` must hold labels that `classes` names. Received: "
            f"{unknown[0]!r}, which is none of {labels!r}"
        )
    return np.array([place[value] for value in values.tolist()])[where]


def decided(
    answer: np.ndarray, kind: str, threshold: Any, labels: list[Any] | None
) -> np.ndarray:
    """The labels: one per row, or for each column 0 or 1 where each is a question."""
    single = answer.ndim == 1 or answer.shape[-1] == 1
    if not single and (kind == "multilabel" or isinstance(threshold, list)):
        bounds = np.asarray(0.5 if threshold is None else threshold)
        return (answer > bounds).astype("int32")
    if single:
        column = answer.reshape(len(answer))
        chosen = column > (0.5 if threshold is None else threshold)
    elif threshold is not None:
        chosen = answer[:, 1] > threshold
    else:
        chosen = answer.argmax(axis=-1)
    chosen = chosen.astype("int64")
    return chosen if labels is None else np.asarray(labels)[chosen]
