"""Labels of any kind as what a model is trained on, and back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import (
    check_classification_targets,
    type_of_target,
    unique_labels,
)

from keras_tricks.wrappers import _outputs

MULTILABEL = "multilabel-indicator"


@dataclass(frozen=True)
class Labels:
    """The classes of a fit.

    `classes` are the labels, or for a multilabel target the numbers of its columns.
    """

    classes: np.ndarray
    target_type: str
    dtype: Any

    @property
    def multilabel(self) -> bool:
        return self.target_type == MULTILABEL

    @property
    def n_outputs(self) -> int:
        return len(self.classes) if self.multilabel else 1

    def codes(self, y: np.ndarray) -> np.ndarray:
        """The numbers of the classes, or 0 and 1 in the columns of a multilabel target.

        Raises:
            ValueError: If a label is none of the classes, or the columns are others.
        """
        if is_multilabel(y) != self.multilabel:
            raise ValueError(
                f"`y` must be a target of the type {self.target_type!r}, as in the "
                f"first fit. Received: one of the type {type_of_target(y)!r}"
            )
        if self.multilabel:
            if y.shape[1] != self.n_outputs:
                raise ValueError(
                    f"`y` must have {self.n_outputs} columns, as in the first fit. "
                    f"Received: {y.shape[1]} columns"
                )
            return y
        unknown = np.setdiff1d(y, self.classes)
        if unknown.size:
            raise ValueError(
                f"`y` must hold only the classes {self.classes.tolist()}. Received: "
                f"{unknown.tolist()}; give all classes to the first `partial_fit`"
            )
        return np.searchsorted(self.classes, y)

    def encode(self, codes: np.ndarray, model: Any, units: int) -> np.ndarray:
        """The codes as the loss of the model takes them.

        Raises:
            ValueError: If the model has another number of outputs than it must have.
        """
        integers = "sparse" in _outputs.loss_name(model)
        single = units == 1 and len(self.classes) == 2 and not self.multilabel
        if units != len(self.classes) and not single:
            one = " (or one unit)" if self.target_type == "binary" else ""
            raise ValueError(
                f"`build` must give a model with {len(self.classes)} output units"
                f"{one} for the {len(self.classes)} classes of `y`. Received: {units} "
                'units; let `build` take `meta`, and use meta["n_classes_"]'
            )
        if self.multilabel:
            if integers:
                raise ValueError(
                    "`loss` must take one number for each label of a multilabel `y`, "
                    "as binary_crossentropy does. Received: loss="
                    f"{_outputs.loss_name(model)!r}"
                )
            return codes.astype("float64")
        if integers and single:
            raise ValueError(
                "`loss` must be one for a single output unit, as binary_crossentropy. "
                f"Received: loss={_outputs.loss_name(model)!r}; or give the model 2 "
                "units with a softmax"
            )
        if integers:
            return codes
        if single:
            return codes.astype("float64")[:, None]
        return np.eye(units)[codes]

    def decode(self, decision: np.ndarray, *, exclusive: bool) -> np.ndarray:
        """Labels from what `decision_function` gives."""
        if not self.multilabel:
            binary = decision.ndim == 1
            codes = (decision > 0).astype(int) if binary else decision.argmax(axis=1)
            return self.classes[codes]
        if exclusive:
            chosen = np.eye(self.n_outputs)[decision.argmax(axis=1)]
        else:
            chosen = decision > 0
        return chosen.astype(self.dtype)


def found(y: np.ndarray, classes: Any = None) -> Labels:
    """The classes in `y`, or those that are given.

    Raises:
        ValueError: If `y` is no target of a classifier, or has less than two classes.
    """
    if is_multilabel(y):
        return Labels(np.arange(y.shape[1]), MULTILABEL, y.dtype)
    labels = unique_labels(y) if classes is None else np.unique(classes)
    if len(labels) < 2:
        raise ValueError(
            f"`y` must hold at least 2 classes. Received: {len(labels)} class, "
            f"{labels.tolist()}"
        )
    kind = "binary" if len(labels) == 2 else "multiclass"
    return Labels(labels, kind, labels.dtype)


def checked(y: np.ndarray) -> np.ndarray:
    """`y` as one column of labels, or as the columns of a multilabel target.

    Raises:
        ValueError: If it is neither.
    """
    y = _numbers(y)
    check_classification_targets(y)
    if is_multilabel(y):
        if not np.isin(y, (0, 1)).all():
            raise ValueError(
                "`y` must be one column of labels, or columns of 0 and 1. Received: "
                f"columns of {np.unique(y).tolist()}"
            )
        return y
    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(
            "`y` must be one column of labels, or columns of 0 and 1. Received: a "
            f"{type_of_target(y)!r} target of the shape {y.shape}; use "
            "sklearn.multioutput.MultiOutputClassifier"
        )
    return column_or_1d(y, warn=True)


def _numbers(y: np.ndarray) -> np.ndarray:
    """Numbers that are held as objects, as pandas does it, as numbers."""
    if y.dtype != object:
        return y
    plain = all(isinstance(label, int | np.integer) for label in y.ravel())
    return np.array(y.tolist()) if plain else y


def is_multilabel(y: np.ndarray) -> bool:
    return bool(type_of_target(y) == MULTILABEL)
