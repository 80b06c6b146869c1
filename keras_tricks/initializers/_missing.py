"""Rows for words without a vector, and the scale of those with one."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Below so many vectors, mean and spread of each single column are mostly noise.
ENOUGH = 30
# Of the inputs that the initializers of the layers that follow reckon with.
MATCHED_SPREAD = 1.0
# Keras's default for embeddings is uniform between this and its negative.
DEFAULT_LIMIT = 0.05


def rescaled(vectors: Array, spread: float) -> Array:
    """The vectors times what gives all of their numbers this standard deviation."""
    now = float(vectors.std(dtype="float64"))
    # One number, or a thousand times the same, has no spread to match.
    return vectors * np.float32(spread / now) if now > 0 else vectors


def normal(vectors: Array, rows: int, random: np.random.Generator) -> Array:
    """Rows drawn from a normal distribution with the mean and spread of the vectors.

    Both are taken column by column, so that the rows lie in the same cloud, also when
    it does not lie around zero.
    """
    axis = 0 if len(vectors) >= ENOUGH else None
    mean = vectors.mean(axis=axis, dtype="float64")
    spread = vectors.std(axis=axis, dtype="float64")
    drawn = random.standard_normal((rows, vectors.shape[1]), dtype="float32")
    return drawn * spread.astype("float32") + mean.astype("float32")


def default(shape: tuple[int, int], random: np.random.Generator) -> Array:
    """Rows as Keras's default would draw them."""
    drawn = random.random(shape, dtype="float32")
    return (drawn * 2 - 1) * np.float32(DEFAULT_LIMIT)
