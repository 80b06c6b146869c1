"""Widths of recurrent layers and embeddings that are far from the usual."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding

_USUAL = 128
_FACTOR = 4


@rule(
    "KT104",
    "A recurrent layer or an embedding is far from 128 wide.",
    severity="info",
    why=(
        "A width of about 128 is where most tasks of moderate size do well; much "
        "narrower ones hold too little, much wider ones overfit and are slow."
    ),
    source="Greff et al. 2017, arXiv 1503.04069; Reimers and Gurevych 2017, 1707.06799",
)
def width(facts: Any) -> Iterator[Finding]:
    """Finds recurrent layers and embeddings below 32 or above 512.

    An embedding of few words may well be narrow: below 500 words it is left alone.

    It cannot see how much data there is for it, nor what the task needs.
    """
    for path, layer in facts.layers.items():
        size, kind = _size(layer)
        if size and not _USUAL / _FACTOR <= size <= _USUAL * _FACTOR:
            yield Finding(
                f"{kind} is {size} wide; about {_USUAL} is a good start.",
                layers=(path,),
                fix=f"keras.layers.{type(layer).__name__}(..., {_USUAL})",
            )


def _size(layer: Any) -> tuple[int, str]:
    if isinstance(layer, keras.layers.Embedding):
        few = layer.input_dim < 500
        return (0 if few else int(layer.output_dim)), "The embedding"
    if isinstance(layer, keras.layers.RNN):
        # Neither cells in a stack nor convolutional ones have one width.
        return int(getattr(layer.cell, "units", 0)), "The recurrent layer"
    return 0, ""
