"""NumPy passes over all members, a few rows at a time.

The rows of a block stay in the processor's cache from the first member to the last,
so that every array is read once and no second one of the answer's size is made.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_tricks.fusion import _checks
from keras_tricks.fusion._members import Members

_NUMBERS = 2**16

Fuse = Callable[[slice, Any], None]


def rows(shape: tuple[int, ...], share: int = 1) -> Iterator[slice]:
    """Slices of the first axis that hold about `_NUMBERS / share` numbers each."""
    size = max(1, _NUMBERS // share // max(1, int(np.prod(shape[1:]))))
    for start in range(0, shape[0], size):
        yield slice(start, min(start + size, shape[0]))


def float_type(parts: list[Any]) -> np.dtype:
    """The type of the answer: float64 where the members are integers."""
    kind = np.result_type(*(part.dtype for part in parts))
    return kind if kind.kind == "f" else np.dtype("float64")


def fused(
    members: Members,
    fuse: Fuse,
    wrong: Callable[[Any], bool] | None = None,
    explain: Callable[[list[Any]], None] = _checks.refuse_nan,
    working: str | None = None,
    share: int = 1,
) -> Any:
    """Fills the answer block by block: `fuse` gets the rows, and what it must fill.

    Where the answer is `wrong`, `explain` searches the members and raises; if it finds
    nothing, the answer stands.
    """
    kind = float_type(members.parts)
    answer = np.empty(members.shape, kind)
    # Sums of half precision would lose what the members know.
    least = np.dtype("float32") if kind == np.float16 else kind
    used = np.dtype(working) if working else least
    unsure = False
    with np.errstate(all="ignore"):
        for block in rows(answer.shape, share):
            part = answer[block]
            target = part if used == kind else np.empty(part.shape, used)
            fuse(block, target)
            unsure = unsure or (wrong or _checks.holds_nan)(target)
            if target is not part:
                part[...] = target
    unused = zip(members.parts, members.weights, strict=True)
    if unsure or any(_checks.holds_nan(part) for part, share in unused if share == 0):
        explain(members.parts)
    return answer


def settle(block: Any) -> None:
    """Makes equal what differs only by the order of a sum; halves stay as they are."""
    block *= 2.0**30
    np.rint(block, out=block)
    block *= 2.0**-30


def block(members: Members, index: int, rows: slice, like: Any) -> Any:
    """These rows of a member with the columns of `like`, 0 where it lacks the class."""
    part, columns = members.parts[index][rows], members.columns[index]
    if columns is None:
        return part
    wide = np.zeros_like(like)
    wide[..., columns] = part
    return wide


def weighted_sum(members: Members) -> Fuse:
    """Fills a block with the weighted mean of the members' blocks."""

    def fuse(rows: slice, target: Any) -> None:
        first, *others = used = members.counted
        if members.equal:
            np.copyto(target, block(members, first, rows, target), casting="unsafe")
            for index in others:
                target += block(members, index, rows, target)
            target *= 1 / len(used)
            return
        share = members.weights
        np.multiply(block(members, first, rows, target), share[first], out=target)
        term = np.empty_like(target)
        for index in others:
            np.multiply(block(members, index, rows, target), share[index], out=term)
            target += term

    return fuse
