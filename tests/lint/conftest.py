"""Models whose weights nobody looks at need none: JAX compiles each draw."""

import keras
import numpy as np
import pytest


@pytest.fixture
def undrawn(monkeypatch):
    """Zeros for weights that are drawn by their shape; most initializers do it so."""

    def zeros(self, shape, dtype=None, **options):
        return np.zeros(shape, keras.backend.standardize_dtype(dtype))

    kinds = keras.initializers
    for kind in (kinds.VarianceScaling, kinds.Orthogonal, kinds.RandomUniform):
        monkeypatch.setattr(kind, "__call__", zeros)
