"""Which nonlinearity a layer applies, or the layers after it."""

from typing import Any

import keras

from keras_tricks.surgery._calls import Call

# What He et al. derived for the rectifier also suits what looks like one.
RELU_FAMILY = frozenset(
    ["relu", "relu6", "leakyrelu", "prelu", "elu", "celu", "gelu", "silu", "mish"]
) | {"hardsilu"}
SELU = "selu"

_KNOWN = RELU_FAMILY | {
    name.replace("_", "").lower()
    for name in dir(keras.activations)
    if not name.startswith("_")
} - {"get", "serialize", "deserialize", "linear"}
_NORMALIZATIONS = tuple(
    kind
    for name, kind in vars(keras.layers).items()
    # `Normalization` scales inputs, and `SpectralNormalization` wraps a layer.
    if name.endswith("Normalization")
    and name not in ("Normalization", "SpectralNormalization")
)


def own(layer: Any) -> str | None:
    """The nonlinearity that a layer ends with, as "relu"; None for a linear one."""
    function = getattr(layer, "activation", None)
    name = _name(type(layer).__name__)
    if function is None:
        return name if name in _KNOWN else None
    name = _name(getattr(function, "__name__", type(function).__name__))
    return None if name == "linear" else name


def _name(name: str) -> str:
    name = name.replace("_", "").lower()
    return {"swish": "silu", "hardswish": "hardsilu"}.get(name, name)


def is_activation(layer: Any) -> bool:
    """Whether a layer, or an operation, is nothing but a nonlinearity."""
    if isinstance(layer, keras.layers.Activation):
        return own(layer) is not None
    return _name(type(layer).__name__) in _KNOWN


def is_normalization(layer: Any) -> bool:
    """Whether a layer normalizes what the layer before it gives."""
    return isinstance(layer, _NORMALIZATIONS)


def has_kernel(layer: Any) -> bool:
    """Whether a layer mixes its inputs by weights, unlike a scale or a bias."""
    if is_normalization(layer) or is_activation(layer):
        return False
    weights = getattr(layer, "weights", ())
    return any(len(weight.shape) > 1 for weight in weights)


def following(call: Call) -> str | None:
    """The first nonlinearity from a call on, before the next layer with a kernel."""
    name = own(call.layer)
    while name is None:
        targets = call.fed()
        if len(targets) != 1 or has_kernel(targets[0].layer):
            return None
        (call,) = targets
        name = None if call.is_model else own(call.layer)
    return name
