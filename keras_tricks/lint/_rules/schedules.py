"""Schedules that a callback fights with, or that do not fit the training."""

from collections.abc import Iterator
from typing import Any

from keras.optimizers.schedules import CosineDecay, PolynomialDecay

from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding
from keras_tricks.schedules import OneCycle, Scaled, SlantedTriangular, Warmup


@rule(
    "KT312",
    "A callback sets the rate of an optimizer that follows a schedule.",
    severity="error",
    why=(
        "Keras refuses a rate where there is a schedule, with a TypeError, but only "
        "when the callback first acts: often hours later."
    ),
    source="Keras 3.15, run: ReduceLROnPlateau and LearningRateScheduler",
    needs=("compiled",),
)
def schedule_and_callback(facts: Any) -> Iterator[Finding]:
    """Finds schedules beside `ReduceLROnPlateau`, `LearningRateScheduler` and alike.

    It cannot see callbacks of one's own that do not declare it by
    `lint_traits = {"sets_learning_rate": True}`.
    """
    setting = facts.callbacks_that("sets_learning_rate")
    if setting and any(schedule is not None for _, schedule in facts.schedules):
        yield Finding(
            f"{type(setting[0]).__name__} will fail: the optimizer follows a schedule.",
            fix='kt.callbacks.HalveOnPlateau("val_loss", patience=3)',
        )


@rule(
    "KT313",
    "A schedule is made for another number of steps.",
    severity="warning",
    why="A schedule that ends early leaves the rate at its lowest for the rest; one "
    "that is too long never comes down.",
    source="Smith and Topin 2018, arXiv 1708.07120",
    needs=("compiled",),
)
def schedule_length(facts: Any) -> Iterator[Finding]:
    """Compares a schedule's length with the steps of the training.

    Needs `epochs`, and data of known length. What ends before half of the training is a
    "warning", what is more than twice as long "info".

    It cannot see schedules of one's own, earlier `fit`s, nor early stopping.
    """
    for _, schedule in facts.schedules:
        length = _length(schedule)
        if not facts.steps or not length:
            continue
        if length < facts.steps / 2 or length > facts.steps * 2:
            short = length < facts.steps
            yield Finding(
                f"{type(schedule).__name__} is made for {length} steps, the training "
                f"has {facts.steps}.",
                severity="" if short else "info",
                fix=f"keras.optimizers.schedules.CosineDecay(rate, {facts.steps})",
            )


def _length(schedule: Any) -> int | None:
    """After how many steps a schedule has come to its end, if it has one."""
    if isinstance(schedule, Scaled):
        return _length(schedule.schedule)
    if isinstance(schedule, Warmup):
        inner = _length(schedule.schedule)
        return inner and inner + int(schedule.warmup_steps)
    if isinstance(schedule, CosineDecay):
        return int(schedule.decay_steps) + int(schedule.warmup_steps or 0)
    if isinstance(schedule, PolynomialDecay) and not schedule.cycle:
        return int(schedule.decay_steps)
    if isinstance(schedule, OneCycle | SlantedTriangular):
        return int(schedule.total_steps)
    return None
