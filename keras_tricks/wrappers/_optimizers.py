"""A fresh optimizer with other arguments."""

import copy
import difflib
from typing import Any

import keras

from keras_tricks.surgery import _compiled_like, _no_weight_decay

# Under these names an optimizer's configuration holds the one inside.
_INSIDE = ("inner_optimizer", "optimizer")


def made_optimizer(
    optimizer: Any, arguments: dict[str, Any], variables: Any = ()
) -> Any:
    """A new optimizer like the one that was named or given, with other arguments.

    Excluded from weight decay is what was: by name, and those of the `variables`.

    Raises:
        ValueError: If it does not have such an argument, or excludes other variables.
    """
    given = optimizer
    if isinstance(given, type):
        optimizer = given()
    elif isinstance(given, keras.optimizers.Optimizer):
        _no_weight_decay.check_placed(_compiled_like._leaves(given), variables)
        optimizer = _compiled_like.fresh(given)
        _compiled_like.carry_exclusions(given, optimizer, variables, variables)
    else:
        optimizer = keras.optimizers.get(copy.deepcopy(given))
    if not arguments:
        return optimizer
    config = optimizer.get_config()
    for name, value in arguments.items():
        _set(config, name, value, optimizer)
    with keras.saving.custom_object_scope(_compiled_like._named(optimizer)):
        made = type(optimizer).from_config(config)
    _compiled_like.carry_exclusions(optimizer, made, variables, variables)
    return made


def _set(config: dict[str, Any], name: str, value: Any, optimizer: Any) -> None:
    """Sets an argument of the optimizer, or of the one inside that it extends."""
    known: list[str] = []
    place = config
    while name not in place:
        known += place
        inside = next((key for key in _INSIDE if key in place), None)
        if inside is None:
            raise ValueError(_unknown(name, known, optimizer))
        # A configuration inside another one is read back as a whole.
        place = place[inside]["config"]
        if not isinstance(value, dict):
            value = keras.saving.serialize_keras_object(value)
    place[name] = value


def _unknown(name: str, known: list[str], optimizer: Any) -> str:
    choices = sorted({*known} - {*_INSIDE, "resolved"})
    near = difflib.get_close_matches(name, choices, 1)
    hint = f"; did you mean 'optimizer__{near[0]}'?" if near else ""
    return (
        f"`optimizer__{name}` must be an argument of the optimizer, one of {choices}. "
        f"Received: {name!r} for {type(optimizer).__name__}{hint}"
    )
