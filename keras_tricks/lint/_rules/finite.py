"""NaN and infinity in the data."""

from collections.abc import Iterator
from typing import Any

from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding


@rule(
    "KT401",
    "There is NaN or infinity in the data.",
    severity="error",
    why="One such number makes the loss, and with it every weight, NaN. JAX does not "
    "stop at it.",
    source="run on three backends",
)
def not_finite(facts: Any) -> Iterator[Finding]:
    """Searches arrays and tensors whole, of other data the rows that were read.

    Labels of NaN under a loss of one's own are a "warning": it may leave them out.

    It cannot see what augmentation does, nor the rows of a data set that were not read.
    """
    known = all(loss.kind for loss in facts.losses)
    for parts, mild in ((facts.data.x, False), (facts.data.y, not known)):
        for part in parts:
            if part.finite is False:
                yield Finding(
                    f"{part.name} holds NaN or infinite numbers.",
                    severity="warning" if mild else "",
                    fix=f"keep = np.isfinite({part.name}.reshape(len({part.name}), -1))"
                    ".all(axis=1)",
                )
