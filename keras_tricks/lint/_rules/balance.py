"""Classes of very different size."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_tricks.lint import _targets
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding

_UNEQUAL = 10
_FEWEST = 50
# With so many rows of each class to be expected, chance does not make one of three.
_EXPECTED = 30


@rule(
    "KT413",
    "One class has ten times more rows than another.",
    severity="warning",
    why=(
        "A model that always says the large class is right most of the time; the small "
        "one hardly moves the loss."
    ),
    source="Buda, Maki and Mazurowski 2018, arXiv 1710.05381",
    needs=("compiled", "y"),
)
def imbalance(facts: Any) -> Iterator[Finding]:
    """Counts the classes of labels, if there are 50 rows or more, 30 for each class.

    Arrays in which all rows are of one class are told too.

    With weights in the data set, or a focal loss, it says nothing.

    It cannot see the `class_weight` and `sample_weight` that `fit` will be given, nor
    whether the classes matter alike. Classes without any row do not count.
    """
    for target in _targets.of(facts):
        ids = target.ids()
        if ids is None or len(ids) < _FEWEST or facts.data.weighted:
            continue
        if "focal" in target.loss.kind:
            continue
        names, counts = np.unique(ids, return_counts=True)
        if len(names) == 1 and facts.data.kind == "arrays":
            yield Finding(
                f"{target.part.name}: all rows are of the class {names[0]:g}.",
                fix="# look at how the labels were made",
            )
        if len(names) < 2 or counts.max() < _UNEQUAL * counts.min():
            continue
        if len(ids) < _EXPECTED * len(names):
            continue
        most, least = int(counts.argmax()), int(counts.argmin())
        weights = ", ".join(
            f"{int(name)}: {len(ids) / (len(names) * count):.3g}"
            for name, count in list(zip(names, counts, strict=True))[:10]
        )
        yield Finding(
            f"{target.part.name}: class {names[most]:g} has {counts[most]} rows, class "
            f"{names[least]:g} has {counts[least]}.",
            fix=f"model.fit(x, y, class_weight={{{weights}}})",
        )
