"""Norms inside the training step on TensorFlow."""

from typing import Any

import tensorflow as tf

from keras_tricks._backend import _rows_tensorflow


def snapshot(variables: list[Any]) -> list[Any]:
    """The values as they are now, whatever is assigned later; None for None."""
    # Multiplied, because a mere read may see later values.
    return [None if v is None else tf.convert_to_tensor(v) * 1 for v in variables]


def norms(tensors: list[Any]) -> Any:
    """The norm of each tensor as one vector in float32; -1 for None."""
    return tf.stack([_norm(tensor) for tensor in tensors])


def difference_norms(ones: list[Any], others: list[Any]) -> Any:
    """The norm of each difference, as `norms` gives it."""
    pairs = zip(ones, others, strict=True)
    return norms(
        [
            None if a is None else tf.cast(a, tf.float32) - tf.cast(b, tf.float32)
            for a, b in pairs
        ]
    )


def largest(tensors: list[Any]) -> Any:
    """The largest size of an element of each tensor; -1 for None."""
    return tf.stack(
        [
            tf.constant(-1.0) if t is None else tf.reduce_max(tf.abs(_values(t)))
            for t in tensors
        ]
    )


def _norm(tensor: Any) -> Any:
    if tensor is None:
        return tf.constant(-1.0)
    # One pass, without a square of each element in memory.
    return tf.sqrt(2.0 * tf.nn.l2_loss(_values(tensor)))


def _values(tensor: Any) -> Any:
    """The elements that a sparse gradient holds: the others are zero."""
    if isinstance(tensor, tf.IndexedSlices):
        tensor = _rows_tensorflow.sum_duplicates(tensor).values
    return tf.cast(tensor, tf.float32)


def has_value(tensor: Any) -> bool:
    """Whether the elements can be read now, and not only in a compiled graph."""
    return not tf.is_symbolic_tensor(tensor)
