"""Arrays that a backend can take as its own memory, without a copy."""

from typing import Any

import numpy as np

# What TensorFlow and XLA want of memory that they did not allocate themselves.
_BYTES = 64
# Below it a copy costs nothing.
_LARGE = 1 << 20


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """As `numpy.empty`, at an address that a backend can use."""
    size = int(np.prod(shape, dtype="int64")) * np.dtype(dtype).itemsize
    raw = np.empty(size + _BYTES, "uint8")
    start = -raw.ctypes.data % _BYTES
    return raw[start : start + size].view(dtype).reshape(shape)


def copied(array: np.ndarray) -> np.ndarray:
    """A copy at an address that a backend can use."""
    copy = empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def can_be_taken(array: Any, dtype: str) -> bool:
    """Whether it is worth it, and the array is just as a variable would hold it."""
    return (
        array.nbytes >= _LARGE
        and array.dtype.isnative
        and array.dtype.name == dtype
        and array.ctypes.data % _BYTES == 0
        and array.flags.c_contiguous
        and array.flags.writeable
    )
