"""Which layers read an input of a model."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_tricks.surgery import _calls


def readers(model: Any, place: int) -> list[Any]:
    """The layers that read an input of a model, inside of models in it too."""
    return list(_readers(model, place))


def _readers(model: Any, place: int) -> Iterator[Any]:
    if isinstance(model, keras.Sequential):
        yield from _into(model.layers[0], place)
        return
    tensor = model.inputs[place]
    for node in _calls.nodes(model):
        first, others = _calls._arguments(node)
        for at, one in enumerate([*first, *others]):
            if one is tensor:
                yield from _into(node.operation, at)


def _into(layer: Any, place: int) -> Iterator[Any]:
    if _calls.is_copyable(layer) and place < len(layer.inputs):
        yield from _readers(layer, place)
    else:
        yield layer
