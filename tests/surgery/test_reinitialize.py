import random

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_tricks as kt
from keras_tricks.layers.highway import Highway
from keras_tricks.surgery.reinitialize import reinitialize


def host(variable):
    return np.array(ops.convert_to_numpy(variable.value))


def stack(*inner, inputs=(4,)):
    return keras.Sequential([keras.Input(inputs), *inner])


def wide(*behind, activation=None):
    """A kernel of 300 x 500, so that its spread is known to a percent."""
    first = layers.Dense(500, activation, name="first", kernel_initializer="zeros")
    return stack(first, *behind, layers.Dense(1), inputs=(300,))


HE, GLOROT, LECUN = (np.sqrt(2 / fans) for fans in (300, 800, 600))


def spread(model):
    return host(model.get_layer("first").kernel).std()


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        *((name, HE) for name in ("relu", "relu6", "leaky_relu", "elu", "celu")),
        *((name, HE) for name in ("gelu", "silu", "swish", "hard_silu", "mish")),
        ("selu", LECUN),
        *((name, GLOROT) for name in ("tanh", "sigmoid", "softmax", "softplus", None)),
    ],
)
def test_the_activation_of_the_layer_decides(activation, expected):
    new = reinitialize(wide(activation=activation), "first", seed=1)
    assert spread(new) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        ([layers.ReLU], HE),
        ([lambda: layers.Activation("selu")], LECUN),
        ([layers.BatchNormalization, layers.PReLU], HE),
        ([lambda: layers.Dropout(0.1), layers.LeakyReLU], HE),
        ([lambda: layers.Activation("tanh"), layers.ReLU], GLOROT),
        ([lambda: layers.Dense(3, "relu")], GLOROT),
    ],
)
def test_the_first_nonlinearity_behind_the_layer_decides(behind, expected):
    new = reinitialize(wide(*(make() for make in behind)), "first", seed=1)
    assert spread(new) == pytest.approx(expected, rel=0.02)


def test_an_operation_behind_a_sum_decides_too():
    inputs = keras.Input((300,))
    first = layers.Dense(500, name="first")(inputs)
    x = ops.relu(first + layers.Dense(500)(inputs))
    new = reinitialize(keras.Model(inputs, layers.Dense(1)(x)), "first", seed=1)
    assert spread(new) == pytest.approx(HE, rel=0.02)


def test_a_convolution_counts_its_window():
    conv = layers.Conv2D(64, 3, activation="relu", name="first")
    model = stack(conv, layers.Flatten(), layers.Dense(1), inputs=(4, 4, 32))
    new = reinitialize(model, "first", seed=1)
    assert spread(new) == pytest.approx(np.sqrt(2 / (9 * 32)), rel=0.02)


def test_the_transform_of_a_highway_layer_is_drawn_for_its_activation():
    model = stack(Highway("relu", name="h"), layers.Dense(1), inputs=(300,))
    layer = reinitialize(model, "h", seed=1).get_layer("h")
    assert host(layer.kernel).std() == pytest.approx(HE, rel=0.02)
    assert (host(layer.gate_bias) == -2).all()


def small():
    return stack(
        layers.Dense(4, "relu", bias_initializer="ones", name="a"),
        layers.BatchNormalization(name="n"),
        layers.Dense(4, "relu", bias_initializer="ones", name="b"),
        layers.Dense(1, name="out"),
    )


X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32") * 3 + 1


def trained():
    model = small()
    model.compile("adam", "mse")
    model.fit(X, X.sum(1), batch_size=2, verbose=0)
    return model


def test_chosen_layers_begin_anew_and_the_others_keep_all():
    model = trained()
    before = [host(v) for v in model.variables]
    new = reinitialize(model, ["n", "b"], seed=1)
    for variable, value in zip(model.variables, before, strict=True):
        assert np.array_equal(host(variable), value)
    same = [
        np.array_equal(host(v), host(w))
        for v, w in zip(model.variables, new.variables, strict=True)
    ]
    assert same == [True] * 2 + [False] * 6 + [True] * 2
    norm = new.get_layer("n")
    for variable, value in (
        (norm.gamma, 1), (norm.beta, 0), (norm.moving_mean, 0),
        (norm.moving_variance, 1), (new.get_layer("b").bias, 1),
    ):  # fmt: skip
        assert (host(variable) == value).all()


def test_slots_of_fresh_weights_are_reset_and_the_others_kept():
    model = trained()
    new = reinitialize(model, "b", seed=1)
    assert int(new.optimizer.iterations) == 4
    for name in ("_momentums", "_velocities"):
        pairs = zip(
            getattr(model.optimizer, name), getattr(new.optimizer, name), strict=True
        )
        for position, (ours, theirs) in enumerate(pairs):
            fresh = position in (4, 5)
            assert not host(theirs).any() if fresh else True
            assert np.array_equal(host(ours), host(theirs)) is not fresh
    new.fit(X, X.sum(1), verbose=0)


def test_a_seed_gives_the_same_again_and_each_layer_its_own():
    model = stack(*(layers.Dense(4, name=f"d{i}") for i in range(3)))
    one, two, other = (reinitialize(model, "d.*", seed=s) for s in (7, 7, 8))
    kernels = [[host(la.kernel) for la in m.layers] for m in (one, two, other)]
    assert all(np.array_equal(a, b) for a, b in zip(*kernels[:2], strict=True))
    distinct = {k.tobytes() for kernel in (kernels[0], kernels[2]) for k in kernel}
    assert len(distinct) == 6


def test_a_seed_holds_for_the_layers_own_initializers_too():
    model = stack(layers.LSTM(3, name="r"), layers.Dense(1), inputs=(2, 4))
    drawn = [reinitialize(model, "r", seed=s).get_weights()[1] for s in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    np.testing.assert_allclose(drawn[0] @ drawn[0].T, np.eye(3), atol=1e-5)


def test_a_seed_leaves_the_global_random_numbers_alone():
    model = small()
    state = random.getstate()
    reinitialize(model, "b", seed=1)
    assert random.getstate() == state


def test_without_a_seed_each_call_draws_anew():
    model = small()
    one, two = (host(reinitialize(model, "b").get_layer("b").kernel) for _ in range(2))
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("seed", [None, 3])
def test_a_given_initializer_draws_other_numbers_for_each_kernel(seed):
    model = stack(
        *(layers.Dense(300, "relu", name=f"d{i}") for i in range(2)), inputs=(300,)
    )
    given = keras.initializers.RandomNormal(stddev=0.5)
    new = reinitialize(model, ".*", given, seed=seed)
    one, two = (host(layer.kernel) for layer in new.layers)
    assert one.std() == pytest.approx(0.5, rel=0.02)
    assert not np.array_equal(one, two)
    assert (host(new.layers[0].bias) == 0).all()


def test_an_initializer_may_be_a_name_and_reaches_recurrent_kernels():
    model = stack(layers.GRU(3, name="r"), layers.Dense(1), inputs=(2, 4))
    kernel, recurrent, _ = reinitialize(model, "r", "ones").get_weights()[:3]
    assert (kernel == 1).all()
    np.testing.assert_allclose(np.linalg.norm(recurrent, axis=1), np.sqrt(1), atol=1e-5)


def test_an_adapted_normalization_keeps_what_it_knows():
    norm = layers.Normalization(name="norm")
    norm.adapt(np.array([[1.0], [3.0]]))
    model = stack(norm, layers.Dense(1, name="d"), inputs=(1,))
    new = reinitialize(model, ".*", "zeros")
    assert float(host(new.get_layer("norm").variables[0])[0]) == 2.0
    assert (host(new.get_layer("d").kernel) == 0).all()


def test_a_layer_in_a_wrapper_is_drawn_for_what_follows():
    timed = layers.TimeDistributed(layers.Dense(500, "relu"), name="t")
    model = stack(timed, layers.Flatten(), layers.Dense(1), inputs=(2, 300))
    kernel = reinitialize(model, "t", seed=1).get_weights()[0]
    assert kernel.std() == pytest.approx(HE, rel=0.02)


def test_layers_without_weights_have_no_effect():
    model = stack(layers.Dense(2), layers.ReLU(name="r"))
    with pytest.warns(
        kt.NoEffectWarning,
        match=r"reinitialize has no effect on .*: the layers that 'r' names have no "
        r"weights to draw\. The copy is like the model\.",
    ):
        reinitialize(model, "r")


def test_an_unknown_layer_is_an_error_that_names_the_last_dense_layers():
    with pytest.raises(
        ValueError,
        match=r"`layers` must name layers of the model\. Received: 'last', .* The last "
        r"fully connected layers, from the output down: out, b, a\.",
    ):
        reinitialize(small(), "last")
    with pytest.raises(ValueError, match=r"none of lstm.* Did you mean 'lstm.*'\?$"):
        reinitialize(stack(layers.LSTM(2, name="lstm"), inputs=(2, 3)), "last")


def test_arguments_are_checked():
    model = small()
    with pytest.raises(
        ValueError, match=r"`initializer` must be .*Did you mean 'HeNormal'\?"
    ):
        reinitialize(model, "b", "HeNormla")
    with pytest.raises(TypeError, match=r"`seed` must be an integer"):
        reinitialize(model, "b", seed=0.5)
    with pytest.raises(ValueError, match=r"`seed` must be an integer from 0"):
        reinitialize(model, "b", seed=-1)
    with pytest.raises(TypeError, match=r"`layers` must name layers by regular"):
        reinitialize(model, [3])


def test_a_function_may_be_the_initializer():
    new = reinitialize(small(), "b", lambda shape, dtype: ops.full(shape, 3.0, dtype))
    assert (host(new.get_layer("b").kernel) == 3).all()


@pytest.mark.parametrize("bad", [None, 3, [], "layer"])
def test_says_what_no_pattern_is(bad):
    model = stack(layers.Dense(4, name="a"), layers.Dense(1, name="out"))
    given = model.get_layer("out") if bad == "layer" else bad
    hint = "give its path, 'out'" if bad == "layer" else '".*" names all'
    error = ValueError if bad == [] else TypeError
    text = f"`layers` must be a pattern of layer names, .*Received: layers=.*; {hint}"
    with pytest.raises(error, match=text):
        reinitialize(model, given)


def test_a_quantized_layer_is_refused():
    model = stack(layers.Dense(4, name="a"), layers.Dense(1, name="out"))
    for layer in model.layers:
        layer.quantize("int8")
    with pytest.raises(ValueError, match=r"'out', quantized to int8; begin from"):
        reinitialize(model, "out")


def test_an_embedding_is_drawn_by_the_initializer_that_is_given():
    words = layers.Embedding(3, 2, name="words")
    model = stack(words, layers.Flatten(), layers.Dense(1), inputs=(2,))
    vectors = {"a": [1.0, 2.0], "b": [3.0, 5.0]}
    start = kt.initializers.WordVectors(vectors, ["", "a", "b"], scale=None)
    new = reinitialize(model, "words", start)
    table = host(new.get_layer("words").embeddings)
    assert table.tolist() == [[0.0, 0.0], [1.0, 2.0], [3.0, 5.0]]
