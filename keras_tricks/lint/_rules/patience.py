"""Callbacks that wait longer than the training lasts."""

from collections.abc import Iterator
from typing import Any

from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding


@rule(
    "KT343",
    "A callback's patience is as long as the training.",
    severity="info",
    why="It would act after that many epochs without a better value: never.",
    source="Keras's documentation of EarlyStopping and ReduceLROnPlateau",
)
def too_patient(facts: Any) -> Iterator[Finding]:
    """Compares the `patience` of callbacks with `epochs`.

    It cannot see `initial_epoch`, nor that the training will go on in another `fit`.
    """
    for callback in facts.callbacks if facts.epochs else ():
        patience = getattr(callback, "patience", None)
        if isinstance(patience, int) and patience >= facts.epochs:
            yield Finding(
                f"{type(callback).__name__} waits for {patience} epochs, and the "
                f"training has {facts.epochs}.",
                fix=f"keras.callbacks.{type(callback).__name__}("
                f"patience={max(facts.epochs // 5, 1)})",
            )
