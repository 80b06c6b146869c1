"""TensorFlow's rows of a table: read and written without touching the others."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

GIVES_ROWS = True


class _Rows(tf.IndexedSlices):
    """A gradient of a few rows that a loss scale can divide: TensorFlow's cannot."""

    def __truediv__(self, scale: Any) -> "_Rows":
        return _Rows(self.values / scale, self.indices, self.dense_shape)


def has_rows(gradient: Any) -> bool:
    """Whether the gradient holds a few rows and their indices."""
    return isinstance(gradient, tf.IndexedSlices)


def sum_duplicates(gradient: Any) -> Any:
    """The same gradient with each row once: an id may be in a batch many times."""
    if not has_rows(gradient):
        return gradient
    indices, positions = tf.unique(gradient.indices)
    count = tf.shape(indices)[0]
    values = tf.math.unsorted_segment_sum(gradient.values, positions, count)
    return _Rows(values, indices, gradient.dense_shape)


def on_values(
    function: Callable[[list[Any]], list[Any]], gradients: list[Any]
) -> list[Any]:
    """What `function` makes of the gradients, seen as tensors; rows stay rows."""
    values = function([g.values if has_rows(g) else g for g in gradients])
    return [
        _Rows(value, g.indices, g.dense_shape) if has_rows(g) else value
        for g, value in zip(gradients, values, strict=True)
    ]


def _native(variable: Any) -> Any:
    return variable.value if isinstance(variable, keras.Variable) else variable


def change_rows(
    gradient: Any,
    variables: Mapping[str, Any],
    change: Callable[..., Mapping[str, Any]],
) -> None:
    """Writes `change(gradient, variables, chosen)`, all of it at the gradient's rows.

    Args:
        gradient: Of one table. A row without a gradient in a dense one is left out.
        variables: The table and its slots, by name, with equally many rows.
        change: Gets the rows, and a function `chosen(new, old)` that it must send
            each result through; returns the new rows by name.
    """
    if has_rows(gradient):
        # The sum over replicas has the rows of each of them.
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            gradient = sum_duplicates(gradient)
        rows, values = gradient.indices, gradient.values
    else:
        axes = list(range(1, gradient.shape.rank))
        present = tf.reduce_any(tf.not_equal(gradient, 0), axis=axes)
        rows = tf.squeeze(tf.where(present), axis=1)
        values = tf.gather(gradient, rows)
    natives = {name: _native(variable) for name, variable in variables.items()}
    # `tf.gather` of a variable reads rows. As a tensor, once it has been written to by
    # rows, it would be copied whole.
    olds = {name: tf.gather(native, rows) for name, native in natives.items()}
    for name, new in change(values, olds, lambda new, old: new).items():
        natives[name].scatter_update(tf.IndexedSlices(new, rows))


def take_rows(table: Any, ids: Any) -> Any:
    """The rows `ids` of a table; negative ones count from its end."""
    if not isinstance(table, keras.Variable) or isinstance(ids, tf.SparseTensor):
        return keras.ops.take(table, ids, axis=0)
    if isinstance(ids, tf.RaggedTensor):
        return tf.ragged.map_flat_values(lambda flat: take_rows(table, flat), ids)
    ids = tf.convert_to_tensor(ids)
    count = tf.cast(table.shape[0], ids.dtype)
    return tf.gather(table.value, tf.where(ids < 0, ids + count, ids))


def row_optimizer(base: Any) -> Any:
    """The class to derive from: TensorFlow hands each variable to `update_step`."""
    return base
