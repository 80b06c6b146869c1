"""What scikit-learn asks of the inputs, also of images and dictionaries."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    validate_data,
)


def checked(
    estimator: Any, X: Any, y: Any = "no_validation", *, reset: bool
) -> tuple[Any, Any]:
    """The inputs as arrays, and `y` if it is given.

    A table goes through scikit-learn's own check; arrays of more axes and the parts
    of a dictionary are checked alike, but may be of any length along their axes.

    Raises:
        TypeError: If an input is sparse.
        ValueError: If it is not what `fit` has seen, or holds NaN.
    """
    if isinstance(X, list | tuple):
        X = _nested(X)
    # A sparse array of the format DOK is a dictionary too.
    if isinstance(X, Mapping) and not issparse(X):
        arrays: Any = {str(name): _array(part, str(name)) for name, part in X.items()}
        check_consistent_length(*arrays.values())
    elif getattr(X, "ndim", 2) > 2:
        arrays = _array(X, "X")
    else:
        return _table(estimator, X, y, reset)
    _check_shape(estimator, _shape(arrays), reset)
    if isinstance(y, str):
        return arrays, None
    y = _y(estimator, y)
    check_consistent_length(*keras.tree.flatten(arrays), y)
    return arrays, y


def _nested(X: Any) -> Any:
    """Lists in lists in lists as an array; other lists are left to scikit-learn."""
    try:
        found = np.asarray(X)
    except ValueError:
        return X
    return found if found.ndim > 2 else X


def _table(estimator: Any, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
    if not reset:
        _check_kind(estimator, 1)
    options = {} if isinstance(y, str) else _y_options(estimator)
    both = validate_data(
        estimator, X, y, reset=reset, allow_nd=True, dtype="numeric", **options
    )
    X, y = (both, None) if isinstance(y, str) else both
    if reset:
        estimator.input_shape_ = X.shape[1:]
    return X, _dense(y)


def _dense(y: Any) -> Any:
    return y.toarray() if hasattr(y, "toarray") else y


def _array(value: Any, name: str) -> np.ndarray:
    return check_array(
        value, allow_nd=True, ensure_2d=False, dtype="numeric", input_name=name
    )


def _y_options(estimator: Any) -> dict[str, Any]:
    numeric = estimator.__sklearn_tags__().estimator_type == "regressor"
    return {"multi_output": True, "y_numeric": numeric}


def _y(estimator: Any, y: Any) -> Any:
    if y is None:
        raise ValueError(
            f"`y` must be given: {type(estimator).__name__} requires y to be passed. "
            "Received: y=None"
        )
    dtype = "numeric" if _y_options(estimator)["y_numeric"] else None
    return _dense(
        check_array(
            y, accept_sparse="csr", ensure_2d=False, dtype=dtype, input_name="y"
        )
    )


def _shape(arrays: Any) -> Any:
    if isinstance(arrays, dict):
        return {name: array.shape[1:] for name, array in arrays.items()}
    return arrays.shape[1:]


def _check_shape(estimator: Any, shape: Any, reset: bool) -> None:
    """Notes the shape, or checks it: its names and ranks, lengths may vary."""
    if reset:
        estimator.input_shape_ = shape
        for name in ("feature_names_in_", "n_features_in_"):
            vars(estimator).pop(name, None)
        if isinstance(shape, tuple):
            estimator.n_features_in_ = shape[0]
        return
    seen = estimator.input_shape_
    if not isinstance(shape, dict):
        _check_kind(estimator, len(shape))
    elif not isinstance(seen, dict) or seen.keys() != shape.keys():
        expected = sorted(seen) if isinstance(seen, dict) else "one array"
        raise ValueError(
            f"`X` must be what `fit` has seen, {expected}. Received: a dictionary of "
            f"{sorted(shape)}"
        )


def _check_kind(estimator: Any, rank: int) -> None:
    seen = estimator.input_shape_
    if isinstance(seen, dict) or len(seen) != rank:
        expected = sorted(seen) if isinstance(seen, dict) else f"{len(seen) + 1} axes"
        raise ValueError(
            f"`X` must be what `fit` has seen, {expected}. Received: an array of "
            f"{rank + 1} axes"
        )


def rows(arrays: Any, chosen: Any) -> Any:
    """Some rows of the inputs."""
    return keras.tree.map_structure(lambda array: array[chosen], arrays)


def weights(sample_weight: Any, y: Any) -> np.ndarray | None:
    """Weights of the rows, or None.

    Raises:
        ValueError: If there is not one of at least zero for each row, or all are zero.
    """
    if sample_weight is None:
        return None
    checked = _check_sample_weight(
        sample_weight, np.empty((len(y), 1)), dtype=np.float64, ensure_non_negative=True
    )
    if not checked.any():
        raise ValueError(
            "`sample_weight` must hold a weight above zero. Received: only zeros"
        )
    return np.asarray(checked)


def with_weight(
    X: Any, targets: np.ndarray, weights: np.ndarray
) -> tuple[Any, np.ndarray, np.ndarray]:
    """The rows that have a weight.

    Raises:
        ValueError: If none has.
    """
    kept = weights > 0
    if kept.all():
        return X, targets, weights
    if not kept.any():
        raise ValueError(
            "`class_weight` must leave rows with a weight above zero. Received: a "
            "weight of zero for every class in `y`"
        )
    return rows(X, kept), targets[kept], weights[kept]
