import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks import NoEffectWarning
from keras_tricks.ensembles.recalibrate import recalibrate

RANDOM = np.random.default_rng(0)
X = (RANDOM.normal(size=(21, 3)) * [1.0, 5.0, 0.1] + [0.0, 3.0, -0.2]).astype("float32")
BATCHES = [X[:8], X[8:16], X[16:]]


def numbers(variables):
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def moments(layer):
    return numbers([layer.moving_mean, layer.moving_variance])


def assert_moments(layer, values, rtol=1e-5):
    mean, variance = moments(layer)
    axes = tuple(range(values.ndim - 1))
    np.testing.assert_allclose(mean, values.mean(axes), rtol=rtol, atol=1e-6)
    np.testing.assert_allclose(variance, values.var(axes), rtol=rtol, atol=1e-6)


def deep(**arguments):
    """Two normalizations, with what is random in training around them."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dropout(0.5),
            layers.BatchNormalization(name="first", **arguments),
            layers.Dense(4, activation="tanh", name="dense"),
            layers.GaussianNoise(1.0),
            layers.BatchNormalization(name="second", **arguments),
            layers.Dense(1, name="out"),
        ]
    )


def shallow(**arguments):
    return keras.Sequential(
        [keras.Input((3,)), layers.BatchNormalization(name="first", **arguments)]
    )


def by_hand(model):
    """What enters the second normalization, the first one on batch statistics."""
    gamma, beta = (
        (1.0, 0.0)
        if len(model.layers[1].weights) < 3
        else numbers([model.layers[1].gamma, model.layers[1].beta])
    )
    kernel, bias = numbers(model.get_layer("dense").weights)
    normal = [
        (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3) * gamma + beta for x in BATCHES
    ]
    return np.concatenate([np.tanh(x @ kernel + bias) for x in normal])


def test_the_moments_are_those_of_all_the_data_that_enter_each_layer():
    model = deep()
    model.get_layer("first").set_weights(
        [np.array(v) for v in ([2.0, 1.0, 3.0], [1.0, 0.0, -1.0], [9.0] * 3, [4.0] * 3)]
    )
    assert recalibrate(model, X, batch_size=8) is model
    assert_moments(model.get_layer("first"), X)
    assert_moments(model.get_layer("second"), by_hand(model))


def test_the_first_layer_does_not_depend_on_the_batch_size():
    found = []
    for size in (1, 5, 21):
        model = shallow()
        recalibrate(model, X, batch_size=size)
        found.append(moments(model.get_layer("first")))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-5)


def test_nothing_else_in_the_model_changes():
    model = deep()
    model.compile(keras.optimizers.SGD(momentum=0.9), "mse")
    model.fit(X, X[:, :1], verbose=0)
    kept = [v for v in model.variables if "moving" not in v.path]
    slots = model.optimizer.variables
    before = numbers([*kept, *slots])
    recalibrate(model, X)
    for old, new in zip(before, numbers([*kept, *slots]), strict=True):
        np.testing.assert_array_equal(new, old)
    layer = model.get_layer("first")
    assert layer.momentum == 0.99
    assert "call" not in vars(layer)
    function = model.train_function
    model.fit(X, X[:, :1], verbose=0)
    assert model.train_function is function


def test_moments_that_were_not_finite_leave_no_trace():
    model = deep()
    model.get_layer("first").moving_variance.assign([np.inf, np.nan, -1.0])
    recalibrate(model, X, batch_size=8)
    assert_moments(model.get_layer("first"), X)
    assert_moments(model.get_layer("second"), by_hand(model))


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return len(BATCHES)

    def __getitem__(self, index):
        return BATCHES[index], BATCHES[index][:, 0]


DATA = {
    "a tuple": lambda: (X, X[:, 0]),
    "a dataset": Batches,
    "a generator": lambda: ((batch,) for batch in BATCHES),
}


@pytest.mark.parametrize("kind", DATA)
def test_reads_what_predict_reads(kind):
    model = deep()
    sizes = {"batch_size": 8} if kind == "a tuple" else {}
    recalibrate(model, DATA[kind](), **sizes)
    assert_moments(model.get_layer("first"), X)
    assert_moments(model.get_layer("second"), by_hand(model))


def test_reads_so_many_batches():
    model = deep()
    recalibrate(model, X, batch_size=8, steps=2)
    assert_moments(model.get_layer("first"), X[:16])
    many = np.concatenate([X, X, 2.0 * X])
    recalibrate(model, many, steps=1)
    assert_moments(model.get_layer("first"), many[:32])


def test_channels_may_be_any_axis_and_a_layer_may_be_used_twice():
    inputs = keras.Input((4, 5, 2))
    channels_last = layers.BatchNormalization()
    first = channels_last(inputs)
    second = channels_last(inputs * 3.0)
    other = layers.BatchNormalization(axis=1)
    outputs = other(layers.Add()([inputs, inputs])), first, second
    model = keras.Model(inputs, outputs)
    x = RANDOM.normal(size=(6, 4, 5, 2)).astype("float32")
    recalibrate(model, x, batch_size=4)
    assert_moments(channels_last, np.concatenate([x, 3.0 * x]))
    assert_moments(other, 2.0 * np.moveaxis(x, 1, -1))


def test_masked_values_do_not_count():
    model = keras.Sequential(
        [keras.Input((5, 2)), layers.Masking(), layers.BatchNormalization(name="norm")]
    )
    x = RANDOM.normal(size=(6, 5, 2)).astype("float32")
    lengths = np.array([5, 1, 2, 0, 0, 3])
    kept = np.arange(5) < lengths[:, None]
    x[~kept] = 0.0
    # The third batch of two has no value at all, and counts nothing.
    recalibrate(model, x[[0, 1, 2, 5, 3, 4]], batch_size=2)
    assert_moments(model.get_layer("norm"), x[kept], rtol=1e-4)


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = shallow()
        self.norm = layers.BatchNormalization()

    def call(self, inputs, training=None):
        return self.norm(self.inner(inputs["x"], training=training), training=training)


def test_a_subclassed_model_with_a_model_inside():
    model = Own()
    model({"x": X[:2]})
    recalibrate(model, {"x": X}, batch_size=8)
    assert_moments(model.inner.get_layer("first"), X)
    assert_moments(
        model.norm,
        np.concatenate([(x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3) for x in BATCHES]),
    )


def test_an_eager_model():
    model = shallow()
    model.compile("sgd", "mse", run_eagerly=True)
    recalibrate(model, X, batch_size=8)
    assert_moments(model.get_layer("first"), X)


# --- Precision ----------------------------------------------------------------------


def test_the_moments_of_values_far_from_zero():
    # In one pass, as in a training on PyTorch, nothing is left of the variance.
    x = (3e3 + RANDOM.normal(size=(64, 3))).astype("float32")
    model = shallow()
    recalibrate(model, x, batch_size=16)
    _, variance = moments(model.get_layer("first"))
    np.testing.assert_allclose(variance, x.astype("float64").var(0), rtol=1e-4)
    assert np.isfinite(model.predict(x, verbose=0)).all()


def test_the_batch_statistics_that_later_layers_see_are_as_exact():
    x = (3e3 + RANDOM.normal(size=(64, 3))).astype("float32")
    model = shallow()
    model.add(layers.BatchNormalization(name="second"))
    recalibrate(model, x, batch_size=64)
    variance = x.astype("float64").var(0)
    found = moments(model.get_layer("second"))
    np.testing.assert_allclose(found[0], 0.0, atol=1e-3)
    np.testing.assert_allclose(found[1], variance / (variance + 1e-3), rtol=1e-3)


def test_inputs_are_not_rounded_to_the_global_policy():
    x = (100 + 0.1 * RANDOM.normal(size=(50, 3))).astype("float32")
    model = shallow(dtype="float32")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        recalibrate(model, x)
    finally:
        keras.config.set_dtype_policy(before)
    _, variance = moments(model.get_layer("first"))
    np.testing.assert_allclose(variance, x.astype("float64").var(0), rtol=1e-4)


@pytest.mark.backend("torch", "tensorflow", reason="JAX has no float64 by default")
def test_moments_of_double_precision():
    x = 1e6 + X.astype("float64")
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        model = shallow()
        recalibrate(model, x, batch_size=8)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(
        moments(model.get_layer("first"))[1], x.var(0), rtol=1e-9
    )


# --- Where the layers are -----------------------------------------------------------


def test_layers_whose_calls_are_computed_again_for_gradients():
    with keras.RematScope(mode="full"):
        model = shallow()
        model.add(layers.Dense(2))
    recalibrate(model, X, batch_size=8)
    assert_moments(model.get_layer("first"), X)


class Cell(layers.Layer):
    state_size = output_size = 3

    def __init__(self):
        super().__init__()
        self.norm = layers.BatchNormalization(name="inside")

    def build(self, shape):
        self.norm.build(shape)
        self.built = True

    def call(self, inputs, states, training=None):
        return self.norm(inputs, training=training), states


def test_a_layer_in_the_cell_of_a_recurrent_layer_is_refused():
    model = keras.Sequential([keras.Input((5, 3)), layers.RNN(Cell(), name="loop")])
    text = r"must not have BatchNormalization in the cell .*: 'inside' in 'loop'; freez"
    with pytest.raises(ValueError, match=text):
        recalibrate(model, np.zeros((2, 5, 3)))
    model.layers[0].cell.norm.trainable = False
    with pytest.warns(
        NoEffectWarning, match="no BatchNormalization that is not frozen"
    ):
        recalibrate(model, np.zeros((2, 5, 3)))


class OnlyInTraining(keras.Model):
    def __init__(self):
        super().__init__()
        self.norm = layers.BatchNormalization()
        self.other = layers.BatchNormalization(name="other")

    def call(self, inputs, training=None):
        outputs = self.norm(inputs, training=training)
        return self.other(outputs, training=training) if training else outputs


def test_a_layer_that_nothing_enters_keeps_its_moments():
    model = OnlyInTraining()
    model(X[:4], training=True)
    before = moments(model.other)
    text = "no effect on the layer 'other': nothing enters it in inference"
    with pytest.warns(NoEffectWarning, match=text):
        recalibrate(model, X)
    assert_moments(model.norm, X)
    np.testing.assert_array_equal(moments(model.other), before)


class Doubling(layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        return 2.0 * super().call(inputs, training=training, mask=mask)


def test_a_normalization_of_ones_own_is_called():
    model = keras.Sequential([keras.Input((3,)), Doubling(name="first")])
    model.add(layers.BatchNormalization(name="second"))
    recalibrate(model, X, batch_size=21)
    assert_moments(model.get_layer("first"), X)
    normal = (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-3)
    assert_moments(model.get_layer("second"), 2.0 * normal, rtol=1e-4)


def test_frozen_layers_keep_their_moments():
    model = deep()
    model.get_layer("first").trainable = False
    before = moments(model.get_layer("first"))
    recalibrate(model, X)
    np.testing.assert_array_equal(moments(model.get_layer("first")), before)
    assert moments(model.get_layer("second"))[0].any()


def test_the_states_of_a_recurrent_layer_stay():
    rnn = layers.GRU(2, stateful=True)
    model = keras.Sequential(
        [keras.Input(batch_shape=(3, 4, 2)), layers.BatchNormalization(), rnn]
    )
    recalibrate(model, RANDOM.normal(size=(6, 4, 2)), batch_size=3)
    assert not numbers(rnn.states)[0].any()


def test_a_failure_leaves_the_model_as_it_was():
    model = deep()
    before = numbers(model.variables)

    def data():
        yield (BATCHES[0],)
        raise RuntimeError("out of data")

    with pytest.raises(Exception, match="out of data"):
        recalibrate(model, data())
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever a backend says
        recalibrate(model, X[:, :2])
    for old, new in zip(before, numbers(model.variables), strict=True):
        np.testing.assert_array_equal(new, old)
    assert "call" not in vars(model.get_layer("first"))


def test_activations_that_are_not_finite_are_told():
    model, x = deep(), X.copy()
    x[3, 1] = np.nan
    before = numbers(model.variables)
    with pytest.raises(ValueError, match=r"`data` must give finite .* layer 'first'"):
        recalibrate(model, x)
    for old, new in zip(before, numbers(model.variables), strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_model_without_such_layers_is_told():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)], name="plain")
    text = "recalibrate has no effect: model 'plain' has no BatchNormalization"
    with pytest.warns(NoEffectWarning, match=text):
        assert recalibrate(model, X) is model


def test_data_that_are_all_masked_are_told():
    model = keras.Sequential(
        [keras.Input((5, 2)), layers.Masking(), layers.BatchNormalization(name="norm")]
    )
    with pytest.raises(
        ValueError, match=r"`data` must give the layer 'norm' something"
    ):
        recalibrate(model, np.zeros((4, 5, 2)))


def test_batch_renormalization_is_refused():
    with pytest.raises(
        ValueError, match=r"must not use batch renormalization.*'first'"
    ):
        recalibrate(deep(renorm=True), X)


@pytest.mark.parametrize("name", ["batch_size", "steps"])
def test_says_which_argument_is_wrong_and_what_came(name):
    with pytest.raises(ValueError, match=rf"`{name}` must be a positive .* {name}=0"):
        recalibrate(deep(), X, **{name: 0})
    with pytest.raises(TypeError, match=r"`model` must be a built keras\.Model"):
        recalibrate("model", X)
