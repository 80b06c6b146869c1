"""Which rows each fold trains on, and which it is judged by."""

from typing import Any

import numpy as np
from sklearn import model_selection
from sklearn.utils.multiclass import type_of_target

from keras_tricks import _arguments
from keras_tricks.model_selection import _data

Split = tuple[np.ndarray, np.ndarray]


def made(cv: Any, x: Any, y: Any, groups: Any, *, classes: bool, seed: int) -> Any:
    """The pairs of rows to train on and rows to judge by.

    `classes` says whether the model tells classes apart. It runs where the global
    random numbers are seeded: a splitter without a `random_state` draws from them.

    Raises:
        TypeError: If `cv` is of another kind.
        ValueError: If a pair holds rows that do not exist, none, or the same twice.
    """
    count = len(y)
    if groups is not None and len(groups) != count:
        raise ValueError(
            f"`groups` must have {count} entries, one per row. Received: {len(groups)}"
        )
    labels = _labels(y) if classes else None
    if isinstance(cv, int | np.integer) and not isinstance(cv, bool):
        cv = _splitter(cv, count, labels, groups, seed)
    if hasattr(cv, "split") and not isinstance(cv, str | bytes):
        like = x if hasattr(x, "iloc") else _data.leaves(x)[0]
        pairs = cv.split(like, y if labels is None else labels, groups)
    else:
        pairs = _iterated(cv)
    splits = [_checked(fold, pair, count) for fold, pair in enumerate(pairs)]
    if not splits:
        raise ValueError(f"`cv` must give at least one fold. Received: cv={cv!r}")
    return splits


def _labels(y: Any) -> Any:
    """One label per row, where the targets are classes."""
    if y.ndim == 2 and y.shape[1] > 1:
        one_hot = np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()
        return y.argmax(axis=1) if one_hot else None
    flat = y.reshape(len(y), -1)
    if flat.shape[1] != 1:
        return None
    return (
        flat[:, 0] if type_of_target(flat[:, 0]) in ("binary", "multiclass") else None
    )


def _splitter(cv: Any, count: int, labels: Any, groups: Any, seed: int) -> Any:
    _arguments.integer("cv", cv, 2, count)
    settings = {"n_splits": int(cv), "shuffle": True, "random_state": seed % 2**32}
    if labels is not None:
        sizes = np.unique(labels, return_counts=True)[1]
        # Of a class with fewer members than folds some folds have none anyway.
        if sizes.max() < cv:
            labels = None
    if groups is not None:
        if labels is None:
            return model_selection.GroupKFold(**settings)
        return model_selection.StratifiedGroupKFold(**settings)
    if labels is None:
        return model_selection.KFold(**settings)
    return model_selection.StratifiedKFold(**settings)


def _iterated(cv: Any) -> Any:
    if isinstance(cv, str | bytes) or not hasattr(cv, "__iter__"):
        raise TypeError(
            "`cv` must be an integer, a splitter of scikit-learn, or a list of pairs "
            f"(rows to train on, rows to judge by). Received: cv={cv!r}"
        )
    return cv


def _checked(fold: int, pair: Any, count: int) -> Split:
    where = f"`cv` must give pairs of arrays of row numbers. Received: in fold {fold} "
    if not hasattr(pair, "__len__") or len(pair) != 2:
        raise TypeError(f"{where}{pair!r}")
    train, test = (np.asarray(part) for part in pair)
    for rows in (train, test):
        if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise TypeError(f"{where}an array of shape {rows.shape} and {rows.dtype}")
        if not rows.size:
            raise ValueError(f"{where}an empty one")
        if rows.min() < 0 or rows.max() >= count:
            raise ValueError(f"{where}row {rows.max()}, and there are {count} rows")
    both = np.intersect1d(train, test)
    if both.size:
        raise ValueError(f"{where}row {both[0]} on both sides")
    return train.astype("int64"), test.astype("int64")
