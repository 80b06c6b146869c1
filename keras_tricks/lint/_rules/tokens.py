"""Token ids that an embedding does not have."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_tricks.lint import _inputs, _places
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding


@rule(
    "KT403",
    "A token id is not in the embedding's table.",
    severity="error",
    why="On JAX such an id gives NaN or another word's vector without an error; "
    "elsewhere the training stops in its midst.",
    source="run on three backends",
    needs=("graph", "x"),
)
def unknown_tokens(facts: Any) -> Iterator[Finding]:
    """Compares numbers with the `input_dim` of the embedding that reads them.

    Arrays and tensors are searched whole. What is no whole number is cut off, as Keras
    does it.

    It cannot see ids that a layer computes, and of data sets only the rows read.
    """
    places = _places.of_inputs(facts)
    for part, place in zip(facts.data.x, places, strict=True):
        if place is None or part.high is None or part.low is None:
            continue
        low, high = int(part.low), int(part.high)
        for layer in _inputs.readers(facts.model, place):
            if not isinstance(layer, keras.layers.Embedding):
                continue
            bad = high if high >= layer.input_dim else low
            if high >= layer.input_dim or low < 0:
                yield Finding(
                    f"{part.name} holds the id {bad}; the table has {layer.input_dim} "
                    "rows.",
                    layers=(facts.path_of(layer),),
                    fix=f"keras.layers.Embedding({max(high, 0) + 1}, "
                    f"{layer.output_dim})",
                )
