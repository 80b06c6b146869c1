"""Slots in a file and those of the ensemble that reads it."""

import warnings

import keras
import lone_models as lone
import numpy as np
import pytest

from keras_tricks.ensembles import VectorizedEnsemble


def ensemble(optimizer):
    build = lone.compiled(lone.dense, optimizer)
    return VectorizedEnsemble(build, 2, seeds=[1, 2], strategy="vmap")


def test_slots_are_read_by_the_same_optimizer_alone(tmp_path):
    path = str(tmp_path / "many.weights.h5")
    many = ensemble(lambda: keras.optimizers.Adam(1e-2))
    many._core.slots = [slot + 1 for slot in many._core.slots]
    many.save_weights(path)

    # Its model and its weights have other names.
    same = ensemble(lambda: keras.optimizers.Adam(1e-2, name="other"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same.load_weights(path)
    for a, b in zip(same._core.slots, many._core.slots, strict=True):
        assert np.array_equal(a, b)

    # As many slots of the same shapes, which are other things.
    other = ensemble(lambda: keras.optimizers.Adamax(1e-2))
    fresh = [np.array(slot) for slot in other._core.slots]
    with pytest.warns(UserWarning, match="slots in the file are those of another opt"):
        other.load_weights(path)
    for a, b in zip(other._core.slots, fresh, strict=True):
        assert np.array_equal(a, b)
    for a, b in zip(other.get_weights(), many.get_weights(), strict=True):
        assert np.array_equal(a, b)
