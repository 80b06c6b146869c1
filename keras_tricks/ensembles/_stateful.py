"""The states that stateful recurrent layers carry from batch to batch."""

from typing import Any

import keras
import numpy as np

from keras_tricks import _patterns, _state


def copies(model: Any) -> _state.Copies:
    """What a pass through stateful RNNs moves; they are no variables of the model."""
    layers = [layer for _, layer in _patterns.layer_paths(model)]
    stateful = [layer for layer in layers if getattr(layer, "stateful", False)]
    held = keras.tree.flatten([getattr(layer, "states", None) for layer in stateful])
    return _state.copy_variables(v for v in held if isinstance(v, keras.Variable))


def reset(model: Any) -> None:
    """Begins anew, from zeros."""
    for variable, value in copies(model):
        variable.assign(np.zeros_like(value))
