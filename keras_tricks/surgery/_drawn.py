"""Which kernels are drawn for the nonlinearity behind them, and how."""

from typing import Any

import keras

from keras_tricks.layers._highway_conv import BaseHighwayConv
from keras_tricks.layers.highway import Highway
from keras_tricks.surgery import _activations, _calls

KINDS = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    Highway,
    BaseHighwayConv,
)


def following(model: Any) -> dict[int, str | None]:
    """The nonlinearity behind each layer of the graph, where it is called first."""
    found: dict[int, str | None] = {}
    for call in _calls.calls(model):
        layer = call.layer
        inner = layer.layer if isinstance(layer, keras.layers.Wrapper) else layer
        name = _activations.own(inner) or _activations.following(call)
        found.setdefault(id(inner), name)
    return found


def for_activation(name: str | None) -> Any:
    """The initializer that suits a nonlinearity."""
    if name in _activations.RELU_FAMILY:
        return keras.initializers.HeNormal()
    if name == _activations.SELU:
        return keras.initializers.LecunNormal()
    return keras.initializers.GlorotNormal()
