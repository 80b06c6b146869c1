import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_tricks as kt
from keras_tricks import _patterns
from keras_tricks.surgery.freeze import freeze, unfreeze

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = X.sum(1, keepdims=True)


def dense(name, units=4):
    return layers.Dense(units, name=name)


def nested():
    body = [
        keras.Input((4,)),
        dense("a"),
        layers.BatchNormalization(name="n"),
        dense("b"),
    ]
    body = keras.Sequential(body, name="body")
    inputs = keras.Input((4,))
    return keras.Model(inputs, dense("head", 1)(body(inputs)))


def weights(model):
    return [ops.convert_to_numpy(v.value).copy() for v in model.variables]


def trained_names(model):
    owners = _patterns.variable_paths(model)
    trained = {id(v) for v in model.trainable_variables}
    return sorted(f"{o[0]}/{v.name}" for v, o in owners if id(v) in trained)


HEAD = ["head/bias", "head/kernel"]
A = ["body/a/bias", "body/a/kernel"]
B = ["body/b/bias", "body/b/kernel"]


def test_frozen_layers_stand_still_and_the_others_learn():
    model = nested()
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    before = weights(model)
    new = freeze(model, "body")
    assert trained_names(new) == HEAD
    new.fit(X, Y, epochs=2, verbose=0)
    after = weights(new)
    same = [np.array_equal(*pair) for pair in zip(before, after, strict=True)]
    assert same == [True] * 8 + [False] * 2
    for one, other in zip(before, weights(model), strict=True):
        assert np.array_equal(one, other)
    assert len(model.trainable_variables) == 8


def test_the_optimizer_keeps_the_slots_of_what_is_still_trained():
    model = nested()
    model.compile("adam", "mse")
    model.fit(X, Y, batch_size=2, verbose=0)
    new = freeze(model, "body/.*")
    assert int(new.optimizer.iterations) == 4
    assert len(new.optimizer.variables) == 2 + 2 * 2
    for ours, theirs in zip(
        model.optimizer._velocities[-2:], new.optimizer._velocities, strict=True
    ):
        ours, theirs = (ops.convert_to_numpy(v.value) for v in (ours, theirs))
        assert ours.any()
        assert np.array_equal(ours, theirs)


def test_a_weight_that_is_new_to_an_average_begins_it():
    model = freeze(nested(), "body/a")
    model.compile(keras.optimizers.SGD(0.01, use_ema=True), "mse")
    model.fit(X, Y, verbose=0)
    new = unfreeze(model, "body/a")
    average = new.optimizer._model_variables_moving_average[0]
    kernel = new.get_layer("body").get_layer("a").kernel
    ours, theirs = (ops.convert_to_numpy(v.value) for v in (average, kernel))
    assert np.array_equal(ours, theirs)


def test_the_plan_counts_parameters():
    table = freeze(nested(), ["body/a", "body/n"], plan=True)
    assert table.parameters == 4 * 4 + 4 + 2 * 4
    assert str(table).splitlines()[:3] == [
        "28 parameters",
        "weight         parameters",
        "body/a/kernel  16",
    ]


def test_what_is_frozen_already_is_not_counted_again():
    model = freeze(nested(), "body/a")
    assert freeze(model, "body", plan=True).parameters == 8 + 20


def test_unfreezing_inside_a_frozen_model_frees_nothing_else():
    model = nested()
    model.get_layer("body").trainable = False
    new = unfreeze(model, "body/b")
    assert trained_names(new) == B + HEAD
    assert new.get_layer("body").trainable is True
    assert unfreeze(model, "body/b", plan=True).parameters == 20


def test_unfreezing_sees_through_flags_that_did_not_count():
    model = nested()
    model.trainable = False
    model.get_layer("body").get_layer("a").trainable = True
    assert trained_names(model) == []
    assert trained_names(unfreeze(model, "head")) == HEAD
    assert trained_names(unfreeze(model, "body/a")) == A
    assert len(unfreeze(model, ".*").trainable_variables) == 8


def test_moving_statistics_are_never_trained():
    model = unfreeze(freeze(nested(), ".*"), ".*")
    assert "body/n/moving_mean" not in trained_names(model)
    assert trained_names(model) == trained_names(nested())


def test_a_weight_that_was_frozen_by_itself_stays_so():
    model = nested()
    model.get_layer("head").bias.trainable = False
    model.get_layer("body").trainable = False
    assert trained_names(unfreeze(model, "body/a")) == [*A, "head/kernel"]


def test_a_shared_layer_is_frozen_wherever_it_is_used():
    shared = dense("shared")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, dense("head", 1)(shared(shared(inputs))))
    assert trained_names(freeze(model, "shared")) == HEAD


def test_layers_inside_a_wrapper_can_be_frozen():
    inputs = keras.Input((3, 4))
    read = layers.Bidirectional(layers.GRU(2, name="gru"), name="read")
    model = keras.Model(inputs, dense("head", 1)(read(inputs)))
    new = freeze(model, "read/forward_gru")
    assert len(new.trainable_variables) == 3 + 2
    assert trained_names(unfreeze(new, "read")) == trained_names(model)


def test_nothing_to_do_warns():
    model = nested()
    with pytest.warns(
        kt.NoEffectWarning,
        match=r"unfreeze has no effect on .*: the layers that 'body' names have no "
        r"weights that are not trained already\. The copy is like the model\.",
    ):
        unfreeze(model, "body")
    with pytest.warns(kt.NoEffectWarning, match="that are not frozen already"):
        freeze(freeze(model, "body"), "body")


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"`pattern` must name layers of the model"):
        freeze(nested(), "tail")
    with pytest.raises(TypeError, match=r"`pattern` must name layers by regular"):
        unfreeze(nested(), [3])
    with pytest.raises(TypeError, match=r"`model` must be a built keras\.Model"):
        freeze(3, "a")


def test_the_flags_survive_saving(tmp_path):
    new = freeze(nested(), "body/a")
    new.save(tmp_path / "new.keras")
    again = keras.models.load_model(tmp_path / "new.keras")
    assert trained_names(again) == trained_names(new)


def test_patterns_of_layer_wise_rates_hold_for_the_new_model():
    model = nested()
    rates = kt.optimizers.LayerwiseLearningRate(
        keras.optimizers.SGD(0.1), {"body/a": 0.5, "body/b": 0.25}
    )
    model.compile(rates, "mse")
    model.fit(X, Y, verbose=0)
    assert model.optimizer.current_multipliers == [0.5, 0.5, 1, 1, 0.25, 0.25, 1, 1]
    model.optimizer.set_multiplier("body/b", 0.125)
    new = freeze(model, "body/n")
    assert new.optimizer.current_multipliers == [0.5, 0.5, 0.125, 0.125, 1, 1]


def test_an_optimizer_that_has_nothing_left_to_train_gives_no_alarm():
    groups = keras.optimizers.OptimizerMap(
        keras.optimizers.SGD(0.1), {".*/kernel": keras.optimizers.Adam(0.1)}
    )
    model = keras.Sequential([keras.Input((4,)), dense("a"), dense("out", 1)])
    model.compile(keras.optimizers.MultiOptimizer(groups), "mse")
    model.fit(X, Y, verbose=0)
    model.get_layer("a").bias.trainable = True
    frozen = freeze(model, ["a", "out"])
    assert not frozen.trainable_variables
