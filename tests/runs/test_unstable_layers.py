"""What makes two predictions differ is named, and nothing else."""

import keras
import numpy as np
import pytest

import keras_tricks as kt

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


class LeftOn(keras.layers.Dropout):
    def call(self, inputs):
        return super().call(inputs, training=True)


class Unseeded(keras.layers.Layer):
    """Draws from NumPy, as no compiled program would notice."""

    def call(self, inputs):
        return inputs + float(np.random.random())


def names(model):
    return [(row.layer, row.reason) for row in kt.runs.unstable_layers(model, X)]


def sequential(*layers):
    return keras.Sequential([keras.Input((4,)), *layers])


def test_an_ordinary_model_is_stable():
    layers = keras.layers
    model = sequential(
        layers.Dropout(0.5), layers.BatchNormalization(), layers.GaussianNoise(1.0)
    )
    report = kt.runs.unstable_layers(model, X)
    assert (len(report), str(report)) == (0, "both predictions are the same")


def test_dropout_left_on_is_found_inside_a_nested_model():
    inner = sequential(keras.layers.Dense(3), LeftOn(0.5, name="on"))
    inner.name = "inner"
    model = sequential(inner, keras.layers.Dense(1))
    assert names(model) == [
        ("inner/on", "draws random numbers also outside of training")
    ]


def test_training_given_in_the_graph_counts_for_calls():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dropout(0.5, name="on")(inputs, training=True)
    model = keras.Model(inputs, hidden)
    report = kt.runs.unstable_layers(model, X)
    assert report.summary == "two calls of the model differ because of 'on'"


def test_random_numbers_without_a_generator_are_found():
    reason = "draws random numbers without a seed generator, or remembers earlier calls"
    model = sequential(Unseeded(name="noise"), LeftOn(0.5, name="on"))
    # The second one is downstream: its inputs differ too.
    assert names(model) == [("noise", reason)]


def test_a_model_that_draws_itself_is_named():
    class Own(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.head = keras.layers.Dense(1)
            self.seeds = keras.random.SeedGenerator(1)

        def call(self, x):
            return self.head(x) + keras.random.normal((1,), seed=self.seeds)

    model = Own()
    model(X)
    assert [row.layer for row in kt.runs.unstable_layers(model, X)] == ["own"]


def test_the_model_is_given_back():
    model = sequential(LeftOn(0.5))
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]
    kt.runs.unstable_layers(model, X)
    after = [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]
    assert all(map(np.array_equal, before, after))
    assert "call" not in vars(model.layers[0])


def test_an_unbuilt_model_is_refused():
    with pytest.raises(ValueError, match="`model` must be built"):
        kt.runs.unstable_layers(keras.Sequential([keras.layers.Dense(1)]), X)
