"""How many members fit into memory together."""

import math
import os
import warnings
from typing import Any

from keras_tricks import _backend

# Weights and slots before and after a step, gradients, and what lies between.
_COPIES = 3


def members_per_chunk(wanted: Any, members: int, variables: list[Any]) -> int:
    """The number asked for, or the one for which the memory suffices."""
    if wanted != "auto":
        return min(int(wanted), members)
    free = _free()
    if free is None:
        return members
    needed = _COPIES * sum(_bytes(variable) for variable in variables)
    # Half of it for activations and for whoever else is there.
    chunks = math.ceil(needed / (free / 2))
    if chunks <= 1:
        return members
    fit = max(1, members // chunks)
    warnings.warn(
        f"{members} members need about {needed / 2**30:.1f} GiB in a step and "
        f"{free / 2**30:.1f} GiB are free: they run {fit} at a time. Set "
        "`members_per_chunk` to choose.",
        UserWarning,
        stacklevel=4,
    )
    return fit


def _free() -> float | None:
    device = _backend.free_memory()
    if device is not None:
        return device
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return None


def _bytes(tensor: Any) -> float:
    return math.prod(int(length) for length in tensor.shape) * 4.0
