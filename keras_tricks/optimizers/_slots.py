"""Which variables of an optimizer belong to which variable of the model."""

from typing import Any

import keras

# Kept by Keras for all optimizers, not moved by an update.
_BASE = ("_trainable_variables", "_variables", "_accumulated_gradients")
_AVERAGES = "_model_variables_moving_average"


def by_variable(optimizer: Any, variables: Any) -> list[list[Any]]:
    """The slots of each variable of a built optimizer, in the order of the variables.

    Keras's optimizers keep them in lists that run parallel to the variables.

    Raises:
        ValueError: If a slot is kept elsewhere: nobody could say whose it is.
    """
    lists = _parallel_lists(optimizer, len(variables))
    slots: list[list[Any]] = [[] for _ in variables]
    for values in lists:
        for own, slot in zip(slots, values, strict=True):
            if isinstance(slot, keras.Variable):
                own.append(slot)
    known = {id(slot) for own in slots for slot in own}
    for name in (*_BASE[2:], _AVERAGES):
        known |= {id(slot) for slot in getattr(optimizer, name, [])}
    known |= {id(value) for value in vars(optimizer).values()}
    lost = [v.name for v in optimizer.variables if id(v) not in known]
    if lost:
        raise ValueError(
            "`optimizer` must keep its slots in lists that run parallel to the "
            "variables, as Keras's optimizers do, or as attributes. Received: one that "
            f"keeps {lost} elsewhere"
        )
    return slots


def _parallel_lists(optimizer: Any, length: int) -> list[list[Any]]:
    return [
        list(values)
        for name, values in vars(optimizer).items()
        if name not in (*_BASE, _AVERAGES)
        and isinstance(values, list)
        and len(values) == length
        and all(v is None or isinstance(v, keras.Variable) for v in values)
    ]


def shared(optimizer: Any, settings: Any) -> list[Any]:
    """The state that is one for all variables, such as Nadam's product of momenta.

    `settings` are the variables that no update moves.
    """
    fixed = {id(variable) for variable in settings}
    return [
        value
        for value in vars(optimizer).values()
        if isinstance(value, keras.Variable) and id(value) not in fixed
    ]
