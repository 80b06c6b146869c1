"""Another training step for one call, for all callbacks of a `fit` that want one.

Between two calls the model has its usual `train_function`: whatever ends a training,
there is nothing to undo.
"""

from collections.abc import Callable
from typing import Any

from keras_tricks import _backend
from keras_tricks.runs import _fit_end

Step = Callable[..., Any]


class StepChange:
    """What one callback wants to be different, and the steps compiled with it.

    Args:
        step: Function of a `train_step` that returns another one.
        around: Function of the compiled `train_function` that returns another one, or
            None.
        order: Integer. Lower ones change the step before others do, and so stand
            further inside; what they hook stands further outside.
    """

    def __init__(
        self,
        step: Callable[[Step], Step],
        around: Callable[[Step], Step] | None = None,
        order: int = 0,
    ) -> None:
        self.step = step
        self.around = around
        self.order = order
        # With the usual function and all changes that each was made from.
        self.made: list[tuple[Step, list[StepChange], Step]] = []


def for_one_call(model: Any, change: StepChange) -> None:
    """Has the next call of the model's `train_function` run a changed step.

    To be called as a batch begins: `on_train_batch_end` would slow down all steps on
    JAX.
    """
    own = vars(model)
    call = own.get("train_function")
    if call is None:
        # A loop of one's own, which does not call it.
        return
    if isinstance(call, _OneCall) and call.is_left_over():
        call = call.usual
    if not isinstance(call, _OneCall):
        call = own["train_function"] = _OneCall(model, call)
    call.changes.append(change)


class _OneCall:
    """A `train_function` for one call, after which the model has its usual one."""

    def __init__(self, model: Any, usual: Step) -> None:
        self.model = model
        self.usual = usual
        self.changes: list[StepChange] = []
        self.history = getattr(model, "history", None)

    def is_left_over(self) -> bool:
        """Whether a callback ended the training between two steps.

        Then the next `fit` has another history.
        """
        return getattr(self.model, "history", None) is not self.history

    def __call__(self, *arguments: Any) -> Any:
        vars(self.model)["train_function"] = self.usual
        if self.is_left_over():
            return self.usual(*arguments)
        usual = _fit_end.unwatched(self.usual)
        changed = _function(self.model, usual, self.changes)
        # A recorder that follows the usual function follows this one too.
        return _fit_end.in_its_place(self.usual, changed, *arguments)


def _function(model: Any, usual: Step, changes: list[StepChange]) -> Step:
    """The compiled step with all changes, made once for each usual one."""
    changes = sorted(changes, key=lambda change: change.order)
    keeper = changes[0]
    # Another callback may have made a new one: a schedule or an optimizer changed.
    keeper.made = [made for made in keeper.made if made[0] is usual]
    for _, others, function in keeper.made:
        if others == changes:
            return function
    step = model.train_step
    for change in changes:
        step = change.step(step)
    function = _backend.train_function_of(model, step)
    for change in changes:
        if change.around is not None:
            function = change.around(function)
    keeper.made.append((usual, changes, function))
    return function
