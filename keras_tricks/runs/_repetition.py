"""What `repeat` found."""

from typing import Any, NamedTuple

import numpy as np

from keras_tricks._report import Report


class FirstDifference(NamedTuple):
    """The first step at which two runs part."""

    step: int | None
    epoch: int
    batch: int | None
    recorded: float
    repeated: float


class Check(NamedTuple):
    """One thing that was compared."""

    what: str
    recorded: Any
    repeated: Any
    same: bool


class Repetition(Report):
    """A run against its record: rows of what was compared.

    Attributes:
        same: Boolean, whether all steps and epochs were the same, bit for bit.
        first_difference: Named tuple of `step` (from 1), `epoch`, `batch`, and the
            losses `recorded` and `repeated`, or None. After the steps that were kept,
            `step` and `batch` are None.
        losses: Floats, shape (steps,), the repeated ones of `Run.steps`.
        unstable: What `kt.runs.unstable_layers` says of the model as it was built.
        model: The model, trained.
    """

    def __init__(
        self,
        rows: list[Check],
        same: bool,
        first: FirstDifference | None,
        losses: list[float],
        unstable: Report,
        model: Any,
    ) -> None:
        self.same, self.first_difference = same, first
        self.losses = np.array(losses)
        self.unstable, self.model = unstable, model
        summary = "the same, bit for bit" if same else _difference(first, rows)
        if unstable.rows:
            summary += f"; beware: {unstable.summary}"
        super().__init__(summary, rows)


def _difference(first: FirstDifference | None, rows: list[Check]) -> str:
    causes = [row.what for row in rows if not row.same]
    if first is None:
        return "no step and no epoch to compare"
    place = f"epoch {first.epoch}"
    if first.step is not None:
        place = f"step {first.step} ({place}, batch {first.batch})"
    told = f"differs first at {place}: {first.recorded!r} then, {first.repeated!r} now"
    return f"{told}; before that in {', '.join(causes)}" if causes else told
