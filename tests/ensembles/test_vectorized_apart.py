"""A batch is padded only where its rows know nothing of each other."""

import keras
import lone_models as lone
import numpy as np
import pytest
from keras import layers, ops

from keras_tricks.ensembles._vectorized_apart import rows_are_apart


class Own(keras.Model):
    """A functional model by its looks."""

    def call(self, inputs, **kwargs):
        outputs = super().call(inputs, **kwargs)
        self.add_loss(ops.mean(outputs))
        return outputs


def _net(*hidden):
    return lone.net(*hidden, shape=(6, 4))


def _functional(function, kind=keras.Model):
    inputs = keras.Input((6, 4))
    return kind(inputs, function(inputs))


def _mixing(x):
    return x - ops.mean(x, axis=0, keepdims=True)


def _attention(x):
    return layers.MultiHeadAttention(2, 3)(x, x)


APART = {
    "dense": lone.dense,
    "recurrent": lambda: _net(layers.Bidirectional(layers.GRU(3))),
    "attention": lambda: _functional(_attention),
    "nested": lambda: keras.Sequential([keras.Input((6, 4)), _net()]),
    "normalized": lambda: _net(layers.LayerNormalization(), layers.Softmax()),
}
MIXED = {
    "an operation": lambda: _functional(lambda x: layers.Dense(1)(_mixing(x))),
    "one within": lambda: _functional(_functional(_mixing)),
    "a subclass": lambda: _functional(layers.Dense(1), Own),
    "Lambda": lambda: _net(layers.Lambda(lambda x: x)),
    "BatchNormalization": lambda: _net(layers.BatchNormalization()),
    "one over time": lambda: _net(layers.TimeDistributed(layers.BatchNormalization())),
    "own activation": lambda: _net(layers.Dense(3, activation=_mixing)),
    "axis of the rows": lambda: _net(layers.Softmax(axis=0)),
    "axis from the end": lambda: _net(layers.Softmax(axis=-3)),
    "no axis left": lambda: _functional(lambda x: x[:, 0, 0]),
    "Masking": lambda: _net(layers.Masking()),
    "activity": lambda: _net(layers.Dense(3, activity_regularizer="l2")),
}


def _told(model, loss, training=True):
    model.compile("sgd", loss)
    return rows_are_apart(model, training)


@pytest.mark.parametrize("name", APART)
def test_knows_the_models_whose_rows_are_apart(name):
    assert _told(APART[name](), "mse")


@pytest.mark.parametrize("name", MIXED)
def test_takes_no_other_model_for_one(name):
    assert not _told(MIXED[name](), "mse")


def test_batch_normalization_mixes_rows_in_training_alone():
    assert _told(MIXED["BatchNormalization"](), "mse", training=False)


def _own_loss(y, p):
    return ops.mean((y - p) ** 2)


@pytest.mark.parametrize(
    ("loss", "apart"),
    [
        ("mse", True),
        ("sparse_categorical_crossentropy", True),
        ("MeanSquaredError", True),
        ([keras.losses.Huber()], True),
        ("dice", False),
        ("tversky", False),
        ("circle", False),
        (keras.losses.Tversky(), False),
        (keras.losses.Circle(), False),
        (keras.losses.CosineSimilarity(axis=0), False),
        (keras.losses.SparseCategoricalCrossentropy(ignore_class=0), False),
        (keras.losses.MeanSquaredError(reduction="sum"), False),
        (_own_loss, False),
    ],
)
def test_knows_the_losses_that_are_a_mean_of_the_rows(loss, apart):
    assert _told(lone.dense(), loss) is apart


def test_rows_that_know_of_each_other_are_trained_as_alone():
    build = lone.compiled(
        lambda: lone.net(layers.Lambda(_mixing), shape=(4,)), keras.optimizers.SGD
    )
    rows = [np.arange(24), np.arange(16)]
    assert lone.largest_distance(build, lone.VECTORS, 2, rows, check=[0]) < 1e-6
