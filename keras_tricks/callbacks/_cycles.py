"""Where the cycles of a learning-rate schedule end, however it is wrapped."""

import bisect
from collections.abc import Callable
from typing import Any

import keras

from keras_tricks.schedules import CosineRestarts, Cyclical, Scaled, Warmup, _rates
from keras_tricks.schedules._step import LAST_STEP

# Schedules of two groups are the same if their cycles are, as far as this.
_COMPARED = 10_000


class Cycles:
    """The ends of the cycles, in steps made: a first cycle of 10 steps ends at 10.

    Args:
        ends: Function from a number of steps to the last step of each cycle in a
            training of that length, as `CosineRestarts.cycle_ends`.
        offset: Integer, steps before the first cycle.
    """

    def __init__(self, ends: Callable[[int], list[int]], offset: int) -> None:
        self._ends, self._offset = ends, offset
        self._known: list[int] = []
        self._steps = 512

    def after(self, step: int) -> int | None:
        """The first end after `step`; None if it is beyond what a step can count."""
        while not self._known or self._known[-1] <= step:
            if self._steps >= LAST_STEP:
                return None
            self._steps = min(2 * max(self._steps, step), LAST_STEP)
            # The last cycle may be cut short where the training would end.
            self._known = [
                end + 1 + self._offset for end in self._ends(self._steps)[:-1]
            ]
        return self._known[bisect.bisect_right(self._known, step)]

    def up_to(self, last: int) -> list[int]:
        """All ends up to a step."""
        ends, end = [], self.after(0)
        while end is not None and end <= last:
            ends.append(end)
            end = self.after(end)
        return ends


def of_schedule(schedule: Any, offset: int = 0) -> Cycles | None:
    """The cycles of a schedule, or None if it has none."""
    if isinstance(schedule, Warmup):
        return of_schedule(schedule.schedule, offset + int(schedule.warmup_steps))
    if isinstance(schedule, Scaled):
        return of_schedule(schedule.schedule, offset)
    if isinstance(schedule, Cyclical):
        cycle = 2 * int(schedule.step_size)
        return Cycles(lambda n: [*range(cycle - 1, n, cycle), n - 1], offset)
    if isinstance(schedule, keras.optimizers.schedules.CosineDecayRestarts):
        config = schedule.get_config()
        first, t_mul = config["first_decay_steps"], config["t_mul"]
        return Cycles(CosineRestarts(1.0, int(first), t_mul).cycle_ends, offset)
    ends = getattr(schedule, "cycle_ends", None)
    return None if ends is None else Cycles(ends, offset)


def of_optimizer(optimizer: Any) -> Cycles:
    """The cycles of the schedule that an optimizer follows.

    Raises:
        ValueError: If it has none, or groups of weights whose cycles differ.
    """
    groups = _rates.groups(optimizer)
    found = [of_schedule(_rates.schedule_of(group)) for group in groups]
    cycles = [one for one in found if one is not None]
    if not cycles:
        kinds = ", ".join(_kind(group) for group in groups)
        raise ValueError(
            "`schedule` must be given where the optimizer follows no schedule with "
            f"cycles, such as keras_tricks.schedules.CosineRestarts. Received: "
            f"schedule=None and an optimizer whose learning rate is {kinds}; or name "
            "the moments otherwise than by cycles"
        )
    if any(c.up_to(_COMPARED) != cycles[0].up_to(_COMPARED) for c in cycles[1:]):
        raise ValueError(
            "`schedule` must be given where the groups of an optimizer have different "
            "cycles. Received: schedule=None"
        )
    return cycles[0]


def _kind(group: Any) -> str:
    schedule = _rates.schedule_of(group)
    return "a number" if schedule is None else f"a {type(schedule).__name__}"


def checked(schedule: Any) -> Any:
    """Checks for None or a schedule with cycles."""
    if schedule is not None and of_schedule(schedule) is None:
        raise ValueError(
            "`schedule` must be a schedule with cycles, such as "
            "keras_tricks.schedules.CosineRestarts or one with a method "
            f"`cycle_ends(steps)`, or None. Received: schedule={schedule!r}"
        )
    return schedule
