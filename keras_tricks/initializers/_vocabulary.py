"""Which word has which row of the table."""

import numbers
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

LAYERS = (keras.layers.TextVectorization, keras.layers.StringLookup)
KINDS = (
    "a list of words, a dict from word to row, or a TextVectorization or StringLookup "
    "layer that has its vocabulary"
)


class Vocabulary(NamedTuple):
    """The rows of the words, and the other rows."""

    rows: dict[str, int]
    size: int  # the rows that the table must have at least
    exact: bool  # whether it must have no more
    padding: int | None  # the row of the padding


def read(vocabulary: Any) -> Vocabulary:
    """Reads a vocabulary of any of the kinds."""
    if isinstance(
        vocabulary, keras.layers.TextVectorization | keras.layers.StringLookup
    ):
        found = _of_layer(vocabulary)
    elif isinstance(vocabulary, Mapping):
        found = _of_mapping(vocabulary)
    elif isinstance(vocabulary, list | tuple | np.ndarray):
        found = _of_list(vocabulary)
    else:
        raise TypeError(
            f"`vocabulary` must be {KINDS}. Received: vocabulary={vocabulary!r:.200}"
        )
    if not found.rows:
        raise ValueError(
            f"`vocabulary` must be {KINDS}. Received: vocabulary={vocabulary!r:.200}, "
            "which has no words" + (_ADAPT if hasattr(vocabulary, "adapt") else "")
        )
    return found


_ADAPT = "; call its adapt(data), or give it a vocabulary, first"


def _of_layer(layer: Any) -> Vocabulary:
    config = layer.get_config()
    if config["output_mode"] != "int" or config.get("invert", False):
        raise ValueError(
            "`vocabulary` must be a layer that turns words into the numbers of rows. "
            f"Received: {type(layer).__name__} with output_mode="
            f"{config['output_mode']!r}, invert={config.get('invert', False)}; use "
            "output_mode='int' and invert=False"
        )
    words = layer.get_vocabulary(include_special_tokens=False)
    size = layer.vocabulary_size()
    # They may be strings of NumPy.
    rows = {str(word): row for row, word in enumerate(words, size - len(words))}
    # A TextVectorization always masks, and says so nowhere in its config.
    masks = config.get("mask_token", "") is not None
    return Vocabulary(rows, size, False, 0 if masks else None)


def _of_mapping(mapping: Mapping[str, int]) -> Vocabulary:
    rows = {}
    taken: dict[int, str] = {}
    for word, row in mapping.items():
        _check_word(word)
        integer = isinstance(row, numbers.Integral) and not isinstance(row, bool)
        if not integer or row < 0:
            error = ValueError if integer else TypeError
            raise error(
                "`vocabulary` must map each word to its row, an integer of at least 0. "
                f"Received: vocabulary[{word!r}]={row!r}"
            )
        if row in taken:
            raise ValueError(
                "`vocabulary` must give each word a row of its own. Received: row "
                f"{row} for both {taken[row]!r} and {word!r}"
            )
        taken[int(row)] = word
        rows[word] = int(row)
    size = max(taken, default=-1) + 1
    padding = rows.pop("", None if 0 in taken else 0)
    return Vocabulary(rows, size, False, padding)


def _of_list(words: Any) -> Vocabulary:
    rows: dict[str, int] = {}
    for row, word in enumerate(words):
        _check_word(word)
        if word in rows:
            raise ValueError(
                "`vocabulary` must name each word once. Received: "
                f"{word!r} at {rows[word]} and at {row}"
            )
        rows[str(word)] = row
    size = len(rows)
    padding = rows.pop("", None)
    return Vocabulary(rows, size, True, padding)


def _check_word(word: Any) -> None:
    if not isinstance(word, str):
        raise TypeError(
            "`vocabulary` must hold words as strings. Received: "
            f"{word!r}, of type {type(word).__name__}"
        )
