"""Rows that are sorted by their label."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_tricks.lint import _targets
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding

_FEWEST = 50
# Of the changes from row to row that a shuffled order has, so many are left.
_CHANGES = 0.1


@rule(
    "KT414",
    "The rows are ordered by their label.",
    severity="warning",
    why=(
        "`validation_split` takes the last rows, so that whole classes are missing; "
        "and where `fit` does not shuffle, each batch pulls to one class."
    ),
    source="Keras's documentation of `fit`: the last rows, before shuffling",
    needs=("compiled", "y"),
)
def ordered_labels(facts: Any) -> Iterator[Finding]:
    """Counts how often the class changes from row to row, against a shuffled order.

    Of labels that are no classes it asks whether they only rise, or only fall: "info",
    for they may be a series in time.

    It cannot see whether a `validation_split` is used, nor an order by something else
    than the label. Time series are ordered by time, which it says nothing about.
    """
    for target in _targets.of(facts):
        ids = target.ids()
        values = target.part.values
        classes = ids is not None
        if not classes and target.part.is_numeric and values.size == len(values):
            ids = values.reshape(-1) if target.loss.kind.startswith("mean_") else None
            ordered = ids is not None and len(ids) >= _FEWEST and _is_monotone(ids)
        else:
            ordered = ids is not None and len(ids) >= _FEWEST and _is_grouped(ids)
            ordered = ordered or _is_one_of_many(facts, target, ids)
        if ordered:
            arrays = facts.data.kind == "arrays"
            fix = (
                "order = np.random.default_rng(1).permutation(len(x))\n"
                "x, y = x[order], y[order]"
            )
            yield Finding(
                f"{target.part.name} is ordered: shuffle the rows.",
                severity="" if classes else "info",
                fix=fix
                if arrays
                else "dataset = dataset.unbatch().shuffle(n).batch(b)",
            )


def _is_grouped(ids: np.ndarray) -> bool:
    _, counts = np.unique(ids, return_counts=True)
    expected = 1.0 - float(np.sum((counts / len(ids)) ** 2))
    changes = float(np.mean(ids[1:] != ids[:-1]))
    # Of a very rare class few changes are expected, and none may be seen.
    return expected * len(ids) > 20 and changes < _CHANGES * expected


def _is_one_of_many(facts: Any, target: Any, ids: Any) -> bool:
    """Whether the first rows of a data set are all of one class, among several."""
    begun = facts.data.kind == "dataset" and ids is not None and len(ids) >= 256
    return begun and (target.classes or 0) > 2 and len(np.unique(ids)) == 1


def _is_monotone(values: np.ndarray) -> bool:
    steps = np.diff(values.astype("float64"))
    return bool(np.any(steps != 0) and (np.all(steps >= 0) or np.all(steps <= 0)))
