"""The model that some variables belong to.

Keras tells an optimizer its variables, but not the model, and the path of a variable
does not name the layers around it: `backbone/conv/kernel` may be called `conv/kernel`,
or `model_3/conv/kernel` until it is saved and loaded. So the living models are asked.
"""

import gc
import weakref
from typing import Any

import keras

# The model that was found for an optimizer: to ask all objects takes 50 ms or more.
_FOUND: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def model_of(variables: Any, optimizer: Any) -> Any:
    """The living model that holds all these variables, or None: the likeliest one."""
    found = models_of(variables, optimizer)
    return found[0] if found else None


def models_of(variables: Any, optimizer: Any) -> list[Any]:
    """The living models that hold all these variables, the likeliest first.

    That is the one that `optimizer` is compiled into; else the innermost, so that a
    model wrapped into another one keeps its paths.
    """
    wanted = {id(variable) for variable in variables}
    known = _FOUND.get(optimizer, lambda: None)()
    if known is not None and _drives(known, optimizer) and _holds(known, wanted):
        return [known]
    # Not isinstance: that runs the code of foreign proxy objects.
    models = [o for o in gc.get_objects() if issubclass(type(o), keras.Model)]
    holding = [model for model in models if _holds(model, wanted)]
    holding.sort(key=lambda model: len(model._flatten_layers()))
    for model in holding:
        if _drives(model, optimizer):
            _FOUND[optimizer] = weakref.ref(model)
            return [model]
    return holding


def _holds(model: Any, wanted: set[int]) -> bool:
    return wanted <= {id(variable) for variable in model.variables}


def _drives(model: Any, optimizer: Any) -> bool:
    """Whether the model is compiled with the optimizer, or with one around it."""
    own = getattr(model, "optimizer", None)
    while own is not None and own is not optimizer:
        own = getattr(own, "inner_optimizer", None)
    return own is optimizer
