"""Members made alike that are asked in one operation."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks import _backend
from keras_tricks.ensembles import Ensemble, _together, monte_carlo_predict

X = np.random.default_rng(0).normal(size=(6, 5, 4)).astype("float32")


def sequential(first=layers.Flatten):
    return keras.Sequential(
        [
            keras.Input((5, 4)),
            first(),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(2, activation="softmax"),
        ]
    )


def functional(first="relu", second="tanh"):
    inputs = keras.Input((5, 4))
    flat = layers.Flatten()(inputs)
    branches = [layers.Dense(4, activation=kind)(flat) for kind in (first, second)]
    both = layers.Concatenate()([*branches, branches[0]])
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(both))


def drawn(model, seed):
    random = np.random.default_rng(seed)
    # Above 0, for the moments of a BatchNormalization are among them.
    model.set_weights([random.uniform(0.1, 1, w.shape) for w in model.get_weights()])
    return model


def family(make, size=3):
    return [drawn(make(), seed) for seed in range(size)]


@pytest.fixture
def asked(monkeypatch):
    """How many models are asked together; on every backend they are, if they can."""
    sizes, ask = [], _together._ask

    def noted(models, inputs):
        sizes.append(len(models))
        return ask(models, inputs)

    monkeypatch.setattr(_together, "_ask", noted)
    monkeypatch.setattr(_backend, "asks_together", lambda: True)
    return sizes


def recurrent():
    return sequential(lambda: layers.LSTM(3))


RECURRENT = pytest.param(
    recurrent,
    marks=pytest.mark.backend("torch", "jax", reason="TensorFlow maps none"),
)


@pytest.mark.parametrize("make", [sequential, functional, RECURRENT])
def test_together_they_answer_as_each_does(asked, make):
    models = family(make)
    alone = np.mean([model.predict(X, verbose=0) for model in models], axis=0)
    together = Ensemble(models).predict(X, verbose=0)
    assert asked
    assert set(asked) == {3}
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_new_weights_are_seen(asked):
    models = family(functional)
    ensemble = Ensemble(models)
    ensemble.predict(X, verbose=0)
    drawn(models[1], 9)
    alone = np.mean([model.predict(X, verbose=0) for model in models], axis=0)
    np.testing.assert_allclose(ensemble.predict(X, verbose=0), alone, rtol=1e-5)


def adapted():
    normalize = layers.Normalization()
    normalize.adapt(X)
    return keras.Sequential([keras.Input((5, 4)), normalize, layers.Dense(2)])


def named():
    inputs = keras.Input((5, 4), name="mine")
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(inputs)))


class Doubled(layers.Layer):
    def call(self, inputs):
        return inputs * 2


@pytest.mark.parametrize(
    "models",
    [
        lambda: [functional(), functional("tanh", "relu")],
        lambda: [functional(), sequential()],
        lambda: [functional()] * 2,
        lambda: [functional(), functional(second="relu")],
        lambda: [adapted(), adapted()],
        lambda: [keras.Sequential([keras.Input((5, 4)), Doubled()])] * 2,
        lambda: [
            keras.Sequential([keras.Input((5, 4)), Doubled(), layers.Dense(2)])
            for _ in range(2)
        ],
    ],
    ids=["crossed", "kinds", "one", "other", "adapted", "same", "unknown"],
)
def test_those_that_differ_or_are_unknown_are_asked_in_turn(models):
    assert _together._groups(models()) == []


def test_alike_are_grouped_whatever_their_names():
    one, two = named(), functional()
    assert _together._groups([two, one, functional(), named(), two]) == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("weights", "rows", "worth"),
    [(100_000, 100, True), (100_000, 101, False), (100_001, 1, False)],
)
def test_only_small_models_and_batches_are_worth_it(weights, rows, worth):
    model = keras.Sequential([keras.Input((weights,)), layers.Dense(1, use_bias=False)])
    assert _together._worth_it(model, np.zeros((rows, weights), "int8")) == worth


def test_what_cannot_be_done_together_is_done_in_turn(monkeypatch, asked):
    def failing(models, inputs):
        asked.append(len(models))
        raise RuntimeError("no such operation")

    models = family(functional)
    monkeypatch.setattr(_together, "_ask", failing)
    ensemble = Ensemble(models)
    alone = np.mean([model.predict(X, verbose=0) for model in models], axis=0)
    for _ in range(2):
        np.testing.assert_allclose(ensemble.predict(X, verbose=0), alone, rtol=1e-6)
    # Tried once.
    assert asked == [3]


def test_dropout_that_is_kept_on_draws_in_every_member(asked):
    ensemble = Ensemble(family(sequential))
    _, variance = monte_carlo_predict(ensemble, X, samples=4, seed=1)
    assert not asked
    assert variance.max() > 0


def test_training_asks_each(asked):
    ensemble = Ensemble(family(functional))
    ensemble(keras.ops.convert_to_tensor(X), training=True)
    assert not asked


@pytest.mark.backend("torch", reason="on the others it is one program already")
def test_gradients_are_those_of_each():
    models = family(functional)
    ensemble = Ensemble(models)
    x = keras.ops.convert_to_tensor(X).requires_grad_()
    (ensemble(x) ** 2).sum().backward()
    together, x.grad = x.grad, None
    (sum(model(x) for model in models) / 3).pow(2).sum().backward()
    np.testing.assert_allclose(together.numpy(), x.grad.numpy(), rtol=1e-4, atol=1e-7)
