"""The arguments of `MultiScale`, checked."""

from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments


def length(name: str, found: int, images: int) -> None:
    """Checks for one entry per image."""
    if found != images:
        raise ValueError(
            f"`{name}` must have one entry per image, {images}. Received: {found}"
        )


def rows(name: str, given: Any, images: int) -> Any:
    """Arrays with a row per image."""
    if given is None:
        return None
    if isinstance(given, list | tuple):
        several = len(given) != images and all(
            np.shape(each)[:1] == (images,) for each in given
        )
        given = tuple(given) if several else np.asarray(given)
    arrays = keras.tree.map_structure(keras.ops.convert_to_numpy, given)
    for array in keras.tree.flatten(arrays):
        length(name, len(array) if array.ndim else 0, images)
    return arrays


def boxes(given: Any, images: int) -> list[np.ndarray]:
    """An array (k, 4) per image."""
    found = [np.asarray(each, "float32") for each in given]
    length("boxes", len(found), images)
    for index, each in enumerate(found):
        if each.size and (each.ndim != 2 or each.shape[1] != 4):
            raise ValueError(
                "`boxes` must hold arrays of shape (k, 4). Received: "
                f"boxes[{index}] of shape {each.shape}"
            )
    return [each.reshape(-1, 4) for each in found]


def sizes(given: Any) -> list[tuple[int, int]]:
    """Pairs (height, width)."""
    expected = "`sizes` must be a list of integers or pairs (height, width)"
    if isinstance(given, int | str) or not hasattr(given, "__iter__"):
        raise TypeError(f"{expected}. Received: sizes={given!r}; a list may hold one")
    found = []
    for size in given:
        pair = (size, size) if not hasattr(size, "__iter__") else tuple(size)
        if len(pair) != 2:
            raise ValueError(f"{expected}. Received: {size!r}")
        for length in pair:
            _arguments.positive_integer("sizes", length)
        found.append((int(pair[0]), int(pair[1])))
    if not found or len(set(found)) < len(found):
        raise ValueError(
            f"{expected}, each once, and at least one. Received: sizes={given!r}"
        )
    return found
