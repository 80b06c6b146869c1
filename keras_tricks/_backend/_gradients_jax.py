"""Norms inside the training step, and the way out for them, on JAX."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras

from keras_tricks._backend import _logs


def snapshot(variables: list[Any]) -> list[Any]:
    """The values as they are now, whatever is assigned later; None for None."""
    return [None if v is None else keras.ops.convert_to_tensor(v) for v in variables]


def norms(tensors: list[Any]) -> Any:
    """The norm of each tensor as one vector in float32; -1 for None."""
    return jnp.stack([_norm(tensor) for tensor in tensors])


def difference_norms(ones: list[Any], others: list[Any]) -> Any:
    """The norm of each difference, as `norms` gives it."""
    pairs = zip(ones, others, strict=True)
    return norms([None if a is None else _float(a) - _float(b) for a, b in pairs])


def largest(tensors: list[Any]) -> Any:
    """The largest size of an element of each tensor; -1 for None."""
    return jnp.stack(
        [
            jnp.float32(-1) if t is None else jnp.max(jnp.abs(_float(t)), initial=0.0)
            for t in tensors
        ]
    )


def _norm(tensor: Any) -> Any:
    if tensor is None:
        return jnp.float32(-1)
    # A product: XLA adds up a sum of squares one by one on the CPU.
    flat = _float(tensor)
    return jnp.sqrt(jnp.vdot(flat, flat))


def _float(tensor: Any) -> Any:
    return tensor.astype("float32")


def has_value(tensor: Any) -> bool:
    """Whether the elements can be read now, and not only in a compiled loop."""
    return not isinstance(tensor, jax.core.Tracer)


def with_log(result: Any, name: str, value: Any) -> Any:
    """What a training step returned, with one value more in its logs."""
    logs, state = result
    return _logs.with_log(logs, name, value), state


def siphon(
    function: Callable[..., Any], name: str, sink: Callable[[Any], None]
) -> Callable[..., Any]:
    """A `train_function` that gives one of its logs to `sink` instead of to Keras."""

    def train_function(state: Any, iterator: Any) -> Any:
        logs, state = function(state, iterator)
        if name in logs:
            logs = dict(logs)
            sink(logs.pop(name))
        return logs, state

    return train_function
