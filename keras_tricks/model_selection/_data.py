"""The rows of what is trained on: arrays, structures of arrays, tables."""

import hashlib
from typing import Any, NamedTuple

import keras
import numpy as np


class Data(NamedTuple):
    """Inputs, targets and weights, each with one entry per row."""

    x: Any
    y: Any
    sample_weight: Any

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.y)


def checked(x: Any, y: Any, sample_weight: Any, *, table: bool) -> Data:
    """The data as arrays; with `table` the inputs may stay a table with columns.

    Raises:
        TypeError: If something has no rows that could be picked.
        ValueError: If they have different numbers of rows.
    """
    inputs = x if table and hasattr(x, "iloc") else _arrays("x", x)
    weight = None if sample_weight is None else _numbers("sample_weight", sample_weight)
    data = Data(inputs, _numbers("y", y), weight)
    lengths = {len(leaf) for part in (data.x, data.y) for leaf in leaves(part)}
    lengths |= {len(leaf) for leaf in leaves(data.sample_weight)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            "`x`, `y` and `sample_weight` must have as many rows, at least one. "
            f"Received: {sorted(lengths)}"
        )
    return data


def _arrays(name: str, value: Any) -> Any:
    return keras.tree.map_structure(lambda leaf: _array(name, leaf), value)


def _numbers(name: str, value: Any) -> Any:
    """One array of numbers."""
    if isinstance(value, dict):
        raise TypeError(
            f"`{name}` must be one array: models with several outputs are not "
            f"supported. Received: {name} of the type {type(value).__name__}"
        )
    if isinstance(value, list | tuple):
        value = np.asarray(value)
    array = _array(name, value)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"`{name}` must hold numbers. Received: {name} of the dtype {array.dtype}; "
            "number labels by sklearn.preprocessing.LabelEncoder().fit_transform(y)"
        )
    return array


def _array(name: str, leaf: Any) -> Any:
    refused = (
        f"`{name}` must be an array, or a structure of arrays. Received: {name} of the "
        f"type {type(leaf).__name__}; "
    )
    if isinstance(leaf, int | float):
        raise TypeError(refused + f"give numpy.asarray({name})")
    if hasattr(leaf, "toarray"):
        raise TypeError(refused + f"give {name}.toarray()")
    if keras.ops.is_tensor(leaf):
        return keras.ops.convert_to_numpy(leaf)
    streams = hasattr(leaf, "element_spec") or isinstance(leaf, keras.utils.PyDataset)
    if streams or not hasattr(leaf, "__len__") or isinstance(leaf, str | bytes):
        raise TypeError(refused + "its rows cannot be picked, read it into memory")
    array = leaf.to_numpy() if hasattr(leaf, "to_numpy") else np.asarray(leaf)
    if array.ndim == 0:
        raise TypeError(refused + "it has no rows")
    return array


def leaves(value: Any) -> list[Any]:
    """All arrays of a structure."""
    if value is None:
        return []
    return list(keras.tree.flatten(value))


def rows(value: Any, index: Any) -> Any:
    """Those rows of an array, a table, or every array of a structure."""
    if value is None:
        return None
    if hasattr(value, "iloc"):
        return value.iloc[index]
    return keras.tree.map_structure(lambda leaf: leaf[index], value)


def fingerprint(*parts: Any) -> str:
    """A short text that is another one for other values, types, shapes or names."""
    digest = hashlib.sha256()
    for part in parts:
        if hasattr(part, "columns"):
            digest.update(repr(list(part.columns)).encode())
        elif isinstance(part, dict):
            digest.update(repr(sorted(part)).encode())
        for leaf in leaves(part):
            array = leaf.to_numpy() if hasattr(leaf, "to_numpy") else np.asarray(leaf)
            digest.update(f"|{array.dtype}{array.shape}".encode())
            if array.dtype.hasobject:
                digest.update(repr(array.tolist()).encode())
            else:
                digest.update(np.ascontiguousarray(array).data)
        digest.update(b"||")
    return digest.hexdigest()
