"""A validation inside `fit` after which a model has its own weights, come what may."""

from collections.abc import Callable
from typing import Any

_OWNER = "keras_tricks_owner"


def put(model: Any, owner: Any, give_back: Callable[[], None]) -> None:
    """Has `give_back` called when the next `evaluate` has ended, or failed.

    Callbacks are not told of a failure, and `fit` calls `model.evaluate` itself: so
    that is the only place to be sure. If `fit` fails before, what is left changes
    nothing, and `take` or the next `put` removes it.
    """
    take(model)
    inner, own = model.evaluate, vars(model)
    before = own.get("evaluate")

    def evaluate(*args: Any, **kwargs: Any) -> Any:
        # A callback may evaluate while the validation runs.
        outermost = not owner.swapped
        try:
            return inner(*args, **kwargs)
        finally:
            if outermost:
                give_back()

    setattr(evaluate, _OWNER, (owner, before))
    own["evaluate"] = evaluate


def _owner_of(model: Any) -> Any:
    return getattr(vars(model).get("evaluate"), _OWNER, (None, None))[0]


def take(model: Any) -> None:
    """Removes the guard."""
    own = vars(model)
    if _owner_of(model) is None:
        return
    _, before = getattr(own["evaluate"], _OWNER)
    if before is None:
        del own["evaluate"]
    else:
        own["evaluate"] = before
