"""Which kind of layer something is."""

from typing import Any

import keras

DROPOUTS = tuple(
    kind for name, kind in vars(keras.layers).items() if name.endswith("Dropout")
)
_KNOWN = ("keras.", "keras_tricks.")


def is_known(layer: Any) -> bool:
    """Whether a layer is Keras's own, or one of this package: its code is known."""
    return _is_known(type(layer))


def is_convolution(layer: Any) -> bool:
    """Whether a layer is a convolution of Keras or of this package, or extends one."""
    return any("Conv" in kind.__name__ and _is_known(kind) for kind in _line(layer))


def unwrapped(layer: Any) -> Any:
    """The layer inside a TimeDistributed, a Bidirectional or another wrapper."""
    if isinstance(layer, keras.layers.Bidirectional):
        return layer.forward_layer
    return layer.layer if isinstance(layer, keras.layers.Wrapper) else layer


def class_names(thing: Any) -> list[str]:
    """The names of its class and of those that this inherits from."""
    return [kind.__name__ for kind in _line(thing)]


def _line(thing: Any) -> tuple[type, ...]:
    return type(thing).__mro__


def _is_known(kind: type) -> bool:
    return kind.__module__.startswith(_KNOWN)
