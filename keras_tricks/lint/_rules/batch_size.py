"""Batches larger than the data."""

from collections.abc import Iterator
from typing import Any

from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding


@rule(
    "KT330",
    "The batch is larger than the data.",
    severity="warning",
    why="Each epoch is then one step with all rows: no noise that helps, and few "
    "steps.",
    source="Keskar et al. 2017, arXiv 1609.04836",
)
def batch_beyond_data(facts: Any) -> Iterator[Finding]:
    """Finds arrays with fewer rows than a batch.

    With Keras's own 32, which nobody has chosen, it says "info". Data sets make their
    batches themselves: of them it says nothing.

    It cannot see what `validation_split` takes away.
    """
    size, rows = facts.batch_size, facts.rows
    if facts.data.kind == "arrays" and rows and size and size > rows:
        yield Finding(
            f"batch_size={size}, but there are {rows} rows.",
            severity="" if facts.chosen_batch_size else "info",
            fix=f"model.fit(x, y, batch_size={max(rows // 10, 1)})",
        )
