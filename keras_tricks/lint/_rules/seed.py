"""Trainings that cannot be repeated."""

import sys
from collections.abc import Iterator
from typing import Any

import keras

from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding


@rule(
    "KT501",
    "No random seed is set.",
    severity="info",
    why=(
        "Two runs then differ by chance, often by more than what a trick gains, and "
        "none can be repeated."
    ),
    source="Bouthillier et al. 2021, arXiv 2103.03098",
    needs=("compiled",),
)
def unset_seed(facts: Any) -> Iterator[Finding]:
    """Asks whether `keras.utils.set_random_seed` was called.

    It cannot see seeds that were given to NumPy, the backend and each layer by hand,
    nor what a GPU does in another order.
    """
    if given_seed() is None:
        yield Finding(
            "No seed is set: two runs will differ.",
            fix="keras.utils.set_random_seed(1)  # before the model is made",
        )


def given_seed() -> int | None:
    """The seed that Keras was given, or None."""
    # No public name tells. A Keras that calls it otherwise counts as seeded.
    module = sys.modules[keras.utils.set_random_seed.__module__]
    known = getattr(module, "get_random_seed", lambda: 0)
    return known()
