import keras
import numpy as np
import pytest
from keras import layers

import keras_tricks as kt
from keras_tricks.surgery import _orthonormal, _scaling
from keras_tricks.surgery.lsuv import lsuv


def data(*shape, scale=1.0, offset=0.0):
    random = np.random.default_rng(0)
    return (offset + scale * random.normal(size=shape)).astype("float32")


def chain(*parts, shape=(8,)):
    return keras.Sequential([keras.Input(shape), *parts])


def table(model, x, **options):
    new, report = lsuv(model, x, seed=0, report=True, **options)
    return new, {row.layer: row for row in report}


def before_activation(model, name, x):
    """What the layer gives its activation, by a model that has none there."""
    layer = model.get_layer(name)
    inputs = keras.Model(model.inputs[0], layer.input)(x)
    config = {**layer.get_config(), "activation": None}
    twin = type(layer).from_config(config)
    twin.build(layer.input.shape)
    twin.set_weights(layer.get_weights())
    return keras.ops.convert_to_numpy(twin(inputs))


def test_every_layer_has_unit_variance_before_its_activation():
    model = chain(
        layers.Conv2D(4, 3, activation="relu", name="conv"),
        layers.Conv2DTranspose(3, 3, activation="tanh", name="up"),
        layers.SeparableConv2D(5, 3, activation="relu", name="separable"),
        layers.DepthwiseConv2D(3, activation="gelu", name="depthwise"),
        layers.Flatten(),
        layers.Dense(6, activation="elu", name="dense"),
        layers.Dense(3, activation="softmax", name="out"),
        shape=(9, 9, 3),
    )
    x = data(32, 9, 9, 3, scale=7.0, offset=2.0)
    new, rows = table(model, x)
    assert list(rows) == ["conv", "up", "separable", "depthwise", "dense", "out"]
    for name, row in rows.items():
        measured = before_activation(new, name, x).std()
        assert abs(measured - 1.0) <= 0.1
        assert abs(row.std_after - measured) < 1e-3
        assert row.converged
        assert row.iterations <= 1


def test_a_linear_layer_needs_one_step_and_is_then_exact():
    x = data(500, 8, scale=30.0)
    new, rows = table(chain(layers.Dense(8, name="a")), x)
    assert rows["a"].iterations == 1
    # An orthonormal kernel keeps lengths: 30 comes in, 30 goes out.
    assert abs(rows["a"].std_before - x.std()) < 0.01
    assert abs(rows["a"].std_after - 1.0) < 1e-5
    kernel = new.get_weights()[0]
    assert np.allclose(kernel.T @ kernel * x.std() ** 2, np.eye(8), atol=1e-2)


def test_within_the_tolerance_nothing_is_divided():
    new, rows = table(chain(layers.Dense(8, name="a")), data(500, 8, scale=1.05))
    assert rows["a"].iterations == 0
    kernel = new.get_weights()[0]
    assert np.allclose(kernel.T @ kernel, np.eye(8), atol=1e-5)


def test_each_layer_is_called_once_for_each_iteration_and_once_before():
    calls = []

    @keras.saving.register_keras_serializable("test_lsuv")
    class Counted(layers.Dense):
        def call(self, inputs, training=None):
            assert not training
            calls.append(self.name)
            return super().call(inputs)

    names = [f"d{i}" for i in range(6)]
    model = chain(*(Counted(8, "tanh", name=name) for name in names))
    calls.clear()
    _, rows = table(model, data(300, 8, scale=9.0))
    expected = [name for name in names for _ in range(1 + rows[name].iterations)]
    assert calls == expected


def test_a_deep_network_keeps_its_signal():
    model = chain(*(layers.Dense(16, "tanh", name=f"d{i}") for i in range(30)))
    x = data(200, 8, scale=0.01)
    new = lsuv(model, x, seed=0)
    before, after = (keras.ops.convert_to_numpy(m(x)).std() for m in (model, new))
    assert before < 0.02
    assert after > 0.5


def test_a_layer_without_variance_keeps_a_finite_kernel():
    dead = layers.Dense(4, "relu", bias_initializer=keras.initializers.Constant(-99.0))
    parts = [dead, layers.Dense(4, name="after")]
    new, rows = table(chain(*parts), data(50, 8))
    row = rows["after"]
    assert (row.std_before, row.std_after, row.iterations) == (0.0, 0.0, 0)
    assert not row.converged
    kernel = new.get_weights()[2]
    assert np.allclose(kernel.T @ kernel, np.eye(4), atol=1e-5)


def test_a_division_that_would_overflow_is_left_out():
    # A standard deviation that float32 holds, with a quotient that it does not.
    new, rows = table(chain(layers.Dense(4, name="a")), data(50, 8, scale=1e-39))
    assert all(np.isfinite(weight).all() for weight in new.get_weights())
    assert not rows["a"].converged


def test_a_bias_that_varies_more_than_allowed_is_reported():
    model = chain(layers.Dense(4, name="a"))
    bias = np.array([-9.0, 9.0, -9.0, 9.0], "float32")
    model.layers[0].bias.assign(bias)
    new, rows = table(model, data(50, 8), max_iterations=3)
    assert rows["a"].iterations == 3
    assert not rows["a"].converged
    assert np.array_equal(new.get_weights()[1], bias)


def test_max_iterations_and_tolerance_are_kept():
    model = chain(layers.Dense(8, name="a", bias_initializer="ones"))
    _, rows = table(model, data(50, 8, scale=5.0), tolerance=6.0)
    assert (rows["a"].iterations, rows["a"].converged) == (0, True)


def test_nested_and_shared_layers_go_by_their_first_use():
    parts = [keras.Input((8,)), layers.Dense(8, "relu", name="deep")]
    nested = keras.Sequential(parts, name="nested")
    first, second = keras.Input((8,), name="first"), keras.Input((8,), name="second")
    again = nested(layers.Rescaling(100.0)(nested(first)))
    end = layers.Dense(2, name="end")(layers.Concatenate()([again, second]))
    model = keras.Model({"first": first, "second": second}, end)
    x = {"first": data(200, 8, scale=4.0), "second": data(200, 8)}
    new, rows = table(model, x)
    assert list(rows) == ["nested/deep", "end"]
    assert all(row.converged for row in rows.values())
    deep = new.get_layer("nested").get_layer("deep").get_weights()[0]
    assert abs((x["first"] @ deep).std() - 1.0) < 1e-4


def test_a_time_distributed_layer_is_measured_over_all_steps():
    each = layers.Dense(4, "tanh", name="each")
    model = chain(layers.TimeDistributed(each, name="times"), shape=(5, 8))
    x = data(40, 5, 8) * np.array([1, 2, 3, 4, 5], "float32")[:, None]
    new, rows = table(model, x)
    kernel = new.get_weights()[0]
    assert list(rows) == ["times"]
    assert abs((x @ kernel).std() - 1.0) < 1e-4


def test_other_layers_and_frozen_ones_stay():
    frozen = layers.Dense(8, name="frozen", trainable=False)
    inputs = keras.Input((8,))
    x = layers.Reshape((2, 4))(frozen(inputs))
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)
    x = layers.MultiHeadAttention(1, 2)(x, x)
    x = layers.Flatten()(layers.BatchNormalization()(x))
    model = keras.Model(inputs, layers.Dense(2, name="out")(x))
    new, rows = table(model, data(100, 8))
    assert list(rows) == ["out"]
    pairs = list(zip(model.get_weights(), new.get_weights(), strict=True))
    changed = [i for i, (a, b) in enumerate(pairs) if not np.array_equal(a, b)]
    kernel = [w.path.endswith("out/kernel") for w in model.weights].index(True)
    assert changed == [kernel]


def test_the_model_stays_and_the_new_one_trains_like_any():
    model = chain(layers.Dense(8, "relu"), layers.Dense(2))
    model.compile("adam", "mse")
    before = model.get_weights()
    new = lsuv(model, data(64, 8), seed=0)
    for value, old in zip(model.get_weights(), before, strict=True):
        assert np.array_equal(value, old)
    assert all("call" not in vars(layer) for layer in new.layers)
    loss = new.fit(data(64, 8), data(64, 2), epochs=3, verbose=0).history["loss"]
    assert loss[-1] < loss[0]


def test_a_model_of_a_list_of_one_input_takes_an_array():
    inputs = keras.Input((8,))
    model = keras.Model([inputs], layers.Dense(4, name="a")(inputs))
    _, rows = table(model, data(50, 8, scale=3.0))
    assert rows["a"].converged


def test_half_precision_is_measured_in_single():
    layer = layers.Dense(8, name="a", dtype="mixed_float16")
    _, rows = table(chain(layer), data(4000, 8, scale=200.0))
    assert abs(rows["a"].std_after - 1.0) < 0.01


def test_the_seed_decides_on_the_kernels():
    model, x = chain(layers.Dense(8)), data(50, 8)
    one, same, other = (lsuv(model, x, seed=s).get_weights()[0] for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)
    keras.utils.set_random_seed(3)
    one = lsuv(model, x).get_weights()[0]
    other = lsuv(model, x).get_weights()[0]
    keras.utils.set_random_seed(3)
    assert np.array_equal(lsuv(model, x).get_weights()[0], one)
    assert not np.allclose(one, other)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 3, 2, 5), (1, 1, 2, 7)])
def test_a_kernel_is_orthonormal_along_its_shorter_side(shape):
    rows = int(np.prod(shape[:-1]))
    kernel = _orthonormal.orthonormal(shape, rows, np.random.default_rng(0))
    matrix = kernel.reshape(rows, -1)
    small = matrix.T @ matrix if rows >= shape[-1] else matrix @ matrix.T
    assert kernel.shape == shape
    assert np.allclose(small, np.eye(min(rows, shape[-1])))


def test_the_deviation_of_parts_is_that_of_the_whole():
    values = data(3, 40, 7, scale=3.0, offset=5.0)
    assert abs(_scaling.std(list(values)) - values.std()) < 1e-4


def test_a_model_without_such_layers_is_a_warning():
    model = chain(layers.BatchNormalization())
    with pytest.warns(kt.NoEffectWarning, match=r"Nothing was scaled: model '.*' has"):
        new, report = lsuv(model, data(5, 8), report=True)
    assert str(report) == "0 layers, 0 with unit variance"
    assert new is not model


def test_says_which_argument_is_wrong_and_what_came():
    model, x = chain(layers.Dense(2, name="a")), data(5, 8)
    with pytest.raises(ValueError, match=r"`tolerance` must be a pos.*tolerance=0"):
        lsuv(model, x, tolerance=0)
    with pytest.raises(TypeError, match=r"`max_iterations` must be a positive integer"):
        lsuv(model, x, max_iterations=1.5)
    with pytest.raises(ValueError, match=r"`seed` must be an integer.*seed=-1"):
        lsuv(model, x, seed=-1)
    with pytest.raises(TypeError, match=r"`model` must be a built keras.Model"):
        lsuv(None, x)
    x[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"`x` must give finite.*layer 'a'.*nan; look"):
        lsuv(model, x)


@pytest.mark.parametrize("scale", [1e25, 1e-20])
def test_very_large_and_very_small_activations_are_scaled_too(scale):
    model = chain(layers.Dense(4, name="a"))
    x = (data(100, 8) * scale).astype("float32")
    new, rows = table(model, x)
    assert rows["a"].converged
    out = keras.ops.convert_to_numpy(new(x))
    assert out.std() == pytest.approx(1.0, abs=0.1)


class Standardised(layers.Dense):
    """Does not ask its activation."""

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.kernel) * 3.0


def test_a_layer_that_does_not_ask_its_activation_is_measured_by_its_outputs():
    model = chain(Standardised(4, name="a"))
    x = data(100, 8)
    new, rows = table(model, x)
    assert rows["a"].converged
    out = keras.ops.convert_to_numpy(new(x))
    assert out.std() == pytest.approx(1.0, abs=0.1)


def test_the_new_model_is_saved_and_loaded(tmp_path):
    model = chain(layers.Dense(4, "relu", name="a"), layers.Dense(1, name="out"))
    model.compile("adam", "mse")
    x = data(20, 8)
    new, _ = table(model, x)
    new.fit(x, x[:, :1], verbose=0)
    new.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), new.predict(x, verbose=0)
    )
