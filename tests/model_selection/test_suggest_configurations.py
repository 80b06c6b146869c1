import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks.model_selection import suggest_configurations

X, Y = np.zeros((600, 2)), np.zeros(600)


def build(units=7, depth=1):
    inner = [layers.Dense(units) for _ in range(depth)]
    model = keras.Sequential([keras.Input((2,)), *inner, layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def test_the_rate_varies_first_then_decay_then_batch_size_then_width():
    grid = suggest_configurations(build, X, Y, learning_rates=3)
    assert [c["learning_rate"] for c in grid[:4]] == [0.1, 0.3, 0.03, 0.1]
    assert [c["weight_decay"] for c in grid[::3][:3]] == [0.0, 1e-4, 1e-2]
    assert [c["batch_size"] for c in grid[::9][:2]] == [32, 128]
    assert [c["units"] for c in grid[::18]] == [128, 64, 256]
    assert len(grid) == 3 * 3 * 2 * 3
    assert set(grid[0]) == {"learning_rate", "weight_decay", "batch_size", "units"}


def test_few_rows_have_small_batches():
    grid = suggest_configurations(build(), X[:40], Y[:40])
    assert {c["batch_size"] for c in grid} == {10}
    assert "units" not in grid[0]


def test_says_what_is_wrong():
    with pytest.raises(TypeError, match="`build` must be a function"):
        suggest_configurations(3, X, Y)
    with pytest.raises(ValueError, match="`model` must be compiled"):
        suggest_configurations(keras.Sequential([layers.Dense(1)]), X, Y)
    with pytest.raises(ValueError, match="`learning_rates` must be a positive integer"):
        suggest_configurations(build, X, Y, learning_rates=0)
