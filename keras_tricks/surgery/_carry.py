"""Carries all that the layers of a model hold over to the layers of its copy."""

import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks import _backend, _patterns

_LONGEST = 300
# Where Keras's own hooks hold nothing but the weights, unless they are quantized.
_PLAIN = (
    keras.layers.Layer,
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Embedding,
)


def assign(new: Any, old: Any) -> None:
    """Gives a variable the value of another one, bit by bit."""
    # Not by `assign` alone: on JAX the two would share one buffer.
    _backend.overwrite(new, old.value)


def first_line(error: Exception) -> str:
    """What an error of Keras says, without the configuration that goes with it."""
    lines = str(error).strip().splitlines() or [""]
    cause = [line for line in lines if line.startswith("Exception encountered: ")]
    return (cause or lines)[0].removeprefix("Exception encountered: ")[:_LONGEST]


def host(value: Any) -> np.ndarray:
    """A copy in host memory."""
    return np.array(ops.convert_to_numpy(getattr(value, "value", value)))


def carry_all(result: Any, fresh: Callable[[Any], bool]) -> None:
    """Fills the copy, but for the weights of layers that are to stay as drawn.

    Raises:
        ValueError: If some weight has no place in the copy.
    """
    fresh_ids: set[int] = set()
    taken: dict[int, int] = {}
    variables = [_same(old, new) for old, new in result.pairs]
    for old, new in result.pairs:
        if not fresh(old):
            _carry_state(old, new)
    for (old, _), both in zip(result.pairs, variables, strict=True):
        is_fresh, kept = fresh(old), {id(weight) for weight in old.weights}
        for one, other in both:
            if is_fresh and id(one) in kept:
                fresh_ids.add(id(one))
                continue
            if taken.setdefault(id(one), id(other)) != id(other):
                raise ValueError(
                    "`model` must not have one weight in several layers, unless it is "
                    f"one layer that is used several times. Received: {one.path!r}, "
                    f"also in the layer {old.name!r}, which a copy would not share"
                )
            if id(other) not in result.origin:
                result.carry(one, other)
    replaced = {id(weight) for old, _ in result.replaced for weight in old.weights}
    known = replaced | fresh_ids | set(taken)
    lost = [weight.path for weight in result.old.weights if id(weight) not in known]
    if lost:
        raise ValueError(
            "`model` must hold its weights in the layers of its graph, and each layer "
            "must make all of its own when it is built. Received: a model with "
            f"{lost}, which a copy would not have"
        )


class _Hosted(dict[str, Any]):
    """What a layer saves, copied to host memory one value at a time."""

    def __getitem__(self, name: str) -> np.ndarray:
        return host(super().__getitem__(name))


def _same(old: Any, new: Any) -> list[tuple[Any, Any]]:
    """The variables that a layer holds itself, with those of its copy."""
    ours, theirs = own_variables(old), own_variables(new)
    shapes = [[tuple(v.shape) for v in variables] for variables in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "`model` must have layers that can be copied. Received: the layer "
            f"{old.name!r} of the class {type(old).__name__}, with weights of shapes "
            f"{shapes[0]}, whose copy has {shapes[1]}; let its `get_config` return all "
            "that decides on its weights"
        )
    return list(zip(ours, theirs, strict=True))


def own_variables(layer: Any) -> list[Any]:
    """The variables of a layer that no layer inside it holds."""
    inside = _patterns.children(layer)
    below = {id(variable) for child in inside for variable in child.variables}
    return [variable for variable in layer.variables if id(variable) not in below]


def _carry_state(old: Any, new: Any) -> None:
    """What a layer keeps beside its variables, by Keras's own hooks for saving."""
    own = type(old).load_own_variables
    hooks = [kind.load_own_variables for kind in _PLAIN]
    if own not in hooks or getattr(old, "quantization_mode", None):
        store: dict[str, Any] = {}
        old.save_own_variables(store)
        new.load_own_variables(_Hosted(store))
    if getattr(old, "stateful", False) and getattr(old, "states", None) is not None:
        states = keras.tree.flatten(old.states), keras.tree.flatten(new.states)
        for one, other in zip(*states, strict=True):
            if isinstance(other, keras.Variable):
                other.assign(host(one))
    if hasattr(old, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
