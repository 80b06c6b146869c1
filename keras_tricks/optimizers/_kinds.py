"""Kinds of layers and variables that are no matrices of connections."""

import re
from typing import Any

import keras

# Layers whose weights are positions or words: decay would pull rare ones to zero.
EMBEDDINGS = (keras.layers.Embedding,)
# Layers of scales: a scale at zero switches its feature off.
SCALES = (
    keras.layers.PReLU,
    *(
        kind
        for name, kind in vars(keras.layers).items()
        if name.endswith("Normalization") and isinstance(kind, type)
    ),
)
# As transformers name what they learn beside their layers.
_TOKENS = re.compile(r"pos(ition(al)?)?_?emb.*|(cls|class|dist|reg|mask)_?token.*")


def is_bias(variable: Any) -> bool:
    """Whether it is a bias; attention and GRU layers have biases of two axes."""
    return len(variable.shape) <= 1 or str(variable.name).endswith("bias")


def is_token(variable: Any) -> bool:
    """Whether it is an embedding that no layer looks up: a position, a class token."""
    return _TOKENS.fullmatch(str(variable.name)) is not None
