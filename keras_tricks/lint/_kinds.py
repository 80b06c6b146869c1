"""Kinds of layers and optimizers that several rules ask for."""

from typing import Any

import keras

from keras_tricks._layer_kinds import DROPOUTS, is_convolution, is_known, unwrapped
from keras_tricks.surgery import _activations

# They pass on what they are given, bent by nothing.
_RESHAPING = (
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.Permute,
    keras.layers.Reshape,
    *DROPOUTS,
)
# Optimizers of Adam's kind by their classes' names; AdamW and LazyAdam extend Adam.
ADAMS = ("Adam", "Adamax", "Nadam", "SWATS")
_DENSE = (keras.layers.Dense, keras.layers.EinsumDense)


def end_of(call: Any) -> tuple[Any, str | None]:
    """The layer that gives an output its form, and the nonlinearity it ends with.

    "linear" for none, and None where it cannot be said.
    """
    while call is not None:
        layer = unwrapped(call.layer)
        name = None if call.is_model else _activations.own(layer)
        if name is not None:
            return layer, name
        if _mixes(layer):
            return layer, "linear"
        if not (call.is_model or _is_transparent(layer)) or len(call.inputs) != 1:
            return layer, None
        source = call.inputs[0]
        call = source[0] if source else None
    return None, None


def _is_transparent(layer: Any) -> bool:
    # An Activation that is here is a linear one, which may change the type.
    return isinstance(layer, (*_RESHAPING, keras.layers.Activation))


def _mixes(layer: Any) -> bool:
    kind = isinstance(layer, _DENSE) or is_convolution(layer)
    return kind and is_known(layer)


def until_kernel(call: Any) -> list[Any]:
    """The calls behind one, on all ways, up to layers with a kernel."""
    found: dict[Any, None] = {}
    waiting = list(call.fed())
    while waiting:
        target = waiting.pop()
        if target not in found:
            found[target] = None
            if target.is_model or not _activations.has_kernel(target.layer):
                waiting += target.fed()
    return list(found)


def has_own_kernel(layer: Any) -> bool:
    """Whether a known layer mixes its inputs by weights, and does not look them up."""
    return _mixes(layer) or (isinstance(layer, keras.layers.RNN) and is_known(layer))


def drop_of(layer: Any) -> float:
    """The share of the units that a layer drops; 0 if it is no Dropout."""
    return float(getattr(layer, "rate", 0) or 0) if isinstance(layer, DROPOUTS) else 0.0


def recurrent_dropout(layer: Any) -> float:
    """The share of the state that a recurrent layer drops at each step."""
    rates = (getattr(one, "recurrent_dropout", None) for one in [layer, *_cells(layer)])
    return max(float(rate or 0) for rate in rates)


def has_known_cells(layer: Any) -> bool:
    """Whether a recurrent layer can be made anew from its configuration."""
    return all(is_known(one) for one in [layer, *_cells(layer)])


def _cells(layer: Any) -> list[Any]:
    """The cell of a recurrent layer, with those that it stacks."""
    cell = getattr(layer, "cell", None)
    inside = getattr(cell, "cells", ())
    return [] if cell is None else [cell, *inside]
