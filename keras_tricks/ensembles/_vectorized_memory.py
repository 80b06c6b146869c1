"""How many members fit into memory together."""

import math
import os
import warnings
from contextlib import suppress
from typing import Any

import keras

from keras_tricks import _backend

# Weights and slots before and after a step, gradients, and what lies between.
_COPIES = 3


def members_per_chunk(
    wanted: Any, members: int, variables: list[Any], outputs: Any = (), rows: int = 0
) -> int:
    """The number asked for, or the one for which the memory suffices.

    `outputs` are those of one member for a row, kept for all `rows` of an epoch.
    """
    if wanted != "auto":
        return min(int(wanted), members)
    free = _free()
    if free is None:
        return members
    needed = _COPIES * sum(_bytes(variable.shape) for variable in variables)
    kept = sum(_bytes(one.shape[1:]) for one in keras.tree.flatten(outputs))
    # On the device, and on the host beside them.
    needed += 2 * members * rows * kept
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
    with suppress(OSError, ValueError, IndexError):
        if (available := _available("/proc/meminfo")) is not None:
            return available
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return None


def _available(path: str) -> float | None:
    """What Linux could give without swapping, the file cache included."""
    with open(path, encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return float(value.split()[0]) * 1024
    return None


def _bytes(shape: Any) -> float:
    return math.prod(int(length) for length in shape) * 4.0
