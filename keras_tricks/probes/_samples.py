"""Nested samples of the data in which each class has its share."""

from typing import Any

import keras
import numpy as np

Indices = np.ndarray[Any, np.dtype[np.int64]]

# Numbers are cut into so many ranges of equally many rows.
_BINS = 10


def rows(x: Any) -> int:
    """How many samples there are."""
    return int(keras.tree.flatten(x)[0].shape[0])


def take(data: Any, indices: Indices) -> Any:
    """The samples of these rows, whatever arrays they are."""
    return keras.tree.map_structure(lambda array: _taken(array, indices), data)


def _taken(array: Any, indices: Indices) -> Any:
    if hasattr(array, "iloc"):
        return array.iloc[indices]
    # Tensors of any backend are taken as arrays: a sample is small.
    return (array if isinstance(array, np.ndarray) else _numpy(array))[indices]


def _numpy(array: Any) -> Any:
    return keras.ops.convert_to_numpy(array)


def strata(y: Any, count: int) -> Indices:
    """The class of each row, or the range that its number is in; else one for all."""
    leaves = [leaf for leaf in keras.tree.flatten(y) if leaf is not None]
    alone = np.zeros(count, "int64")
    if len(leaves) != 1:
        return alone
    values = np.asarray(leaves[0] if hasattr(leaves[0], "iloc") else _plain(leaves[0]))
    if values.ndim == 2 and values.shape[1] > 1:
        one_hot = np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()
        return np.argmax(values, axis=1) if one_hot else alone
    if values.size != count:
        return alone
    values = values.reshape(-1)
    found, classes = np.unique(values, return_inverse=True)
    few = len(found) <= max(_BINS, count // _BINS)
    if few and (values.dtype.kind != "f" or np.all(found == np.round(found))):
        return classes.astype("int64")
    if values.dtype.kind not in "fiu":
        return alone
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return ranks * _BINS // count


def _plain(array: Any) -> Any:
    return array if isinstance(array, np.ndarray) else _numpy(array)


def order(classes: Indices, random: np.random.Generator) -> Indices:
    """All rows in an order of which each part has its share of every class.

    The rows of a class are spread evenly, from a random place on: so the first rows
    are a stratified sample, whatever their number, and larger ones hold smaller ones.
    """
    shuffled = random.permutation(len(classes))
    places = np.empty(len(classes))
    for one in np.unique(classes):
        members = shuffled[classes[shuffled] == one]
        spread = (np.arange(len(members)) + random.uniform()) / len(members)
        places[members] = spread
    # Classes of one size would stand in the same order again and again.
    return np.lexsort((random.uniform(size=len(classes)), places))
