"""Rules on layers: what each finds, and what it leaves alone."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_tricks as kt
from keras_tricks import lint

pytestmark = pytest.mark.usefixtures("undrawn")


def found(code, model, *args, **options):
    return list(lint.check(model, *args, **options).filter(code=code))


def stack(*held, width=8):
    return keras.Sequential([keras.Input((width,)), *held])


# KT101 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hidden",
    [
        [layers.Dense(4, "sigmoid", name="a")],
        [layers.Dense(4, "hard_sigmoid", name="a")],
        [layers.Dense(4), layers.Activation("sigmoid", name="a")],
        [layers.Dense(4, "sigmoid", name="a"), layers.Dropout(0.1)],
    ],
)
def test_a_sigmoid_before_a_layer_with_a_kernel_is_hidden(hidden):
    (finding,) = found("KT101", stack(*hidden, layers.Dense(1)))
    assert (finding.severity, finding.layers) == ("warning", ("a",))
    assert finding.message == (
        "1 hidden layer with a sigmoid: tanh or ReLU trains better there."
    )
    assert "LeCun" in finding.source
    assert "1/4" in finding.why


def test_a_sigmoid_in_a_recurrent_layer_is_hidden():
    model = keras.Sequential(
        [keras.Input((3, 2)), layers.LSTM(4, activation="sigmoid"), layers.Dense(1)]
    )
    assert len(found("KT101", model)) == 1


def test_a_sigmoid_in_a_time_distributed_dense_is_hidden():
    inner = layers.TimeDistributed(layers.Dense(4, "sigmoid"), name="steps")
    model = keras.Sequential([keras.Input((3, 2)), inner, layers.GRU(2)])
    assert found("KT101", model)[0].layers == ("steps",)


@pytest.mark.parametrize("add", [lambda a, b: a + b, lambda a, b: layers.Add()([a, b])])
def test_a_sigmoid_in_a_sum_is_hidden(add):
    inputs = keras.Input((8,))
    hidden = layers.Dense(8, "sigmoid", name="a")(inputs)
    model = keras.Model(inputs, layers.Dense(1)(add(hidden, inputs)))
    assert found("KT101", model)[0].layers == ("a",)


def highway_by_hand():
    inputs = keras.Input((8,))
    gate = layers.Dense(8, "sigmoid")(inputs)
    mixed = gate * layers.Dense(8, "relu")(inputs) + (1 - gate) * inputs
    return keras.Model(inputs, layers.Dense(1)(mixed))


def gated():
    inputs = keras.Input((8,))
    gate = layers.Dense(8, "sigmoid")(inputs)
    return keras.Model(inputs, layers.Dense(1)(layers.Multiply()([inputs, gate])))


def gated_by_an_operation():
    inputs = keras.Input((8,))
    gate = layers.Reshape((8,))(layers.Dense(8, "sigmoid")(inputs))
    return keras.Model(inputs, layers.Dense(1)(inputs * gate))


def two_outputs():
    inputs = keras.Input((8,))
    probability = layers.Dense(8, "sigmoid")(inputs)
    return keras.Model(inputs, [probability, layers.Dense(1)(probability)])


def a_generator_before_a_critic():
    generator = stack(layers.Dense(8, "sigmoid"))
    return stack(generator, stack(layers.Dense(1)))


class Own(layers.Layer):
    def call(self, inputs):
        return inputs * 2.0


@pytest.mark.parametrize(
    "make",
    [
        gated,
        gated_by_an_operation,
        highway_by_hand,
        two_outputs,
        a_generator_before_a_critic,
        lambda: stack(layers.Dense(4, "relu"), layers.Dense(1, "sigmoid")),
        lambda: stack(layers.Dense(4, "sigmoid"), Own(), layers.Dense(1)),
        lambda: stack(kt.layers.Highway("tanh"), layers.Dense(1)),
        lambda: keras.Sequential(
            [keras.Input((3, 2)), layers.LSTM(4), layers.Dense(1)]
        ),
    ],
)
def test_gates_and_probabilities_are_no_hidden_sigmoids(make):
    assert found("KT101", make()) == []


# KT102 --------------------------------------------------------------------------------


def test_glorot_with_relu_is_worth_a_thought():
    (finding,) = found(
        "KT102", stack(layers.Dense(8, "relu", name="a"), layers.Dense(1))
    )
    assert (finding.severity, finding.layers) == ("info", ("a",))
    assert 'kernel_initializer="he_normal"' in finding.fix
    assert finding.safe


def test_an_initializer_behind_an_activation_layer_is_judged_by_that():
    held = [layers.Dense(8, name="a"), layers.ReLU(), layers.Dense(1)]
    assert found("KT102", stack(*held))[0].layers == ("a",)


def test_selu_needs_lecun():
    (finding,) = found("KT102", stack(layers.Dense(64, "selu"), layers.Dense(1)))
    assert finding.severity == "warning"
    lecun = layers.Dense(64, "selu", kernel_initializer="lecun_uniform")
    assert found("KT102", stack(lecun, layers.Dense(1))) == []


def test_a_relu_layer_of_zeros_is_dead():
    dead = layers.Dense(8, "relu", kernel_initializer="zeros")
    (finding,) = found("KT102", stack(dead, layers.Dense(1)))
    assert finding.severity == "error"
    model = stack(layers.Dense(8, "tanh", kernel_initializer="ones"), layers.Dense(1))
    assert [one.severity for one in found("KT102", model)] == ["info"]


def test_a_kernel_many_times_too_large_explodes():
    # He: sqrt(2 / 8) = 0.5.
    for stddev, severities in ((2.6, ["warning"]), (2.4, [])):
        drawn = keras.initializers.RandomNormal(stddev=stddev)
        model = stack(
            layers.Dense(8, "relu", kernel_initializer=drawn), layers.Dense(1)
        )
        assert [one.severity for one in found("KT102", model)] == severities


def test_a_uniform_kernel_is_known_by_its_spread():
    # From -9 to 9 the standard deviation is 18 / sqrt(12) = 5.2; Glorot's is 0.35.
    drawn = keras.initializers.RandomUniform(-9.0, 9.0)
    model = stack(layers.Dense(8, "tanh", kernel_initializer=drawn), layers.Dense(1))
    assert len(found("KT102", model)) == 1


def test_he_before_tanh_is_worth_a_thought():
    he = layers.Dense(8, "tanh", kernel_initializer="he_normal")
    assert [one.severity for one in found("KT102", stack(he, layers.Dense(1)))] == [
        "info"
    ]


def test_a_trained_layer_is_not_drawn_anew():
    model = stack(layers.Dense(8, "relu"), layers.Dense(1))
    model.layers[0].bias.assign(np.ones(8))
    assert [one.safe for one in found("KT102", model)] == [False]


def residual_of_zeros():
    inputs = keras.Input((8,))
    branch = layers.Dense(8, kernel_initializer="zeros")(
        layers.Dense(8, "tanh")(inputs)
    )
    return keras.Model(inputs, layers.Dense(1)(inputs + branch))


@pytest.mark.parametrize(
    "make",
    [
        residual_of_zeros,
        lambda: stack(
            layers.Dense(8), layers.BatchNormalization(), layers.ReLU(), layers.Dense(1)
        ),
        lambda: stack(
            layers.Dense(8, "relu", kernel_initializer="he_normal"), layers.Dense(1)
        ),
        lambda: stack(layers.Dense(8, "tanh"), layers.Dense(1, "relu")),
        lambda: stack(
            layers.Dense(8, "tanh"), layers.Dense(1, kernel_initializer="zeros")
        ),
    ],
)
def test_a_suitable_initializer_is_left_alone(make):
    assert found("KT102", make()) == []


# KT103, KT104 -------------------------------------------------------------------------


def test_three_square_dense_layers_are_candidates_for_highway():
    held = [layers.Dense(8, "relu", name=f"h{i}") for i in range(3)]
    (finding,) = found("KT103", stack(*held, layers.Dense(1)))
    assert (finding.severity, finding.layers) == ("info", ("h0", "h1", "h2"))
    assert found("KT103", stack(*held[:2], layers.Dense(1))) == []


@pytest.mark.parametrize(
    ("units", "count"), [(31, 1), (32, 0), (128, 0), (512, 0), (513, 1)]
)
def test_a_recurrent_layer_far_from_128_is_told(units, count):
    for layer in (layers.GRU(units), layers.RNN(layers.LSTMCell(units))):
        model = keras.Sequential([keras.Input((3, 2)), layer])
        assert len(found("KT104", model)) == count


def test_recurrences_without_one_width_are_left_alone():
    stacked = layers.RNN([layers.LSTMCell(8), layers.LSTMCell(8)])
    model = keras.Sequential([keras.Input((3, 2)), stacked])
    assert found("KT104", model) == []
    maps = keras.Sequential([keras.Input((3, 4, 4, 1)), layers.ConvLSTM2D(2, 3)])
    assert found("KT104", maps) == []


def test_the_embedding_of_a_small_vocabulary_may_be_narrow():
    for words, count in ((500, 1), (499, 0)):
        model = keras.Sequential([keras.Input((3,)), layers.Embedding(words, 8)])
        assert len(found("KT104", model)) == count


# KT201 to KT204 -----------------------------------------------------------------------


def convolved(*held, shape=(8, 8, 3)):
    conv = layers.Conv2D(4, 3) if len(shape) == 3 else layers.Conv1D(4, 3)
    return keras.Sequential([keras.Input(shape), conv, *held])


def test_dropout_on_the_maps_of_a_convolution_is_told():
    pooled = [
        layers.MaxPooling2D(),
        layers.Dropout(0.25, name="drop"),
        layers.Flatten(),
    ]
    (finding,) = found("KT201", convolved(*pooled, layers.Dense(1)))
    assert (finding.severity, finding.layers) == ("warning", ("drop",))
    assert finding.fix == "keras.layers.SpatialDropout2D(0.25)"
    sequence = convolved(layers.Dropout(0.5), layers.GRU(2), shape=(8, 3))
    assert found("KT201", sequence)[0].fix == "keras.layers.SpatialDropout1D(0.5)"


@pytest.mark.parametrize(
    "held",
    [
        [layers.SpatialDropout2D(0.5), layers.Flatten()],
        [layers.Dropout(0.0), layers.Flatten()],
        [layers.Flatten(), layers.Dropout(0.5)],
        [layers.GlobalAveragePooling2D(keepdims=True), layers.Dropout(0.5)],
        [layers.Dropout(0.5, noise_shape=(None, 1, 1, 1)), layers.Flatten()],
        [layers.Reshape((36, 4)), layers.Dropout(0.5), layers.Flatten()],
    ],
)
def test_other_dropout_behind_a_convolution_is_left_alone(held):
    assert found("KT201", convolved(*held, layers.Dense(1))) == []


def test_dropout_between_convolutions_of_single_pixels_is_worth_a_thought():
    # The last layers of SqueezeNet, and a bottleneck.
    drop = layers.Dropout(0.5)
    head = convolved(drop, layers.Conv2D(10, 1), layers.GlobalAveragePooling2D())
    narrow = convolved(layers.Conv2D(2, 1), layers.Dropout(0.5), layers.Conv2D(4, 3))
    for model in (head, narrow):
        assert [one.severity for one in found("KT201", model)] == ["info"]


def test_dropout_behind_a_dense_layer_in_the_guise_of_a_convolution_is_left_alone():
    # As the feed-forward part of many transformers is written.
    held = [layers.Conv1D(4, 1, activation="relu"), layers.Dropout(0.2)]
    model = convolved(*held, layers.Conv1D(1, 1), shape=(8, 3))
    assert found("KT201", model) == []


def test_dropout_inside_the_recurrence_is_told():
    both = layers.Bidirectional(layers.GRU(4, recurrent_dropout=0.3), name="both")
    model = keras.Sequential([keras.Input((3, 2)), both, layers.Dense(1)])
    (finding,) = found("KT202", model)
    assert finding.severity == "warning"
    assert [path.split("/")[0] for path in finding.layers] == ["both", "both"]
    outside = keras.Sequential([keras.Input((3, 2)), layers.LSTM(4, dropout=0.3)])
    assert found("KT202", outside) == []


@pytest.mark.parametrize(
    "held",
    [
        [layers.Dense(2), layers.Dropout(0.5, name="drop")],
        [layers.Dense(2), layers.Dropout(0.5, name="drop"), layers.Softmax()],
        [layers.Dense(2), layers.Reshape((1, 2)), layers.Dropout(0.5, name="drop")],
    ],
)
def test_dropout_of_predictions_is_an_error(held):
    model = stack(*held)
    assert found("KT203", model) == [], "no loss, so these may be features"
    model.compile("sgd", "mse")
    (finding,) = found("KT203", model)
    assert (finding.severity, finding.layers) == ("error", ("drop",))


def test_dropout_before_the_last_layer_is_left_alone():
    model = stack(layers.Dense(4, "relu"), layers.Dropout(0.5), layers.Dense(2))
    model.compile("sgd", "mse")
    assert found("KT203", model) == []


def wide(*held, **options):
    return stack(layers.Dense(256, "relu", name="wide", **options), *held, width=100)


def test_a_wide_dense_layer_on_few_data_wants_dropout():
    # 100 x 256 weights are ten times 2560 rows.
    x = np.random.default_rng(0).normal(size=(2560, 100))
    model = wide(layers.Dense(1))
    (finding,) = found("KT204", model, x)
    assert (finding.severity, finding.layers) == ("warning", ("wide",))
    assert finding.message == "256 units, 2560 rows and no Dropout."
    assert found("KT204", model, np.concatenate([x, x[:1]])) == []
    stopping = [keras.callbacks.EarlyStopping()]
    (finding,) = found("KT204", model, x, callbacks=stopping)
    assert finding.severity == "info"


@pytest.mark.parametrize(
    "model",
    [
        lambda: wide(layers.Dropout(0.5), layers.Dense(1)),
        lambda: stack(
            layers.Dropout(0.5), layers.Dense(256, "relu"), layers.Dense(1), width=100
        ),
        lambda: wide(layers.Dense(1), kernel_regularizer="l2"),
        lambda: stack(layers.Dense(255, "relu"), layers.Dense(1), width=100),
    ],
)
def test_a_wide_layer_that_is_held_back_is_left_alone(model):
    assert found("KT204", model(), np.random.normal(size=(500, 100))) == []


def test_augmentation_in_the_model_holds_a_wide_layer_back():
    images = np.random.default_rng(0).normal(size=(500, 10, 10, 1))
    for first, count in ((layers.RandomFlip(), 0), (layers.Identity(), 1)):
        held = [first, layers.Flatten(), layers.Dense(256, "relu"), layers.Dense(1)]
        model = keras.Sequential([keras.Input((10, 10, 1)), *held])
        assert len(found("KT204", model, images)) == count


def test_an_autoencoder_is_left_alone():
    x = np.random.default_rng(0).normal(size=(500, 100))
    model = wide(layers.Dense(100))
    model.compile("adam", "mse")
    assert found("KT204", model, x, x.copy()) == []
    assert len(found("KT204", model, x, x[::-1])) == 1


def test_weight_decay_holds_a_wide_layer_back():
    model = wide(layers.Dense(1))
    model.compile(keras.optimizers.AdamW(1e-3), "mse")
    assert found("KT204", model, np.random.normal(size=(500, 100))) == []
