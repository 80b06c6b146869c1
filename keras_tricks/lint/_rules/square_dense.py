"""Stacks of dense layers of one width."""

from collections.abc import Iterator
from typing import Any

from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding
from keras_tricks.surgery.dense_to_highway import dense_to_highway

_STACK = 3


@rule(
    "KT103",
    "Several hidden dense layers are as wide as their input.",
    severity="info",
    why=(
        "A plain stack of dense layers gets hard to train with its depth; Highway "
        "layers of the same width let their input through at first."
    ),
    source="Srivastava et al. 2015, arXiv 1505.00387",
    needs=("graph",),
)
def square_dense(facts: Any) -> Iterator[Finding]:
    """Finds three or more `Dense` that `kt.surgery.dense_to_highway` could replace.

    It cannot see whether they stand in one stack, nor whether they train well as it is:
    below some ten layers they usually do.
    """
    rows = [row for row in dense_to_highway(facts.model, plan=True) if row.change]
    if len(rows) >= _STACK:
        yield Finding(
            f"{len(rows)} hidden dense layers are as wide as their input: candidates "
            "for Highway, if the stack does not train.",
            layers=tuple(row.layer for row in rows),
            fix="model = kt.surgery.dense_to_highway(model)",
        )
