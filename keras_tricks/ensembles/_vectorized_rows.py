"""Which row each member sees in which step."""

from typing import Any, NamedTuple

import numpy as np


class Phase(NamedTuple):
    """Steps of one batch shape: rows (steps, members, batch), counts (steps, members).

    A member with a count of 0 has no batch in that step; one with less than the batch
    has its rows first, then one of them again, which must not count.
    """

    rows: Any
    counts: Any


def checked(name: str, rows: Any, members: int, samples: int) -> list[Any]:
    """The rows of every member as integer arrays; all rows if `rows` is None."""
    if rows is None:
        return [np.arange(samples, dtype="int32")] * members
    expected = f"None, or a list of {members} arrays of row numbers, one per member"
    if isinstance(rows, str | bytes) or not hasattr(rows, "__len__"):
        raise TypeError(f"`{name}` must be {expected}. Received: {name}={rows!r}")
    if len(rows) != members:
        raise ValueError(f"`{name}` must be {expected}. Received: {len(rows)} of them")
    return [_one(name, k, given, samples) for k, given in enumerate(rows)]


def _one(name: str, member: int, given: Any, samples: int) -> Any:
    array = np.asarray(given)
    if array.dtype == bool:
        raise TypeError(
            f"`{name}` must hold row numbers. Received: booleans for member {member}; "
            "give numpy.flatnonzero(mask)"
        )
    if array.size == 0:
        raise ValueError(
            f"`{name}` must give every member at least one row. Received: none for "
            f"member {member}"
        )
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise TypeError(
            f"`{name}` must hold one-dimensional arrays of integers. Received: shape "
            f"{array.shape} and dtype {array.dtype} for member {member}"
        )
    if array.min() < 0 or array.max() >= samples:
        bad = array[(array < 0) | (array >= samples)][0]
        raise ValueError(
            f"`{name}` must hold row numbers from 0 to {samples - 1}. Received: {bad} "
            f"for member {member}"
        )
    return array.astype("int32")


def order(rows: Any, seed: int, epoch: int, shuffle: bool) -> Any:
    """One member's rows in the order of an epoch."""
    if not shuffle:
        return rows
    return np.random.default_rng([seed, 2, epoch]).permutation(rows)


def phases(orders: list[Any], active: Any, batch_size: int, mask: bool) -> list[Phase]:
    """The steps of one epoch.

    With `mask` a last batch that is not full is a full one of which some rows do not
    count. Without, it is a step of its own shape, together with the members whose last
    batch is as long.
    """
    sizes = np.array([len(one) for one in orders])
    if mask:
        made = [_phase(orders, np.zeros_like(sizes), sizes, batch_size)]
    else:
        full = sizes // batch_size * batch_size
        rest = sizes - full
        made = [_phase(orders, np.zeros_like(sizes), full, batch_size)]
        made += [
            _phase(orders, full, np.where(rest == length, rest, 0), int(length))
            for length in np.unique(rest[rest > 0])
        ]
    # Members that rest change the counts, not the shapes: nothing is compiled anew.
    for phase in made:
        np.multiply(phase.counts, np.asarray(active, "int32"), out=phase.counts)
    return [phase for phase in made if len(phase.rows)]


def _phase(orders: list[Any], starts: Any, sizes: Any, batch: int) -> Phase:
    members = len(orders)
    steps = int(-(-sizes.max() // batch))
    rows = np.empty((members, steps * batch), "int32")
    for k, (one, start, size) in enumerate(zip(orders, starts, sizes, strict=True)):
        rows[k, :size] = one[start : start + size]
        rows[k, size:] = one[0]
    counts = np.clip(sizes[None] - np.arange(steps)[:, None] * batch, 0, batch)
    stepwise = rows.reshape(members, steps, batch).swapaxes(0, 1)
    return Phase(np.ascontiguousarray(stepwise), counts.astype("int32"))


def padded(rows: list[Any], length: int) -> tuple[Any, Any]:
    """Rows (members, some multiple of length) and how many count of each member."""
    sizes = np.array([len(one) for one in rows])
    phase = _phase(rows, np.zeros_like(sizes), sizes, length)
    return phase.rows, phase.counts
