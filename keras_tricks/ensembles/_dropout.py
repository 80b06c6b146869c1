"""Dropout that stays on where a model is not trained."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import keras

from keras_tricks import _patterns
from keras_tricks._backend import _own

_DROPOUTS = (
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
)
# Layers with dropout of their own, whose `training` switches on nothing else.
_HOLDERS = (
    keras.layers.SimpleRNN,
    keras.layers.SimpleRNNCell,
    keras.layers.LSTM,
    keras.layers.LSTMCell,
    keras.layers.GRU,
    keras.layers.GRUCell,
    keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D,
    keras.layers.Attention,
    keras.layers.AdditiveAttention,
)


def active(model: Any) -> list[Any]:
    """The layers of the model, each once, that drop something."""
    layers = {id(layer): layer for _, layer in _patterns.layer_paths(model)}
    return [layer for layer in layers.values() if _rate(layer) > 0]


def _rate(layer: Any) -> Any:
    if isinstance(layer, _DROPOUTS):
        return layer.rate
    if isinstance(layer, _HOLDERS):
        names = ("dropout", "recurrent_dropout")
        return max(getattr(layer, name, 0) or 0 for name in names)
    return 0


def kept_on(layer: Any, called: Callable[[], None]) -> AbstractContextManager[None]:
    """A block in which the layer drops in every call, and tells of it."""
    call = layer.call
    parameters = inspect.signature(call).parameters
    names = list(parameters)
    position = names.index("training") if "training" in names else len(names)
    kinds = {parameter.kind for parameter in parameters.values()}
    asks = "training" in names or inspect.Parameter.VAR_KEYWORD in kinds

    def dropping(*args: Any, **kwargs: Any) -> Any:
        called()
        if not asks:
            return call(*args, **kwargs)
        if position < len(args):
            return call(*args[:position], True, *args[position + 1 :], **kwargs)
        return call(*args, **{**kwargs, "training": True})

    return _own.attributes(layer, call=dropping)


@contextmanager
def fresh_masks(model: Any) -> Iterator[None]:
    """A block in which the model's recurrent cells have new masks in each call of it.

    A cell keeps its mask for all steps of a sequence, and only an RNN layer around it
    makes it forget that: a model that calls cells itself would use one for ever.
    """
    layers = {id(layer): layer for _, layer in _patterns.layer_paths(model)}
    cells = [c for c in layers.values() if hasattr(c, "reset_dropout_mask")]
    call = model.call

    def forget() -> None:
        for cell in cells:
            for name in ("reset_dropout_mask", "reset_recurrent_dropout_mask"):
                getattr(cell, name, lambda: None)()

    def forgetting(*args: Any, **kwargs: Any) -> Any:
        forget()
        return call(*args, **kwargs)

    if not cells:
        yield
        return
    try:
        with _own.attributes(model, call=forgetting):
            yield
    finally:
        # What a trace leaves in them nothing else can use.
        forget()
