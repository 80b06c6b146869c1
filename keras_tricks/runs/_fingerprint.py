"""What data and weights are, in a few numbers: cheap, and said how.

An array of up to `FULL` bytes is hashed as a whole, a larger one by every k-th row and
the last, so many that they fit. A change elsewhere in a large array goes unseen.
"""

import hashlib
import math
from typing import Any

import keras
import numpy as np

FULL = 8 * 2**20
_DIGITS = 16
_MOST_ARRAYS = 1_000


def digest(*parts: bytes) -> str:
    """A few digits that differ where the bytes do."""
    made = hashlib.sha256()
    for part in parts:
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.hexdigest()[:_DIGITS]


def of_data(data: Any) -> list[dict[str, Any]]:
    """One entry per array; what is no array is named, and not read."""
    return [_guarded(leaf) for leaf in _leaves(data)[:_MOST_ARRAYS]]


def _guarded(leaf: Any) -> dict[str, Any]:
    try:
        return _entry(leaf)
    except Exception:
        # Rows of unequal length, a foreign kind of array: then it is named.
        return _named(leaf)


def _leaves(data: Any) -> list[Any]:
    if data is None:
        return []
    if isinstance(data, dict):
        return [leaf for key in sorted(data, key=str) for leaf in _leaves(data[key])]
    if isinstance(data, tuple) or (isinstance(data, list) and _holds_arrays(data)):
        return [leaf for part in data for leaf in _leaves(part)]
    return [data]


def _holds_arrays(data: list[Any]) -> bool:
    return any(hasattr(part, "shape") or isinstance(part, dict) for part in data[:100])


def _entry(leaf: Any) -> dict[str, Any]:
    if isinstance(leaf, list):
        leaf = np.asarray(leaf)
    if hasattr(leaf, "tocsr"):
        rows = leaf.tocsr()
        parts = [_hash(part) for part in (rows.data, rows.indices, rows.indptr)]
        return {
            "type": "sparse",
            "shape": [int(n) for n in leaf.shape],
            "hash": digest(*(made.encode() for made, _ in parts)),
            "hashed": "; ".join(dict.fromkeys(hashed for _, hashed in parts)),
        }
    if isinstance(leaf, str):
        return {"type": "str", "hash": digest(leaf.encode("utf-8", "replace"))}
    if hasattr(leaf, "shape") and hasattr(leaf, "__getitem__"):
        return _of_array(leaf)
    return _named(leaf)


def _named(leaf: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": type(leaf).__name__, "hash": None}
    try:
        entry["length"] = len(leaf)
    except Exception:
        # A generator, or a data set that does not know.
        entry["length"] = None
    return entry


def _of_array(array: Any) -> dict[str, Any]:
    shape = [int(size) for size in array.shape]
    made, hashed = _hash(array)
    if hasattr(array, "dtypes") and hasattr(array, "columns"):
        kind = "table"
    else:
        kind = _dtype(array)
    return {"type": kind, "shape": shape, "hash": made, "hashed": hashed}


def _dtype(array: Any) -> str:
    try:
        return str(keras.backend.standardize_dtype(array.dtype))
    except Exception:
        return str(getattr(array, "dtype", ""))


def _hash(array: Any) -> tuple[str, str]:
    """The digest of an array, and what of it was read."""
    shape = tuple(int(size) for size in array.shape)
    rows = shape[0] if shape else 1
    step = _step(array, shape)
    if step == 1:
        return digest(_bytes(array)), "all"
    source = getattr(array, "iloc", array)
    parts = [_bytes(source[::step]), _bytes(source[rows - 1 :])]
    return digest(*parts), f"every {step}th of {rows} rows and the last"


def _step(array: Any, shape: tuple[int, ...]) -> int:
    size = math.prod(shape)
    if not shape or not size:
        return 1
    # Objects count for more than their pointers.
    width = getattr(getattr(array, "dtype", None), "itemsize", None) or 64
    return max(1, math.ceil(size * int(width) / FULL))


def _bytes(part: Any) -> bytes:
    try:
        array = np.asarray(keras.ops.convert_to_numpy(part))
    except Exception:
        array = np.asarray(part)
    if array.dtype.kind in "OUS":
        return "\x1f".join(map(_name, array.ravel().tolist())).encode(
            "utf-8", "replace"
        )
    return np.ascontiguousarray(array).tobytes()


def _name(item: Any) -> str:
    # The `repr` of anything else may hold an address.
    plain = isinstance(item, str | bytes | int | float | bool | None)
    return repr(item) if plain else type(item).__name__


def of_variables(variables: Any) -> str | None:
    """The digest of the values of variables, in their order; None if they have none."""
    parts = []
    for variable in variables:
        try:
            made, _ = _hash(variable.value)
        except Exception:
            return None
        parts.append(f"{tuple(variable.shape)} {variable.dtype} {made}".encode())
    return digest(*parts)
