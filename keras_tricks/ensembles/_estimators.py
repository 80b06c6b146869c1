"""Members from scikit-learn: what may be one, which classes it knows, and its answer.

scikit-learn is imported where it is needed: most ensembles have no such member.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks.ensembles import _labels
from keras_tricks.fusion import _members as _fusion_members

# How far the probabilities of a row may be from 1 together.
_ROUNDING = 1e-3


def is_one(member: Any) -> bool:
    """Whether a member is no Keras model."""
    return not isinstance(member, keras.Model)


def first(members: Sequence[Any]) -> Any:
    """The first estimator among members at any level, or None."""
    for member in members:
        found = member if is_one(member) else getattr(member, "_estimator", None)
        if found is not None:
            return found
    return None


def looks_like_one(value: Any) -> bool:
    """Whether a value has what every estimator has."""
    return is_one(value) and hasattr(value, "fit")


def check(name: str, member: Any) -> Any:
    """Checks for a fitted classifier with probabilities, or a fitted regressor.

    Raises:
        TypeError: If it is no estimator of these kinds.
        ValueError: If it is not fitted, gives no probabilities, or answers several
            questions.
    """
    from sklearn.base import BaseEstimator, is_classifier, is_regressor
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if isinstance(member, type) or not isinstance(member, BaseEstimator):
        raise TypeError(
            f"`{name}` must be a built keras.Model or a fitted scikit-learn estimator. "
            f"Received: {name}={member!r}"
        )
    kind = type(member).__name__
    try:
        check_is_fitted(member)
    except NotFittedError as error:
        raise ValueError(
            f"`{name}` must be fitted: call its fit(x, y) first. Received: {name} "
            f"{kind}, not fitted"
        ) from error
    if is_regressor(member):
        return member
    if not is_classifier(member):
        raise TypeError(
            f"`{name}` must be a classifier or a regressor where it comes from "
            f"scikit-learn. Received: {name}={member!r}"
        )
    if not hasattr(member, "predict_proba"):
        raise ValueError(
            f"`{name}` must give probabilities: wrap it in sklearn.calibration."
            f"CalibratedClassifierCV. Received: {name} {kind} without predict_proba"
        )
    if any(np.ndim(label) for label in member.classes_):
        raise ValueError(
            f"`{name}` must answer one question: fit an estimator for each, and an "
            f"ensemble of these. Received: {name} {kind} with "
            f"{len(member.classes_)} outputs"
        )
    return member


def _is_classifier(member: Any) -> bool:
    return hasattr(member, "predict_proba")


def kind(member: Any, word: str, index: int, of_classes: bool) -> str:
    """What an estimator gives, for a declared word and the fusion.

    Raises:
        ValueError: If the word is wrong for it, or the fusion asks for classes.
    """
    found = "probabilities" if _is_classifier(member) else "values"
    if word == "auto":
        word = found
    if word not in ("probabilities", "multilabel", "values"):
        raise ValueError(
            "`outputs` must not be logits for a member from scikit-learn, which gives "
            f"probabilities or values. Received: outputs={word!r} for models[{index}] "
            f"{type(member).__name__}"
        )
    if of_classes and word == "values":
        raise ValueError(
            "`fusion` must be 'mean' or 'median', or a function, where a member gives "
            f"values. Received: a fusion of classes and models[{index}] "
            f"{type(member).__name__}"
        )
    return word


def output_shape(member: Any) -> tuple[int | None, ...] | None:
    """The shape of its answer, where that is known."""
    return (None, len(member.classes_)) if _is_classifier(member) else None


def of_columns(
    members: Sequence[Any], columns: Any, labels: list[Any] | None, coded: bool
) -> tuple[Any, list[Any] | None]:
    """The classes of every member's columns and of the answer's, or None.

    Takes what `classes` says and adds what the estimators know.

    Raises:
        ValueError: If the two do not go together, or nobody tells the classes of some
            members while others have names for theirs.
    """
    told = [_told(member) for member in members]
    if coded:
        for index, names in enumerate(told):
            if names is not None and not _are_numbers(names):
                raise ValueError(
                    "`models` must be fitted with the numbers of the options, from 0, "
                    "where `fusion` is a code table. Received: "
                    f"models[{index}] with the classes {names!r}"
                )
        return columns, labels
    if columns is not None or labels is not None:
        _check_given(told, columns, labels)
        return columns, labels
    if all(names is None or _are_numbers(names) for names in told):
        lengths = {len(names) for names in told if names is not None}
        if None in told or len(lengths) < 2:
            return None, None
    elif None in told:
        index = next(i for i, n in enumerate(told) if n and not _are_numbers(n))
        raise ValueError(
            "`classes` must be given where a member from scikit-learn has classes "
            "other than 0, 1 and so on, and a Keras model cannot tell its own: one "
            "list per member, in the order of its columns. Received: classes=None and "
            f"models[{index}] {type(members[index]).__name__} with {told[index]!r}"
        )
    if all(names == told[0] for names in told):
        return None, told[0]
    return _labels.of_columns(told, len(told))


def _told(member: Any) -> list[Any] | None:
    """The classes that a member knows by itself."""
    if is_one(member):
        classes = getattr(member, "classes_", None)
        return None if classes is None else np.asarray(classes).tolist()
    names = getattr(member, "labels", None)
    return list(names) if isinstance(names, list | tuple) else None


def _are_numbers(names: Any) -> bool:
    return list(names) == list(range(len(names)))


def _check_given(
    told: list[list[Any] | None], columns: Any, labels: list[Any] | None
) -> None:
    for index, names in enumerate(told):
        given: Any = labels if columns is None else columns[index]
        if names is None or names == given:
            continue
        # Fitted with column numbers, which the user gives names.
        named = _are_numbers(names) and not set(names) & set(given)
        if not named or len(names) != len(given):
            raise ValueError(
                "`classes` must be those that a member from scikit-learn was fitted "
                "with, in its order, or names for its 0, 1 and so on; where members "
                "differ, one list per member. Received: "
                f"{given!r} for models[{index}] with {names!r}"
            )


def one_column(members: Sequence[Any], widths: Sequence[int | None]) -> list[bool]:
    """Which members must leave out the first of two columns, to go with the others.

    A Keras model with one sigmoid gives the probability of the second class only.
    """
    if 1 not in widths:
        return [False] * len(members)
    return [
        width == 2 and _gives_classes(member)
        for member, width in zip(members, widths, strict=True)
    ]


def _gives_classes(member: Any) -> bool:
    if is_one(member):
        return _is_classifier(member)
    return first([member]) is not None and member._answer_kind != "values"


def ask(member: Any, kind: str, x: Any) -> np.ndarray:
    """Probabilities, one column per class; or values, in columns.

    Raises:
        TypeError: If `x` is not one array or table.
        ValueError: If a row of probabilities does not have the sum 1.
    """
    rows = _rows(x)
    if not _is_classifier(member):
        values = np.asarray(member.predict(rows), "float32")
        return values[:, None] if values.ndim == 1 else values
    answer = np.asarray(member.predict_proba(rows), "float32")
    sums = answer.sum(axis=-1)
    # A NaN is found, and named, by the fusion.
    if kind != "multilabel" and (np.abs(sums - 1.0) > _ROUNDING).any():
        raise ValueError(
            "`models` must give one class per row where they come from scikit-learn; "
            "for several labels per row declare outputs='multilabel'. Received: "
            f"{type(member).__name__}, whose probabilities have the sum "
            f"{sums[np.argmax(np.abs(sums - 1.0))]:.3g} in a row"
        )
    return answer


def _rows(x: Any) -> Any:
    """What scikit-learn takes: one table, so images become rows."""
    if _fusion_members.is_tensor(x):
        x = ops.convert_to_numpy(x)
    if isinstance(x, dict | list | tuple) or not hasattr(x, "shape"):
        raise TypeError(
            "`x` must be one array or table where a member comes from scikit-learn. "
            f"Received: {type(x).__name__}"
        )
    return x.reshape(len(x), -1) if len(x.shape) > 2 else x


def fused(fuse: Any, answers: list[np.ndarray], shares: Any, columns: Any) -> Any:
    """The members' answers as one array."""
    answer = fuse(answers, shares, columns)
    if _fusion_members.is_tensor(answer):
        # A function of the user's may be made of Keras operations.
        answer = ops.convert_to_numpy(answer)
    return np.asarray(answer, np.result_type(*answers))
