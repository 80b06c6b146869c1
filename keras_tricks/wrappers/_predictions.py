"""Predictions that do not depend on which rows are predicted together."""

from typing import Any

import keras
import numpy as np

_LEAST = 32


def predicted(model: Any, x: Any, batch_size: int) -> np.ndarray:
    """The outputs for all rows, in float64.

    The last batch is filled up to a power of two: a row alone goes through the same
    arithmetic as in a batch, and few shapes are compiled.
    """
    count = len(keras.tree.flatten(x)[0])
    rest = count % batch_size
    size = min(batch_size, max(_LEAST, 2 ** (rest - 1).bit_length())) if rest else 0
    whole = count - rest
    parts = []
    if whole == batch_size:
        parts.append(_batch(model, _rows(x, 0, whole)))
    elif whole:
        part = _rows(x, 0, whole)
        parts.append(model.predict(part, batch_size=batch_size, verbose=0))
    if rest:
        filled = keras.tree.map_structure(lambda array: _filled(array[whole:], size), x)
        parts.append(_batch(model, filled)[:rest])
    return np.concatenate(parts).astype("float64")


def _batch(model: Any, x: Any) -> np.ndarray:
    # `predict` makes a data set of any array, which takes longer than a small batch.
    return np.asarray(model.predict_on_batch(x))


def _rows(x: Any, start: int, stop: int) -> Any:
    return keras.tree.map_structure(lambda array: array[start:stop], x)


def _filled(array: np.ndarray, size: int) -> np.ndarray:
    # With the last row: zeros may be nothing that the model can work with.
    return np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)])
