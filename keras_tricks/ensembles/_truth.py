"""Held-out inputs, answers and labels: checked, and in one form for all methods."""

from typing import Any

import keras
import numpy as np

from keras_tricks.ensembles import _labels
from keras_tricks.fusion import _held_out


def check_inputs(x: Any) -> None:
    """Checks for arrays: every member is asked in turn, and must see the same rows.

    Raises:
        TypeError: If `x` is a dataset, a generator or something else.
    """
    leaves = keras.tree.flatten(x)
    if leaves and all(hasattr(leaf, "shape") for leaf in leaves):
        return
    raise TypeError(
        "`x` must be an array, or a list or dictionary of arrays, here: every member "
        "is asked in turn, and must see the same rows in the order of `y`. Received: "
        f"{type(x).__name__}"
    )


def samples(x: Any) -> int:
    """How many samples the arrays have.

    Raises:
        TypeError: If `x` is a dataset, a generator or something else.
        ValueError: If there are none, or the arrays have not as many each.
    """
    leaves = keras.tree.flatten(x)
    if not leaves or not all(hasattr(leaf, "shape") and leaf.shape for leaf in leaves):
        raise TypeError(
            "`x` must be an array, or a list or dict of arrays. Received: x of the "
            f"type {type(x).__name__}; a dataset has no rows to take again"
        )
    counts = {len(leaf) for leaf in leaves}
    if len(counts) > 1 or counts == {0}:
        raise ValueError(
            "`x` must have samples, and all its arrays as many. Received: arrays of "
            f"the shapes {[tuple(leaf.shape) for leaf in leaves]}"
        )
    return counts.pop()


def check_rank(answer: np.ndarray, name: str) -> None:
    """Checks for one row per sample.

    Raises:
        ValueError: If there are more axes.
    """
    if answer.ndim > 2:
        raise ValueError(
            "`models` must give one row per sample, (samples, columns), for what "
            f"takes held-out data. Received: {name} with the shape {answer.shape}; "
            "use its `predict`, and kt.fusion with the other axes among the samples"
        )


def check_numbers(answer: np.ndarray, name: str) -> None:
    """Checks that no number is a NaN: it would be taken for the first class.

    Raises:
        ValueError: If one is.
    """
    wrong = np.isnan(answer)
    if wrong.any():
        row = int(np.argwhere(wrong)[0, 0])
        raise ValueError(
            f"`models` must answer with numbers. Received: NaN in row {row} of {name}"
        )


def truth(y: Any, labels: Any, kind: str, answer: np.ndarray, soft: bool) -> Any:
    """The true answers: column numbers, rows of 0 and 1 per question, or values.

    Where `soft`, rows may also hold other probabilities.

    Raises:
        TypeError: If `y` holds no answers.
        ValueError: If they do not go with the labels, or with the ensemble's answers.
    """
    y, shape = _labels.targets(_held_out.truth(y), labels), answer.shape
    if len(y) != len(answer):
        raise ValueError(
            f"`y` must have one entry per sample, here {len(answer)}. Received: "
            f"{len(y)}"
        )
    if kind == "values":
        return y
    several = not _held_out.has_column_only(shape)
    graded = y.dtype.kind == "f" and not np.isin(y, (0, 1)).all()
    if soft and graded and y.size == answer.size:
        return y.reshape(shape)
    if not (several and kind == "multilabel"):
        return _held_out.true_columns(y, shape)
    if y.shape != shape or not np.isin(y, (0, 1)).all():
        raise ValueError(
            "`y` must hold rows of 0 and 1, one column per question, where the members "
            f"end in several sigmoids. Received: the shape {y.shape} for answers of "
            f"{shape}"
        )
    return y
