"""What members on the host must not hold, found by looking at the answer first."""

from typing import Any

import numpy as np

# Half precision rounds sums of probabilities this far.
ONE = 1.001


def holds_nan(block: Any) -> bool:
    """Whether there is a NaN: the least number is one then. Only floats can be."""
    if block.dtype.kind != "f" or not block.size:
        return False
    with np.errstate(invalid="ignore"):
        return bool(np.isnan(block.min()))


def holds_no_probabilities(block: Any) -> bool:
    """Whether a number is a NaN or not from 0 to 1."""
    return bool(block.size) and not (block.min() >= 0 and block.max() <= ONE)


def refuse_nan(
    parts: list[Any], name: str = "predictions", one: str = "member"
) -> None:
    """Says which one and which row holds a NaN, if one does."""
    for index, part in enumerate(parts):
        if not holds_nan(part):
            continue
        rows = np.unique(np.argwhere(np.isnan(part))[:, 0])
        raise ValueError(
            f"`{name}` must hold no NaN, which would spoil the answer of all: mend the "
            f"{one}, or leave it or the row out. Received: NaN in {one} {index}, row "
            f"{rows[0]} ({len(rows)} of {len(part)} rows)"
        )


def refuse_infinite(parts: list[Any]) -> None:
    """Says which member and which row holds a NaN or an infinity, if one does."""
    refuse_nan(parts)
    for index, part in enumerate(parts):
        if part.size and not np.isfinite([part.min(), part.max()]).all():
            row = np.argwhere(~np.isfinite(part))[0, 0]
            raise ValueError(
                "`predictions` must be finite, or no mean with them has a score. "
                f"Received: an infinity in member {index}, row {row}"
            )


def refuse_improbable(
    parts: list[Any], name: str = "predictions", one: str = "member"
) -> None:
    """Says which one holds a NaN, or a number that is no probability."""
    if not any(holds_no_probabilities(part) for part in parts):
        return
    refuse_nan(parts, name, one)
    for index, part in enumerate(parts):
        if not holds_no_probabilities(part):
            continue
        place = tuple(np.argwhere((part < 0) | (part > ONE))[0])
        raise ValueError(
            f"`{name}` must be probabilities, from 0 to 1: put logits through a "
            "softmax or sigmoid first, and use kt.fusion.mean for other values. "
            f"Received: {part[place]} in {one} {index}, row {place[0]}"
        )
