"""Arrays that become a variable's own memory."""

import keras
import numpy as np
import pytest

from keras_tricks import _aligned, _backend


@pytest.mark.parametrize("shape", [(3, 5), (), (0, 4), (1000,)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool"])
def test_an_array_lies_where_a_backend_can_use_it(shape, dtype):
    array = _aligned.empty(shape, dtype)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.ctypes.data % 64 == 0 or not array.size
    assert array.flags.writeable
    assert array.flags.c_contiguous


def test_a_copy_is_a_copy():
    given = np.arange(12.0).reshape(3, 4).T
    copy = _aligned.copied(given)
    assert np.array_equal(copy, given)
    assert not np.shares_memory(copy, given)


def large(dtype="float32"):
    array = _aligned.empty((1024, 256), dtype)
    array[...] = 2.0
    return array


def test_only_what_a_variable_would_hold_just_so_is_taken():
    assert _aligned.can_be_taken(large(), "float32")
    assert not _aligned.can_be_taken(large("float64"), "float32")
    assert not _aligned.can_be_taken(large(">f4"), "float32")
    assert not _aligned.can_be_taken(large()[:, 1:], "float32")
    assert not _aligned.can_be_taken(large()[1:].ravel()[1:], "float32")
    assert not _aligned.can_be_taken(_aligned.empty((4, 4), "float32"), "float32")
    shown = large()
    shown.flags.writeable = False
    assert not _aligned.can_be_taken(shown, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("start", [0, 1], ids=["aligned", "not aligned"])
def test_a_variable_that_has_adopted_an_array_is_like_any_other(dtype, start):
    array = large(dtype)[start:].ravel()[start:]
    variable = keras.Variable(np.zeros(array.shape, "float32"))
    _backend.adopt(variable, array)
    # The memory may be given back only when the variable no longer needs it.
    del array
    kept = [large(dtype) * k for k in range(3)]
    variable.assign_add(keras.ops.ones(variable.shape))
    held = keras.ops.convert_to_numpy(variable.value)
    assert variable.dtype == "float32"
    assert np.array_equal(held, np.full(variable.shape, 3.0))
    assert [one[0, 0] for one in kept] == [0.0, 2.0, 4.0]


def test_a_model_that_has_adopted_arrays_trains_on():
    """On JAX a training gives its buffers away and takes others: of any origin."""

    def trained(adopted):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((512,)), keras.layers.Dense(600)])
        model.compile(keras.optimizers.Adam(0.1), "mse")
        kernel = _aligned.copied(np.ones((512, 600), "float32"))
        if adopted:
            assert _aligned.can_be_taken(kernel, "float32")
            _backend.adopt(model.layers[0].kernel, kernel)
        else:
            model.layers[0].kernel.assign(np.ones((512, 600), "float32"))
        del kernel
        x = np.random.default_rng(0).normal(size=(8, 512)).astype("float32")
        model.fit(x, x[:, :1] * np.ones((1, 600)), epochs=3, shuffle=False, verbose=0)
        return model.get_weights()

    for one, other in zip(trained(True), trained(False), strict=True):
        assert np.array_equal(one, other)
