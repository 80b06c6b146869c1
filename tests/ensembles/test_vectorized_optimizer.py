"""The pure update of a member is the one of Keras's optimizer."""

import keras
import numpy as np
import pytest

from keras_tricks.ensembles import _vectorized_optimizer

NAMES = _vectorized_optimizer._SEPARABLE


@pytest.mark.parametrize("name", NAMES)
def test_three_updates_are_those_of_the_optimizer_itself(name):
    random = np.random.default_rng(0)
    start = [random.normal(size=shape).astype("float32") for shape in ((3, 2), (2,))]
    weights = [keras.Variable(value) for value in start]
    optimizer = getattr(keras.optimizers, name)(learning_rate=0.1)
    pure = _vectorized_optimizer.MemberOptimizer(optimizer, weights)

    def packed(values):
        if pure.flat:
            values = [np.concatenate([np.ravel(value) for value in values])]
        return [keras.ops.convert_to_tensor(value) for value in values]

    moved, slots = packed(start), [variable.value for variable in pure.variables]
    rate = keras.ops.convert_to_tensor(np.float32(0.1))
    for _ in range(3):
        gradients = [random.normal(size=v.shape).astype("float32") for v in start]
        moved, slots = pure.apply(moved, packed(gradients), slots, rate, None)
        given = [keras.ops.convert_to_tensor(gradient) for gradient in gradients]
        optimizer.apply(given, weights)
    expected = packed([keras.ops.convert_to_numpy(v.value) for v in weights])
    for ours, theirs, first in zip(moved, expected, packed(start), strict=True):
        ours, theirs, first = map(keras.ops.convert_to_numpy, (ours, theirs, first))
        assert np.allclose(ours, theirs, atol=1e-5)
        assert not np.allclose(theirs, first, atol=1e-4)
