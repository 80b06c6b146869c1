import keras
import numpy as np
import pytest
from keras import ops

from keras_tricks.layers.highway_conv1d import HighwayConv1D
from keras_tricks.layers.highway_conv2d import HighwayConv2D

RANDOM = np.random.default_rng(0)
# Few channels are convolved in one go, many in two.
FEW, MANY = 3, 18


def numbers(tensor):
    return ops.convert_to_numpy(tensor)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def random_weights(layer):
    layer.set_weights([RANDOM.normal(size=w.shape) * 0.3 for w in layer.weights])
    return layer


def convolved(x, kernel, dilation=1):
    """A convolution along the middle axes, tap by tap, with zeros around the input."""
    sizes, middle = kernel.shape[:-2], x.shape[1:-1]
    before = [(size - 1) * dilation // 2 for size in sizes]
    after = [(s - 1) * dilation - b for s, b in zip(sizes, before, strict=True)]
    padded = np.pad(x, [(0, 0), *zip(before, after, strict=True), (0, 0)])
    total = np.zeros((*x.shape[:-1], kernel.shape[-1]))
    for tap in np.ndindex(*sizes):
        window = tuple(
            slice(t * dilation, t * dilation + m)
            for t, m in zip(tap, middle, strict=True)
        )
        total += padded[(slice(None), *window)] @ kernel[tap]
    return total


@pytest.mark.parametrize(("width", "dilation"), [(FEW, 2), (MANY, 1)])
@pytest.mark.parametrize(
    ("kind", "kernel_size"), [(HighwayConv1D, 4), (HighwayConv2D, (3, 2))]
)
def test_mixes_the_transform_and_the_input_by_the_gate(
    kind, kernel_size, width, dilation
):
    layer = kind(kernel_size, dilation_rate=dilation, activation="relu")
    x = RANDOM.normal(size=(2, 7, 6, width)[-layer.rank - 2 :]).astype("float32")
    layer.build(x.shape)
    kernel, bias, gate_kernel, gate_bias = random_weights(layer).get_weights()
    transform = np.maximum(convolved(x, kernel, dilation) + bias, 0)
    gate = sigmoid(convolved(x, gate_kernel, dilation) + gate_bias)
    expected = transform * gate + x * (1 - gate)
    assert np.allclose(numbers(layer(x)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("width", "data_format"),
    [(FEW, "channels_first"), (MANY, "channels_first"), (MANY, "channels_last")],
)
@pytest.mark.parametrize(
    ("kind", "plain"),
    [(HighwayConv1D, keras.layers.Conv1D), (HighwayConv2D, keras.layers.Conv2D)],
)
def test_equals_two_layers_of_keras(kind, plain, width, data_format):
    layer = kind(3, data_format, activation="tanh")
    sizes = (6, 5)[: layer.rank]
    last = data_format == "channels_last"
    shape = (2, *sizes, width) if last else (2, width, *sizes)
    x = RANDOM.normal(size=shape).astype("float32")
    layer.build(shape)
    weights = random_weights(layer).get_weights()
    parts = []
    for activation, pair in (("tanh", weights[:2]), ("sigmoid", weights[2:])):
        convolution = plain(
            width, 3, padding="same", data_format=data_format, activation=activation
        )
        convolution.build(shape)
        convolution.set_weights(pair)
        parts.append(numbers(convolution(x)))
    transform, gate = parts
    expected = transform * gate + x * (1 - gate)
    assert np.allclose(numbers(layer(x)), expected, atol=1e-5)
    assert layer.compute_output_shape(shape) == shape


@pytest.mark.parametrize(("bias", "gate"), [(-1, 0.269), (-2, 0.119), (-3, 0.047)])
def test_the_gate_starts_open_by_the_numbers_of_the_paper(bias, gate):
    layer = HighwayConv2D(3, bias_initializer="ones", transform_bias=bias)
    found = numbers(layer(np.zeros((1, 4, 4, 2))))
    assert found == pytest.approx(gate, abs=5e-4)


@pytest.mark.parametrize("kind", [HighwayConv1D, HighwayConv2D])
def test_a_gate_that_is_shut_returns_the_input_itself(kind):
    x = RANDOM.normal(size=(2, 5, 5, 3)[-kind.rank - 2 :]).astype("float32")
    layer = kind(3, activation="relu", transform_bias=-200.0)
    assert np.array_equal(numbers(layer(x)), x)


def test_without_a_bias_only_the_gate_has_one():
    layer = HighwayConv1D(3, use_bias=False)
    layer.build((None, None, 4))
    names = [weight.name for weight in layer.weights]
    assert names == ["kernel", "gate_kernel", "gate_bias"]


def test_follows_the_data_format_of_keras_and_keeps_it():
    assert keras.config.image_data_format() == "channels_last"
    keras.config.set_image_data_format("channels_first")
    try:
        layer = HighwayConv2D(3)
    finally:
        keras.config.set_image_data_format("channels_last")
    assert HighwayConv2D.from_config(layer.get_config()).data_format == "channels_first"
    layer.build((None, 2, None, None))
    assert layer.kernel.shape == (3, 3, 2, 2)


@pytest.mark.parametrize("size", [[3, 2], (3, 2), np.array([3, 2]).tolist()])
def test_takes_a_size_for_each_dimension(size):
    assert HighwayConv2D(size).kernel_size == (3, 2)
    assert HighwayConv2D(3).kernel_size == (3, 3)
    assert HighwayConv1D(3, dilation_rate=2).dilation_rate == (2,)


@pytest.mark.parametrize(
    ("data_format", "shape", "axis"),
    [("channels_last", (2, 3, 3, None), -1), ("channels_first", (2, None, 3, 3), 1)],
)
def test_says_what_to_do_about_an_unknown_width(data_format, shape, axis):
    expected = (
        rf"`input_shape` must have a known width, at axis {axis}: .* HighwayConv2D is "
        r"as wide as its input. Received: .* keras.layers.Conv2D\(filters, 1\) before"
    )
    with pytest.raises(ValueError, match=expected):
        HighwayConv2D(3, data_format).build(shape)


def test_refuses_inputs_of_another_width():
    layer = HighwayConv1D(3)
    layer.build((None, None, 5))
    with pytest.raises(ValueError, match="expected axis -1 of input shape"):
        layer(np.zeros((2, 6, 4)))


def test_refuses_inputs_of_another_rank():
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        HighwayConv2D(3)(np.zeros((2, 5, 5)))


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        (
            {"kernel_size": (3, 3, 3)},
            ValueError,
            r"`kernel_size` must be a positive integer, or 2 of them. "
            r"Received: kernel_size=\(3, 3, 3\)",
        ),
        (
            {"kernel_size": 0},
            ValueError,
            "`kernel_size` must be a positive integer, or 2 of them. Received: .*=0",
        ),
        (
            {"kernel_size": "3"},
            TypeError,
            "`kernel_size` must be a positive integer, or 2 of them. Received: .*='3'",
        ),
        (
            {"kernel_size": 3, "dilation_rate": (1, 0.5)},
            TypeError,
            "`dilation_rate` must be a positive integer, or 2 of them. Received: .*0.5",
        ),
        (
            {"kernel_size": 3, "data_format": "channel_last"},
            ValueError,
            "`data_format` must be one of .* Did you mean 'channels_last'",
        ),
        (
            {"kernel_size": 3, "transform_bias": float("nan")},
            ValueError,
            r"`transform_bias` must be a number in \[-10000, 10000\]. .*nan",
        ),
    ],
)
def test_says_which_argument_is_wrong_and_what_came(arguments, error, expected):
    with pytest.raises(error, match=expected):
        HighwayConv2D(**arguments)
