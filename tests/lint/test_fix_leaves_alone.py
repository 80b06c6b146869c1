"""What `fix` must not touch: layers and losses that only seem to be the wrong ones."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_tricks as kt
from keras_tricks import lint

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 4)).astype("float32")


def numbers(variable):
    return np.array(keras.ops.convert_to_numpy(variable))


def safe(model, code):
    return [(one.layers, one.safe) for one in lint.check(model).filter(code=code)]


def model_of(*held, optimizer="adam", loss="mse", shape=(4,)):
    model = keras.Sequential([keras.Input(shape), *held])
    model.compile(optimizer, loss)
    return model


# Optimizers ---------------------------------------------------------------------------


def test_decay_is_mended_twice_where_exclusions_are_lost_and_scales_are_decayed():
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["gamma"])
    held = [layers.Dense(3), layers.BatchNormalization(), layers.Dense(1)]
    model = model_of(*held, optimizer=optimizer)
    model.fit(X, X[:, :1], batch_size=20, verbose=0)
    report = lint.check(model).filter(code="KT21")
    assert sorted(one.code for one in report) == ["KT213", "KT214"]
    new = lint.fix(model, report, verbose=0)
    names = [variable.name for variable in new.trainable_variables]
    kept = [n for i, n in enumerate(names) if i not in new.optimizer.excluded]
    # The kernels only: gamma as it was told, biases and beta as they should be.
    assert names == ["kernel", "bias", "gamma", "beta", "kernel", "bias"]
    assert kept == ["kernel", "kernel"]
    assert list(lint.check(new).filter(code="KT21")) == []
    assert int(new.optimizer.iterations) == 2
    assert type(new.optimizer.inner).__name__ == "AdamW"
    slots = [[numbers(v) for v in one.optimizer.variables] for one in (model, new)]
    assert all(map(np.array_equal, *slots))
    new.fit(X, X[:, :1], verbose=0)
    # The old one was left as it is.
    assert [one.code for one in lint.check(model).filter(code="KT214")] == ["KT214"]


# Kernels ------------------------------------------------------------------------------


def hidden(units=200, **options):
    return [layers.Dense(units, "relu", name="a", **options), layers.Dense(1)]


def test_kernels_as_they_were_drawn_are_fresh_with_a_bias_or_without():
    for held in (hidden(), hidden(use_bias=False), hidden(8000)):
        model = model_of(*held, shape=(140,))
        assert safe(model, "KT102") == [(("a",), True)]


def test_kernels_that_lsuv_has_scaled_are_not_drawn_anew():
    x = RANDOM.normal(size=(64, 100)).astype("float32")
    model = model_of(*hidden(), shape=(100,))
    model = kt.surgery.lsuv(model, x)
    assert safe(model, "KT102") == [(("a",), False)]


@pytest.mark.parametrize("units", [200, 8000])
def test_kernels_that_were_set_or_frozen_are_not_drawn_anew(units):
    frozen = model_of(*hidden(units, trainable=False), shape=(140,))
    assert safe(frozen, "KT102") == [(("a",), False)]
    given = model_of(*hidden(units), shape=(140,))
    kernel = given.layers[0].kernel
    kernel.assign(1.5 * numbers(kernel))
    assert safe(given, "KT102") == [(("a",), False)]


def test_kernels_with_lora_are_not_drawn_anew():
    model = model_of(*hidden(), shape=(100,))
    model.layers[0].enable_lora(2)
    model.compile("adam", "mse")
    assert safe(model, "KT102") == [(("a",), False)]


# Dropout ------------------------------------------------------------------------------


def test_a_dropout_that_maps_and_units_share_stays_as_it_is():
    drop = layers.Dropout(0.5, name="drop")
    inputs = keras.Input((8, 8, 3))
    x = layers.Flatten()(drop(layers.Conv2D(4, 3)(inputs)))
    x = drop(layers.Dense(16, "relu")(x))
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile("adam", "mse")
    assert safe(model, "KT201") == [(("drop",), False)]


def test_a_dropout_that_hidden_layers_and_the_output_share_is_not_taken_out():
    drop = layers.Dropout(0.5, name="drop")
    inputs = keras.Input((8,))
    outputs = drop(layers.Dense(1)(drop(layers.Dense(16, "relu")(inputs))))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "mse")
    assert safe(model, "KT203") == [(("drop",), False)]


def test_a_dropout_in_a_model_that_is_called_twice_becomes_spatial():
    held = [layers.Conv2D(4, 3), layers.Dropout(0.5, name="drop"), layers.Flatten()]
    inner = keras.Sequential([keras.Input((8, 8, 3)), *held], name="inner")
    inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    merged = layers.Concatenate()([inner(one) for one in inputs])
    model = keras.Model(inputs, layers.Dense(1)(merged))
    model.compile("adam", "mse")
    assert safe(model, "KT201") == [(("inner/drop",), True)]
    new = lint.fix(model, lint.check(model).filter(code="KT201"), verbose=0)
    drop = new.get_layer("inner").get_layer("drop")
    assert isinstance(drop, layers.SpatialDropout2D)


def test_spatial_dropout_goes_on_with_the_seed_and_where_it_was():
    drop = layers.Dropout(0.5, seed=3, name="drop")
    model = model_of(
        layers.Conv1D(4, 3), drop, layers.Flatten(), layers.Dense(1), shape=(8, 2)
    )
    model(np.zeros((1, 8, 2)), training=True)
    new = lint.fix(model, lint.check(model).filter(code="KT201"), verbose=0)
    spatial = new.get_layer("drop")
    assert (type(spatial), spatial.seed) == (layers.SpatialDropout1D, 3)
    states = [numbers(one.seed_generator.state) for one in (spatial, drop)]
    assert np.array_equal(*states)


def test_maps_at_each_step_are_left_to_the_user():
    held = [
        layers.TimeDistributed(layers.Conv2D(4, 3)),
        layers.Dropout(0.3),
        layers.TimeDistributed(layers.Flatten()),
        layers.GRU(32),
        layers.Dense(1),
    ]
    (finding,) = lint.check(model_of(*held, shape=(5, 8, 8, 3))).filter(code="KT201")
    inner = "keras.layers.SpatialDropout2D(0.3)"
    assert finding.fix == f"keras.layers.TimeDistributed({inner})"
    assert not finding.safe


def test_maps_of_several_ranks_are_told_and_mended_each_by_itself():
    images, steps = keras.Input((8, 8, 3)), keras.Input((8, 3))
    two = layers.Dropout(0.2, name="two")(layers.Conv2D(4, 3)(images))
    one = layers.Dropout(0.4, name="one")(layers.Conv1D(4, 3)(steps))
    merged = layers.Concatenate()([layers.Flatten()(two), layers.Flatten()(one)])
    model = keras.Model([images, steps], layers.Dense(1)(merged))
    model.compile("adam", "mse")
    report = lint.check(model).filter(code="KT201")
    assert sorted((one.layers, one.fix) for one in report) == [
        (("one",), "keras.layers.SpatialDropout1D(0.4)"),
        (("two",), "keras.layers.SpatialDropout2D(0.2)"),
    ]
    new = lint.fix(model, report, verbose=0)
    kinds = [type(new.get_layer(name)) for name in ("one", "two")]
    assert kinds == [layers.SpatialDropout1D, layers.SpatialDropout2D]


# Losses -------------------------------------------------------------------------------


def test_of_outputs_that_share_a_head_only_the_wrong_loss_is_turned_round():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    head = layers.Dense(3, "softmax")
    model = keras.Model(inputs, [head(one) for one in inputs])
    wrong = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile("adam", [wrong, keras.losses.CategoricalCrossentropy()])
    report = lint.check(model).filter(code="KT30")
    assert [one.code for one in report] == ["KT301"]
    new = lint.fix(model, report, verbose=0)
    assert [loss.from_logits for loss in new.loss] == [False, False]


def test_two_wrong_losses_of_one_head_are_both_turned_round():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    head = layers.Dense(3)
    model = keras.Model(inputs, [head(one) for one in inputs])
    model.compile("adam", ["categorical_crossentropy"] * 2)
    new = lint.fix(model, lint.check(model).filter(code="KT302"), verbose=0)
    assert [loss.from_logits for loss in new.loss] == [True, True]


# Recurrence ---------------------------------------------------------------------------


def test_dropout_in_the_cells_of_a_recurrence_is_found_and_mended():
    cells = [layers.LSTMCell(32, recurrent_dropout=0.3), layers.LSTMCell(32)]
    for cell in (cells[0], cells):
        rnn = layers.RNN(cell, name="rnn")
        optimizer = keras.optimizers.Adam(clipnorm=1.0)
        model = model_of(rnn, layers.Dense(1), optimizer=optimizer, shape=(3, 2))
        assert safe(model, "KT202") == [(("rnn",), True)]
        new = lint.fix(model, lint.check(model).filter(code="KT202"), verbose=0)
        assert list(lint.check(new).filter(code="KT202")) == []
        x = RANDOM.normal(size=(5, 3, 2)).astype("float32")
        np.testing.assert_allclose(
            numbers(new(x)), numbers(model(x)), rtol=1e-5, atol=1e-6
        )


class OwnCell(layers.LSTMCell):
    pass


def test_dropout_in_a_cell_of_ones_own_is_left_to_the_user():
    rnn = layers.RNN(OwnCell(32, recurrent_dropout=0.3), name="rnn")
    model = model_of(rnn, layers.Dense(1), shape=(3, 2))
    assert safe(model, "KT202") == [(("rnn",), False)]
