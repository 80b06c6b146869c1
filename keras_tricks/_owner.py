"""The model that some variables belong to.

Keras tells an optimizer its variables, but not the model, and the path of a variable
does not name the layers around it: `backbone/conv/kernel` may be called `conv/kernel`,
or `model_3/conv/kernel` until it is saved and loaded. So the living models are asked.
"""

import gc
from typing import Any

import keras


def model_of(variables: Any, optimizer: Any = None) -> Any:
    """The living model that holds all these variables, or None.

    Of several, the one that `optimizer` is compiled into; else the innermost, so that
    a model wrapped into another one keeps its paths.
    """
    wanted = {id(variable) for variable in variables}
    # Not isinstance: that runs the code of foreign proxy objects.
    models = [o for o in gc.get_objects() if issubclass(type(o), keras.Model)]
    holding = [model for model in models if wanted <= {id(v) for v in model.variables}]
    holding.sort(key=lambda model: len(model._flatten_layers()))
    for model in holding:
        if optimizer is not None and _drives(model, optimizer):
            return model
    return holding[0] if holding else None


def _drives(model: Any, optimizer: Any) -> bool:
    """Whether the model is compiled with the optimizer, or with one around it."""
    own = getattr(model, "optimizer", None)
    while own is not None and own is not optimizer:
        own = getattr(own, "inner_optimizer", None)
    return own is optimizer
