import keras
import numpy as np
import pytest

from keras_tricks.surgery import _compiled_like


def model():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


@pytest.mark.parametrize("by_name", [True, False])
def test_what_is_excluded_from_weight_decay_stays_so(by_name):
    old, new = model(), model()
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    excluded = {"var_names": ["bias"]} if by_name else {"var_list": [old.variables[1]]}
    optimizer.exclude_from_weight_decay(**excluded)
    old.compile(keras.optimizers.LossScaleOptimizer(optimizer), "mse")
    pairs = zip(old.variables, new.variables, strict=True)
    _compiled_like.compile_like(old, new, {id(b): a for a, b in pairs})
    for variable in new.variables:
        variable.assign(np.ones(variable.shape))
    gradients = [keras.ops.zeros(v.shape) for v in new.variables]
    # Outside of a compiled step Keras cannot scale losses on JAX.
    new.optimizer.inner_optimizer.apply(gradients, new.variables)
    kernel, bias = map(keras.ops.convert_to_numpy, new.variables)
    # 1 - 0.1 * 0.5
    np.testing.assert_allclose(kernel, 0.95, rtol=1e-6)
    assert bias == 1
