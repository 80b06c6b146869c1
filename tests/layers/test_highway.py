"""The dense layer's numbers, and what Keras asks of any layer, for all three."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_tricks.layers.highway import Highway
from keras_tricks.layers.highway_conv1d import HighwayConv1D
from keras_tricks.layers.highway_conv2d import HighwayConv2D

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(4, 5)).astype("float32")
# One layer of each kind, with the shape of its inputs.
LAYERS = {
    "Highway": (lambda **more: Highway("tanh", **more), (2, 5)),
    "Highway on sequences": (lambda **more: Highway("tanh", **more), (2, 3, 5)),
    "HighwayConv1D": (lambda **m: HighwayConv1D(3, activation="tanh", **m), (2, 6, 4)),
    "HighwayConv2D": (
        lambda **more: HighwayConv2D((3, 2), activation="tanh", **more),
        (2, 5, 4, 3),
    ),
}
ANY_LAYER = pytest.mark.parametrize("name", LAYERS)


def numbers(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def random_weights(layer):
    layer.set_weights([RANDOM.normal(size=w.shape) * 0.5 for w in layer.weights])
    return layer


def made(name, /, **more):
    """A layer with random weights, and inputs for it."""
    make, shape = LAYERS[name]
    layer = make(**more)
    layer.build(shape)
    return random_weights(layer), RANDOM.normal(size=shape).astype("float32")


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 5), (2, 1, 3, 5)])
def test_mixes_the_transform_and_the_input_by_the_gate(shape):
    layer = Highway("relu")
    layer.build(shape)
    kernel, bias, gate_kernel, gate_bias = random_weights(layer).get_weights()
    x = RANDOM.normal(size=shape).astype("float32")
    transform, gate = np.maximum(x @ kernel + bias, 0), x @ gate_kernel + gate_bias
    expected = transform * sigmoid(gate) + x * (1 - sigmoid(gate))
    assert np.allclose(numbers(layer(x)), expected, atol=1e-5)


@pytest.mark.parametrize(("bias", "gate"), [(-1, 0.269), (-2, 0.119), (-3, 0.047)])
def test_the_gate_starts_open_by_the_numbers_of_the_paper(bias, gate):
    layer = Highway(bias_initializer="ones", transform_bias=bias)
    # Of an input of zeros the transform makes 1.
    assert numbers(layer(np.zeros((2, 5)))) == pytest.approx(gate, abs=5e-4)


def test_the_gate_is_nearly_shut_unless_asked_otherwise():
    assert Highway().transform_bias == -2.0


def test_a_gate_that_is_shut_returns_the_input_itself():
    assert np.array_equal(numbers(Highway("relu", transform_bias=-200.0)(X)), X)


def test_a_gate_that_is_open_returns_the_transform_itself():
    layer, dense = Highway("relu", transform_bias=200.0), keras.layers.Dense(5, "relu")
    layer.build(X.shape)
    dense.build(X.shape)
    dense.set_weights(layer.get_weights()[:2])
    assert np.array_equal(numbers(layer(X)), numbers(dense(X)))


def test_takes_a_dense_layer_for_its_transform_as_documented():
    layer, dense = Highway("tanh"), keras.layers.Dense(5, "tanh")
    layer.build(X.shape)
    dense.build(X.shape)
    random_weights(dense)
    layer.set_weights([*dense.get_weights(), np.zeros((5, 5)), np.full(5, -3.0)])
    gate = sigmoid(-3.0)
    expected = gate * numbers(dense(X)) + (1 - gate) * X
    assert np.allclose(numbers(layer(X)), expected, atol=1e-6)


def test_names_its_weights_in_the_order_of_the_card():
    layer = Highway()
    layer.build((None, 5))
    names = ["kernel", "bias", "gate_kernel", "gate_bias"]
    assert [weight.name for weight in layer.weights] == names
    assert all(
        getattr(layer, name) is w for name, w in zip(names, layer.weights, strict=True)
    )


def test_without_a_bias_only_the_gate_has_one():
    layer = Highway(use_bias=False, kernel_initializer="zeros", transform_bias=-1.0)
    found = numbers(layer(X))
    names = [weight.name for weight in layer.weights]
    assert names == ["kernel", "gate_kernel", "gate_bias"]
    assert np.allclose(found, X * (1 - sigmoid(-1.0)))


@pytest.mark.parametrize("seed", [None, 7, "generator"])
@pytest.mark.parametrize("kind", [Highway, HighwayConv2D])
def test_both_kernels_are_drawn_as_those_of_a_plain_layer_are(kind, seed):
    if seed == "generator":
        seed = keras.random.SeedGenerator(7)
    arguments = {} if kind is Highway else {"kernel_size": 3}
    initializer = keras.initializers.GlorotUniform(seed)
    layer = kind(kernel_initializer=initializer, **arguments)
    layer.build((None, 40) if kind is Highway else (None, 9, 9, 40))
    kernels = [numbers(layer.kernel), numbers(layer.gate_kernel)]
    fan = 40 if kind is Highway else 9 * 40
    for kernel in kernels:
        # The bound of Glorot's uniform draw at equal fans, which 1,600 draws come near.
        assert np.abs(kernel).max() == pytest.approx(np.sqrt(6 / (2 * fan)), rel=0.01)
    correlation = np.corrcoef(kernels[0].ravel(), kernels[1].ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(kernels[0].size), "they are independent"


def test_a_seed_fixes_both_kernels():
    layers = []
    for _ in range(2):
        layers.append(Highway(kernel_initializer=keras.initializers.HeNormal(seed=3)))
        layers[-1].build((None, 5))
    one, other = (layer.get_weights() for layer in layers)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_initializer_may_be_a_plain_function():
    layer = Highway(kernel_initializer=lambda shape, dtype: np.full(shape, 0.5))
    layer.build((None, 5))
    assert np.all(numbers(layer.kernel) == 0.5)
    assert np.all(numbers(layer.gate_kernel) == 0.5)


def test_regularizes_both_kernels_and_both_biases_and_the_output():
    layer = Highway(
        kernel_initializer="ones",
        bias_initializer="ones",
        kernel_regularizer=keras.regularizers.L1(1.0),
        bias_regularizer=keras.regularizers.L1(10.0),
        activity_regularizer=keras.regularizers.L1(1000.0),
        transform_bias=-3.0,
    )
    outputs = numbers(layer(np.ones((1, 2))))
    # Two kernels of 4 ones, biases of two ones and of two times -3, by their rates.
    expected = [4, 4, 20, 60, 1000 * np.abs(outputs).sum()]
    found = sorted(float(numbers(loss)) for loss in layer.losses)
    assert found == pytest.approx(sorted(expected), rel=1e-5)


def test_constrains_both_kernels_and_both_biases():
    layer = Highway(kernel_constraint="non_neg", bias_constraint="non_neg")
    moved_by_training(layer, X)
    assert all(np.all(weight >= 0) for weight in layer.get_weights())


# What Keras asks of any layer -------------------------------------------------------


def moved_by_training(layer, x):
    """For each weight, whether one step of SGD has moved it."""
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    before = layer.get_weights()
    loss = model.train_on_batch(x, -x)
    assert np.isfinite(float(loss))
    return [np.any(a != b) for a, b in zip(before, layer.get_weights(), strict=True)]


@ANY_LAYER
def test_the_output_has_the_shape_and_type_that_were_announced(name):
    layer, x = made(name)
    outputs = layer(x)
    assert tuple(outputs.shape) == x.shape
    assert layer.compute_output_shape(x.shape) == x.shape
    open_shape = (None,) * (x.ndim - 1) + x.shape[-1:]
    symbolic = layer(keras.Input(batch_shape=open_shape))
    specified = layer.compute_output_spec(keras.KerasTensor(open_shape))
    for tensor in (symbolic, specified):
        assert tensor.shape == open_shape
        assert tensor.dtype == keras.backend.standardize_dtype(outputs.dtype)
    assert tensor.dtype == "float32"


@ANY_LAYER
def test_is_built_by_a_shape_with_unknown_axes(name):
    make, shape = LAYERS[name]
    layer = make()
    layer.build((None,) * (len(shape) - 1) + shape[-1:])
    assert layer.built
    assert len(layer.weights) == len(layer.trainable_weights) == 4
    assert layer.losses == []


@ANY_LAYER
def test_the_config_makes_the_same_layer(name):
    settings = {
        "use_bias": False,
        "kernel_initializer": keras.initializers.HeNormal(seed=3),
        "bias_initializer": "ones",
        "kernel_regularizer": "l1",
        "bias_regularizer": "l2",
        "activity_regularizer": keras.regularizers.L2(0.5),
        "kernel_constraint": "max_norm",
        "bias_constraint": "non_neg",
        "transform_bias": -1.5,
        "name": "mine",
        "dtype": "mixed_bfloat16",
        "trainable": False,
    }
    layer, x = made(name, **settings)
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == f"keras_tricks>{type(layer).__name__}"
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    assert again.get_config() == layer.get_config()
    assert again.get_config()["transform_bias"] == -1.5
    again.set_weights(layer.get_weights())
    assert np.array_equal(numbers(again(x)), numbers(layer(x)))
    assert again.trainable_weights == []


@ANY_LAYER
def test_a_step_of_training_moves_every_weight(name):
    layer, x = made(name)
    assert moved_by_training(layer, x) == [True] * 4


@ANY_LAYER
def test_is_saved_with_its_model(name, tmp_path):
    layer, x = made(name)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.layers[0]) is type(layer)
    assert np.allclose(again.predict(x, verbose=0), numbers(layer(x)), atol=1e-6)


@ANY_LAYER
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_computes_in_the_precision_of_its_policy(name, policy):
    layer, x = made(name)
    other, _ = made(name, dtype=policy)
    other.set_weights(layer.get_weights())
    outputs = other(x.astype("float64"))
    assert keras.backend.standardize_dtype(outputs.dtype) == other.compute_dtype
    assert {weight.dtype for weight in other.weights} == {other.variable_dtype}
    assert np.allclose(numbers(outputs), numbers(layer(x)), atol=0.1)
    assert layer(keras.Input(x.shape[1:])).dtype == "float32"
    assert other(keras.Input(x.shape[1:])).dtype == other.compute_dtype


@pytest.mark.parametrize("name", ["Highway", "HighwayConv2D"])
def test_trains_in_mixed_precision(name):
    layer, x = made(name, dtype="mixed_bfloat16")
    assert moved_by_training(layer, x) == [True] * 4


def test_takes_integers():
    layer, x = made("Highway")
    counts = np.round(x).astype("int32")
    assert np.allclose(numbers(layer(counts)), numbers(layer(np.round(x))), atol=1e-6)


@pytest.mark.parametrize("name", ["Highway on sequences", "HighwayConv1D"])
def test_passes_on_a_mask(name):
    make, shape = LAYERS[name]
    layer = make()
    mask = np.arange(shape[1])[None, :] < np.array([[1], [2]])
    inputs = keras.Input(shape[1:])
    masked = layer(keras.layers.Masking()(inputs))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(masked))
    x = RANDOM.normal(size=shape).astype("float32") * mask[:, :, None]
    outputs = numbers(layer(x))
    expected = (outputs * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1)[:, None]
    assert np.allclose(model.predict(x, verbose=0), expected, atol=1e-5)


def test_says_what_to_do_about_an_unknown_width():
    expected = (
        r"`input_shape` must have a known width, at axis -1: .* Highway is as wide as "
        r"its input. Received: input_shape=\(2, None\); .* keras.layers.Dense\(width\)"
    )
    with pytest.raises(ValueError, match=expected):
        Highway().build((2, None))


def test_refuses_inputs_of_another_width():
    layer = Highway()
    layer.build((None, 5))
    with pytest.raises(ValueError, match="expected axis -1 of input shape"):
        layer(np.zeros((2, 4)))


def test_refuses_inputs_without_a_batch_axis():
    with pytest.raises(ValueError, match="expected min_ndim=2, found ndim=1"):
        Highway()(np.zeros(5))


@pytest.mark.parametrize(
    ("bias", "error"),
    [("low", TypeError), (float("-inf"), ValueError), (2e4, ValueError)],
)
def test_says_which_argument_is_wrong_and_what_came(bias, error):
    expected = rf"`transform_bias` must be a number in \[-10000, 10000\]. .*{bias!r}"
    with pytest.raises(error, match=expected):
        Highway(transform_bias=bias)


def test_a_width_in_the_place_of_the_activation_is_told():
    text = (
        "`activation` must be a name .*=64; Highway is as wide as its input, so leave"
    )
    with pytest.raises(TypeError, match=text):
        Highway(64)


def test_inputs_of_another_type_are_taken_without_autocast():
    layer = Highway("relu", autocast=False, dtype="float32")
    assert numbers(layer(ops.cast(X, "float16"))).shape == X.shape
