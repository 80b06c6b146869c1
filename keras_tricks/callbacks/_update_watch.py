"""Tells when wanted updates of the weights have been made, without asking each time."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from keras import ops
from keras.optimizers import LossScaleOptimizer

from keras_tricks import _backend
from keras_tricks.callbacks import _cycles

# So many wanted steps are looked at before a training, whether they can be met.
_CHECKED = 1000


def made(optimizer: Any) -> tuple[int, int]:
    """How many steps an optimizer has made, and how many of them make one update."""
    while isinstance(optimizer, LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    # `iterations` counts updates, but schedules go by the steps.
    counter = next(v for v in optimizer.variables if v.name == "iteration")
    steps = int(ops.convert_to_numpy(counter.value))
    return steps, int(optimizer.gradient_accumulation_steps or 1)


# From a number of steps to the next wanted one, or None.
After = Callable[[int], int | None]


def cycle_ends(schedule: Any, optimizer: Any, before: int, taken_over: bool) -> After:
    """The ends of the cycles of a schedule, or of that of the optimizer."""
    cycles = _cycles.of_schedule(schedule)
    try:
        return (cycles or _cycles.of_optimizer(optimizer)).after
    except ValueError:
        if not taken_over:
            raise
        # An optimizer that takes over need not have cycles.
        return lambda step: None


def each(every: int, optimizer: Any, before: int) -> After:
    """The multiples of a number of updates."""
    _, per_update = made(optimizer)

    def after(step: int) -> int:
        updates = step // per_update
        return per_update * (updates + every - (before + updates) % every)

    return after


def these(updates: Sequence[int], optimizer: Any, before: int) -> After:
    """The updates of a list."""
    _, per_update = made(optimizer)
    steps = sorted(per_update * (int(update) - before) for update in set(updates))
    return lambda step: next((wanted for wanted in steps if wanted > step), None)


def wanted(
    schedule: Any, at: Any, every: int | None
) -> Callable[[Any, int, bool], After]:
    """What `UpdateWatch` asks for: the ends of cycles, some updates, or each so many.

    Args:
        schedule: Schedule, or None for that of the optimizer.
        at: "cycle_end" or a list of updates.
        every: Positive integer, instead of `at`, or None.
    """

    def after(optimizer: Any, before: int, taken_over: bool) -> After:
        if every is not None:
            return each(int(every), optimizer, before)
        if isinstance(at, str):
            return cycle_ends(schedule, optimizer, before, taken_over)
        return these(list(at), optimizer, before)

    return after


class UpdateWatch:
    """Follows the steps of a training, and of each optimizer that comes into it.

    A step is one call of the optimizer. One batch makes at most one step, so nothing
    need be read from the device until so many batches have passed as steps are missing.

    Args:
        after: Function of an optimizer, of the updates that others made before, and of
            whether it took over in a training, that gives the wanted steps of this one.
    """

    def __init__(self, after: Callable[[Any, int, bool], After]) -> None:
        self._after_of = after
        self._model: Any = None
        self.optimizer: Any = None
        self.before = 0
        self.taken_over = False
        self._due: int | None = None
        self._calls: int | None = None

    def begin(self, model: Any) -> None:
        """To be called when a training begins."""
        if model.optimizer is None:
            raise ValueError(
                "`model` must be compiled with an optimizer, as its updates are counted"
                f". Received: model {model.name!r} with optimizer=None"
            )
        self.fresh = model is not self._model
        self._carried = 0
        if self.fresh:
            self.before, self.taken_over = 0, False
        elif model.optimizer is not self.optimizer:
            self._carried = self.updates
        self._model, self.optimizer = model, model.optimizer
        self._checked = False
        self._due = self._calls = None

    def start(self, epoch: int, known: tuple[int, bool] | None = None) -> None:
        """To be called as the first epoch begins; says what a schedule lacks.

        Args:
            epoch: Integer, its number.
            known: The updates of earlier optimizers and whether this one took over, as
                a file tells, or None for what this object knows.
        """
        if known is not None:
            self.before, self.taken_over = known
        elif self._carried and not made(self.optimizer)[0]:
            # Compiled anew, and not to take up a backup.
            self.before, self.taken_over = self._carried, False
        elif self.fresh and epoch > 0:
            # Nothing tells: perhaps.
            self.taken_over = True
        self._after = self._after_of(self.optimizer, self.before, self.taken_over)

    @property
    def updates(self) -> int:
        """The updates made so far, by all optimizers: the variables must be there."""
        return self.before + self.updates_of_this

    @property
    def updates_of_this(self) -> int:
        """Those of the optimizer of now."""
        steps, per_update = made(self.optimizer)
        return steps // per_update

    def has_missed(self) -> bool:
        """Whether a wanted update, or one that nobody knows of, was before now."""
        first, steps = self._after(0), made(self.optimizer)[0]
        return steps > 0 and (first is None or first <= steps)

    def is_due(self) -> bool:
        """Whether the weights are those after a wanted update just now."""
        steps, _ = made(self.optimizer)
        return steps > 0 and self._after(steps - 1) == steps

    def at_batch_begin(self, batch: int, params: dict[str, Any] | None) -> bool:
        """Whether the batch before this one made a wanted update."""
        if batch == 0:
            # A loop of one's own may give none.
            self._begin_epoch(params or {})
            return False
        if self._calls is None:
            return False
        self._calls -= 1
        if self._calls > 0:
            return False
        _backend.sync_state(self._model)
        return self._look()

    def at_epoch_end(self) -> bool:
        """Whether the last batch made a wanted update."""
        return self._look()

    def _begin_epoch(self, params: dict[str, Any]) -> None:
        self.follow()
        steps, _ = made(self.optimizer)
        self._due = self._after(steps)
        if not self._checked:
            self._checked = True
            self._check_reachable(steps, params)
        self._count(steps)

    def follow(self) -> bool:
        """Looks for a new optimizer, which begins to count from 0."""
        optimizer = self._model.optimizer
        if optimizer is self.optimizer:
            return False
        self.before, self.optimizer, self.taken_over = self.updates, optimizer, True
        self._after = self._after_of(optimizer, self.before, True)
        return True

    def _look(self) -> bool:
        steps, _ = made(self.optimizer)
        met = steps == self._due
        if self._due is not None and steps > self._due:
            remedy = (
                "Choose updates that a call ends with, or compile with "
                "steps_per_execution=1"
                if self._model.steps_per_execution > 1
                else "Choose the last updates of epochs where a `train_step` makes "
                "several per batch"
            )
            raise ValueError(
                f"Update {self._due} was passed over: one call of the training step "
                f"made more than one update, and the last was {steps}. {remedy}"
            )
        if met:
            self._due = self._after(steps)
        self._count(steps)
        return met

    def _count(self, steps: int) -> None:
        per_call = self._model.steps_per_execution
        missing = None if self._due is None else self._due - steps
        self._calls = None if missing is None else math.ceil(missing / per_call)

    def _check_reachable(self, steps: int, params: dict[str, Any]) -> None:
        """Says at once, not in the middle, that some updates are no end of a call."""
        per_call, per_epoch = self._model.steps_per_execution, params.get("steps")
        if per_call == 1 or not per_epoch:
            return
        due, last = self._due, steps + per_epoch * params.get("epochs", 1)
        for _ in range(_CHECKED):
            if due is None or due > last:
                return
            if (due - steps) % per_epoch % per_call:
                raise ValueError(
                    f"`steps_per_execution` must let a call end with step {due}. "
                    f"Received: steps_per_execution={per_call}, with {per_epoch} steps "
                    f"an epoch from step {steps} on; compile with "
                    "steps_per_execution=1, or choose other steps"
                )
            due = self._after(due)
