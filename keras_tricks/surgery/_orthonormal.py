"""Orthonormal kernels, the same on every backend."""

import math
from collections.abc import Sequence

import numpy as np


def orthonormal(
    shape: Sequence[int], inputs: int, random: np.random.Generator
) -> np.ndarray:
    """A kernel that is orthonormal as a matrix of the shape (inputs, the rest).

    Its columns are, where there are not more of them than rows; else its rows.
    """
    rows, columns = inputs, math.prod(shape) // max(inputs, 1)
    noise = random.standard_normal((max(rows, columns), min(rows, columns)))
    basis, upper = np.linalg.qr(noise)
    # Without the signs of the diagonal some rotations would come more often.
    basis *= np.where(np.diag(upper) < 0, -1.0, 1.0)
    matrix = basis if rows >= columns else basis.T
    return matrix.reshape(shape)
