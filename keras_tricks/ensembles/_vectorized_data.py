"""The data, once, on the device."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks import _arguments


def on_device(x: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
    """Arrays as Keras gives them to a model; floating numbers of one kind."""
    if x is None or y is None:
        raise ValueError(
            "`x` and `y` must be arrays, or structures of arrays. Received: "
            f"{'x' if x is None else 'y'}=None; data sets and generators have no rows "
            "that a member could be given"
        )
    if isinstance(weight, dict | list | tuple):
        raise TypeError(
            "`sample_weight` must be one array, with a number per row, for all outputs "
            f"together. Received: a {type(weight).__name__}"
        )
    data: Any = tuple(
        None if part is None else keras.tree.map_structure(_tensor, part)
        for part in (x, y, weight)
    )
    lengths = {int(leaf.shape[0]) for leaf in keras.tree.flatten(data[:2])}
    if weight is not None:
        lengths.add(int(data[2].shape[0]))
    if len(lengths) != 1:
        raise ValueError(
            "`x`, `y` and `sample_weight` must have as many rows. Received: "
            f"{sorted(lengths)}"
        )
    return data


def inputs_on_device(x: Any) -> Any:
    """The inputs alone."""
    return keras.tree.map_structure(_tensor, x)


def check_whole(batch_size: Any, steps: Any) -> None:
    """Refuses steps: there are no batches but those that the data is cut into."""
    if batch_size is not None:
        _arguments.positive_integer("batch_size", batch_size)
    if steps is not None:
        raise ValueError(
            f"`steps` must be None: all rows are taken. Received: steps={steps!r}; "
            "give fewer rows"
        )


def samples(data: Any) -> int:
    """How many rows there are."""
    return int(keras.tree.flatten(data)[0].shape[0])


def _tensor(array: Any) -> Any:
    if hasattr(array, "element_spec") or not hasattr(array, "__len__"):
        raise TypeError(
            "`x` and `y` must be arrays, or structures of arrays. Received: "
            f"{type(array).__name__}; data sets and generators have no rows that a "
            "member could be given"
        )
    if hasattr(array, "to_numpy"):
        array = array.to_numpy()
    if not keras.ops.is_tensor(array):
        array = np.asarray(array)
    if np.ndim(array) == 0:
        raise ValueError("`x` and `y` must have rows. Received: a single number")
    if "float" in keras.backend.standardize_dtype(array.dtype):
        return ops.convert_to_tensor(array, keras.config.floatx())
    return ops.convert_to_tensor(array)


def class_weights(class_weight: Any, y: Any) -> Any:
    """A weight per row from a weight per class."""
    if keras.tree.is_nested(y):
        raise ValueError(
            "`class_weight` must be None for a model of several outputs. Received: "
            f"class_weight={class_weight!r}; give `sample_weight`"
        )
    labels = np.asarray(ops.convert_to_numpy(y))
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    labels = labels.reshape(-1)
    return np.array([class_weight.get(int(k), 1.0) for k in labels], "float32")
