"""A training function for one call: nothing is left behind, whatever ends a `fit`."""

from collections.abc import Callable
from typing import Any

_MARK = "keras_tricks_one_call"


def usual(model: Any, who: str) -> Callable[..., Any]:
    """The model's own `train_function`, before one is put in its place for a call.

    Raises:
        ValueError: If another callback of the same `fit` has put one there.
    """
    function: Callable[..., Any] = vars(model)["train_function"]
    if not hasattr(function, _MARK):
        return function
    owner, before, history = getattr(function, _MARK)
    if getattr(model, "history", None) is not history:
        # Of a training that ended between two steps.
        return before
    raise ValueError(
        f"{who} must be alone in changing the training step. Received: a `fit` with "
        f"{owner}, which changes it too; use one of them at a time"
    )


def put(
    model: Any, function: Callable[..., Any], usual: Callable[..., Any], who: str
) -> None:
    """Gives the model a `train_function` for one call, and its usual one after it.

    If another callback ends the training between two steps, then the next `fit` has
    another history, and the usual function is called.
    """
    history = getattr(model, "history", None)

    def train_function(*arguments: Any) -> Any:
        vars(model)["train_function"] = usual
        same = getattr(model, "history", None) is history
        return (function if same else usual)(*arguments)

    setattr(train_function, _MARK, (who, usual, history))
    vars(model)["train_function"] = train_function
