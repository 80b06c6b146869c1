import json
import math
import os

import keras
import numpy as np
import pytest
from keras.callbacks import BackupAndRestore, LearningRateScheduler

import keras_tricks as kt
from keras_tricks.callbacks.switch_optimizer import SwitchOptimizer

SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(32, 4)).astype("float32")
Y = RANDOM.normal(size=(32, 1)).astype("float32")
SLOW = pytest.mark.slow
FIT = {"batch_size": 8, "shuffle": False, "verbose": 0}


def build(optimizer="adam", loss="mse", **compile_arguments):
    keras.utils.set_random_seed(3)
    hidden = keras.layers.Dense(6, activation="tanh", name="low")
    model = keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(1)])
    model.compile(optimizer, loss, **compile_arguments)
    return model


def fit(model, epochs, *callbacks, **arguments):
    arguments = {**FIT, "epochs": epochs, "callbacks": list(callbacks), **arguments}
    return model.fit(X, Y, **arguments).history


def numbers(variables):
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def assert_close(first, second, rtol=1e-6):
    for old, new in zip(first, second, strict=True):
        np.testing.assert_allclose(old, new, rtol=rtol, atol=1e-7)


def two_fits(first, second, epochs, later, **compiled):
    """The switch by hand: two models, two compilations, the weights handed over."""
    model = build(first, **compiled)
    history = fit(model, epochs)
    other = build(second, **compiled)
    other.set_weights(model.get_weights())
    history = {k: v + fit(other, later)[k] for k, v in history.items()}
    return history, other


class Script(keras.callbacks.Callback):
    """Writes a log value per epoch; None leaves it out."""

    def __init__(self, values, name="scripted"):
        super().__init__()
        self.values = values
        self.name = name

    def on_epoch_end(self, epoch, logs=None):
        if self.values[epoch] is not None:
            logs[self.name] = self.values[epoch]


# --- What the switch does -----------------------------------------------------------

PAIRS = {
    "Adam to SGD": (lambda: Adam(0.01), lambda: SGD(0.1, momentum=0.9)),
    "of one structure": (lambda: SGD(0.01), lambda: SGD(0.1, nesterov=True)),
    "of one kind": (lambda: Adam(0.01), lambda: Adam(0.1, beta_1=0.5)),
    "schedules": (
        lambda: Adam(kt.schedules.CosineRestarts(0.1, 5)),
        lambda: SGD(kt.schedules.CosineRestarts(0.2, 7), weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_equals_two_trainings_one_after_the_other(pair):
    first, second = PAIRS[pair]
    history, by_hand = two_fits(first(), second(), 2, 3)
    model, switch = build(first()), SwitchOptimizer(second(), epoch=2)
    switched = fit(model, 5, switch)
    assert switch.switched_at == 2
    assert len(switched["loss"]) == 5
    assert_close(switched["loss"], history["loss"])
    assert_close(model.get_weights(), by_hand.get_weights())
    assert_close(
        numbers(model.optimizer.variables), numbers(by_hand.optimizer.variables)
    )


@pytest.mark.parametrize(
    "compiled",
    [{"run_eagerly": True}, pytest.param({"jit_compile": False}, marks=SLOW)],
    ids=["eager", "no jit"],
)
def test_equals_two_trainings_however_it_is_compiled(compiled):
    check_compiled(compiled)


@pytest.mark.backend("jax", "tensorflow", reason="PyTorch has neither on the CPU")
@pytest.mark.parametrize(
    "compiled",
    [{"jit_compile": True}, {"steps_per_execution": 2}],
    ids=["jit", "two steps at once"],
)
def test_equals_two_trainings_however_it_is_executed(compiled):
    check_compiled(compiled)


def check_compiled(compiled):
    history, by_hand = two_fits(Adam(0.01), SGD(0.1, momentum=0.9), 2, 2, **compiled)
    model = build(Adam(0.01), **compiled)
    switched = fit(model, 4, SwitchOptimizer(SGD(0.1, momentum=0.9), epoch=2))
    assert_close(switched["loss"], history["loss"])
    assert_close(model.get_weights(), by_hand.get_weights())


def test_epoch_zero_is_the_new_optimizer_alone():
    alone = build(SGD(0.1))
    history = fit(alone, 2)
    model = build(Adam(0.01, use_ema=True))
    assert fit(model, 2, SwitchOptimizer(SGD(0.1), epoch=0))["loss"] == history["loss"]


@pytest.mark.parametrize("new", ["sgd", {"class_name": "SGD", "config": {}}])
def test_takes_a_name_or_a_config_as_compile_does(new):
    history, _ = two_fits("adam", "sgd", 1, 1)
    assert_close(
        fit(build(), 2, SwitchOptimizer(new, epoch=1))["loss"], history["loss"]
    )


def test_only_the_new_optimizer_trains():
    old, new = Adam(0.01), SGD(0.1)
    model = build(old)
    fit(model, 5, SwitchOptimizer(new, epoch=2))
    assert model.optimizer is new
    assert int(old.iterations) == 2 * 4
    assert int(new.iterations) == 3 * 4


def test_leaves_nothing_on_the_model():
    model = build()
    before = set(vars(build()))
    fit(model, 1)
    trained = set(vars(model))
    fit(model, 3, SwitchOptimizer(SGD(0.1), epoch=1))
    assert set(vars(model)) - trained <= before


@pytest.mark.slow
def test_the_groups_of_a_multi_optimizer_are_built():
    groups = keras.optimizers.OptimizerMap(SGD(0.1), {".*/bias": SGD(0.0)})
    model = build()
    biases = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: biases.append(model.get_weights()[1])
    )
    multi = keras.optimizers.MultiOptimizer(groups)
    fit(model, 3, SwitchOptimizer(multi, epoch=1), keep)
    assert np.array_equal(biases[0], biases[2])


def test_a_multi_optimizer_can_be_left():
    groups = keras.optimizers.OptimizerMap(SGD(0.1), {".*/bias": SGD(0.01)})
    model = build(keras.optimizers.MultiOptimizer(groups))
    fit(model, 3, SwitchOptimizer(Adam(0.1), epoch=1))
    assert int(model.optimizer.iterations) == 8


# --- Averaged weights ---------------------------------------------------------------


def test_the_old_average_is_put_into_the_model():
    def old():
        averages = {"use_ema": True, "ema_momentum": 0.9}
        return Adam(0.05, ema_overwrite_frequency=3, **averages)

    # By hand, the end of the first `fit` puts the averages into the model.
    history, by_hand = two_fits(old(), SGD(0.1, momentum=0.9), 2, 3)
    model = build(old())
    first = model.optimizer
    switched = fit(model, 5, SwitchOptimizer(SGD(0.1, momentum=0.9), epoch=2))
    assert_close(switched["loss"], history["loss"])
    assert_close(model.get_weights(), by_hand.get_weights())
    # On JAX a shared buffer would be gone by now.
    assert all(np.isfinite(number).all() for number in numbers(first.variables))


def test_the_new_average_is_put_into_the_model_at_the_end():
    def new():
        return SGD(0.1, use_ema=True, ema_momentum=0.9)

    _, by_hand = two_fits(Adam(0.05, use_ema=True, ema_momentum=0.9), new(), 2, 3)
    model = build(Adam(0.05, use_ema=True, ema_momentum=0.9))
    fit(model, 5, SwitchOptimizer(new(), epoch=2))
    assert_close(model.get_weights(), by_hand.get_weights())


# --- Loss scaling -------------------------------------------------------------------


@pytest.fixture
def _mixed():
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.usefixtures("_mixed")
def test_loss_scaling_goes_on_around_the_new_optimizer(tmp_path):
    model, new = build(Adam(0.01)), SGD(0.1)
    old = model.optimizer
    assert isinstance(old, keras.optimizers.LossScaleOptimizer)
    switch = SwitchOptimizer(new, epoch=1)
    # 2,000 finite steps double the scale; it was left at another value.
    old.build(model.trainable_variables)
    old.dynamic_scale.assign(64.0)
    history = fit(model, 3, switch)
    scaled = model.optimizer
    assert isinstance(scaled, keras.optimizers.LossScaleOptimizer)
    assert scaled.inner_optimizer is new
    assert float(scaled.dynamic_scale) == 64.0
    assert int(new.iterations) == 8
    assert np.isfinite(history["loss"]).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(loaded.optimizer.inner_optimizer, SGD)
    assert_close(numbers(loaded.optimizer.variables), numbers(scaled.variables))


def test_loss_scaling_that_the_user_gave_is_left_as_it_is():
    scaled = keras.optimizers.LossScaleOptimizer(SGD(0.1), initial_scale=8.0)
    model = build(keras.optimizers.LossScaleOptimizer(Adam(0.1)))
    fit(model, 3, SwitchOptimizer(scaled, epoch=1))
    assert model.optimizer is scaled
    assert float(scaled.dynamic_scale) == 8.0


def test_a_model_without_loss_scaling_gets_none():
    model = build(Adam(0.01))
    fit(model, 2, SwitchOptimizer("sgd", epoch=1))
    assert isinstance(model.optimizer, SGD)


# --- What is saved ------------------------------------------------------------------


def test_a_saved_model_is_compiled_with_the_new_optimizer(tmp_path):
    model = build(Adam(0.01))
    fit(model, 3, SwitchOptimizer(SGD(0.05, momentum=0.8), epoch=1))
    config = model.get_compile_config()["optimizer"]
    assert config["class_name"] == "SGD"
    assert config["config"]["momentum"] == 0.8
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, SGD)
    assert int(loaded.optimizer.iterations) == 8
    before = numbers(model.optimizer.variables)
    assert_close(before, numbers(loaded.optimizer.variables))
    assert_close(fit(model, 2)["loss"], fit(loaded, 2)["loss"])
    assert_close(model.get_weights(), loaded.get_weights())


def test_checkpoints_of_later_epochs_hold_the_new_optimizer(tmp_path):
    path = str(tmp_path / "{epoch}.keras")
    model, checkpoint = build(Adam(0.01)), keras.callbacks.ModelCheckpoint(path)
    fit(model, 3, checkpoint, SwitchOptimizer(SGD(0.05), epoch=2))
    kinds = [
        type(keras.models.load_model(tmp_path / f"{n}.keras").optimizer).__name__
        for n in (1, 2, 3)
    ]
    assert kinds == ["Adam", "Adam", "SGD"]


# --- When it switches ---------------------------------------------------------------


def switched_at(values, name="scripted", monitor=None, **arguments):
    """The epoch of the switch by the callback's hooks alone, without a training."""
    model = build()
    switch = SwitchOptimizer(SGD(0.1), monitor=monitor or name, **arguments)
    switch.set_model(model)
    switch.on_train_begin()
    for epoch, value in enumerate(values):
        switch.on_epoch_begin(epoch)
        switch.on_epoch_end(epoch, {} if value is None else {name: value})
    switch.on_train_end()
    assert isinstance(model.optimizer, SGD) == (switch.switched_at is not None)
    return switch.switched_at


def test_switches_after_so_many_epochs_without_a_better_value():
    # The best is 0.9 in epoch 1; 2 and 3 wait, so 4 is the first of the new optimizer.
    assert switched_at([1.0, 0.9, 0.95, 0.93, 0.8, 0.7], patience=2) == 4


def test_three_epochs_are_waited_for_without_a_patience():
    assert switched_at([1.0, 1.0, 1.0, 1.0, 1.0]) == 4


def test_a_gain_below_min_delta_is_no_improvement():
    assert switched_at([1.0, 0.95, 0.85, 0.8], patience=1, min_delta=0.1) == 2


def test_the_switch_is_made_once():
    assert switched_at([1.0] * 6, patience=1) == 2


def test_an_epoch_without_the_value_does_not_count():
    assert switched_at([1.0, None, None, 1.0, 1.0, 1.0], patience=2) == 5


@pytest.mark.parametrize(
    ("monitor", "mode", "at"),
    [("val_accuracy", "auto", 2), ("error", "auto", None), ("error", "max", 2)],
)
def test_the_direction_follows_the_mode_or_the_name(monitor, mode, at):
    values = [1.0, 0.9, 0.8]
    arguments = {"mode": mode, "patience": 1}
    if at is None:
        with pytest.warns(kt.NoEffectWarning, match="error never stalled for 1 epochs"):
            assert switched_at(values, monitor, **arguments) is None
    else:
        assert switched_at(values, monitor, **arguments) == at


@pytest.mark.parametrize("monitor", [pytest.param("loss", marks=SLOW), "val_loss"])
def test_watches_what_fit_logs(monitor):
    model = build(Adam(1e-9))
    switch = SwitchOptimizer(SGD(0.1), monitor=monitor, patience=1)
    fit(model, 4, switch, validation_data=(X, Y))
    assert switch.switched_at == 2


# --- Other callbacks ----------------------------------------------------------------


def test_a_learning_rate_scheduler_sets_the_rate_of_the_new_optimizer():
    model = build(Adam(0.01))
    schedule = LearningRateScheduler(lambda epoch, rate: 0.5**epoch)
    history = fit(model, 4, SwitchOptimizer(SGD(0.1), epoch=2), schedule)
    assert history["learning_rate"] == pytest.approx([1.0, 0.5, 0.25, 0.125])
    assert float(model.optimizer.learning_rate) == 0.125


@pytest.mark.parametrize(
    ("halve", "order"),
    [("keras", 1), ("ours", -1), pytest.param("ours", 1, marks=SLOW)],
)
def test_plateau_callbacks_reduce_the_rate_of_the_new_optimizer(halve, order):
    arguments = {"monitor": "scripted", "patience": 1, "mode": "min", "factor": 0.5}
    kind = {
        "keras": keras.callbacks.ReduceLROnPlateau,
        "ours": kt.callbacks.HalveOnPlateau,
    }
    reduce = kind[halve](**arguments)
    model = build(Adam(0.01))
    # Halved after epochs 1 (Adam), 4 and 5 (SGD).
    script = Script([2.0, 2.0, 1.0, 0.5, 0.5, 0.5])
    both = [SwitchOptimizer(SGD(0.1), epoch=3), reduce][::order]
    fit(model, 6, script, *both)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.025)


class SpoilMomenta(keras.callbacks.Callback):
    """Makes the weights and slots of the last step of an epoch infinite."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            for variable in self.model.optimizer.variables:
                if "momentum" in variable.path:
                    variable.assign(np.full(variable.shape, np.inf))


@pytest.mark.parametrize("order", [1, -1], ids=["switch first", "halving first"])
def test_a_divergence_after_the_switch_goes_back_to_a_fresh_new_optimizer(order):
    model = build(Adam(0.01))
    # Epoch 1 is the best, with Adam; epoch 3 diverges, with SGD.
    script = Script([2.0, 1.0, 1.5, math.inf, 1.0])
    halve = kt.callbacks.HalveOnPlateau(
        "scripted", patience=9, on_divergence="rollback"
    )
    weights = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: weights.append(model.get_weights())
    )
    both = [SwitchOptimizer(SGD(0.1, momentum=0.9), epoch=2), halve][::order]
    fit(model, 4, SpoilMomenta(3), script, *both, keep)
    assert_close(weights[3], weights[1])
    slots = [v for v in model.optimizer.variables if "momentum" in v.path]
    assert slots
    assert all(not keras.ops.any(slot.value) for slot in slots)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)


def test_averages_swapped_at_the_switch_are_not_zeros():
    model = build(Adam(0.01, use_ema=True))
    switch = SwitchOptimizer(SGD(0.001, use_ema=True), epoch=2)
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    sizes = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: sizes.append(
            np.abs(model.get_weights()[0]).sum()
        )
    )
    fit(model, 4, switch, swap, keep)
    assert min(sizes) > 0.5 * max(sizes)


def test_two_switches_follow_each_other():
    model = build(Adam(0.01))
    first, second = SwitchOptimizer("rmsprop", epoch=1), SwitchOptimizer("sgd", epoch=3)
    fit(model, 4, first, second)
    assert (first.switched_at, second.switched_at) == (1, 3)
    fit(model, 4, first, second)
    assert isinstance(model.optimizer, SGD)
    assert int(model.optimizer.iterations) == 5 * 4


# --- More than one fit --------------------------------------------------------------


def test_a_second_fit_goes_on_with_the_new_optimizer():
    _, by_hand = two_fits("adam", SGD(0.1, momentum=0.9), 1, 5)
    model, switch = build(), SwitchOptimizer(SGD(0.1, momentum=0.9), epoch=1)
    fit(model, 3, switch)
    fit(model, 3, switch)
    assert switch.switched_at == 1
    assert_close(model.get_weights(), by_hand.get_weights())


@pytest.mark.slow
def test_a_fit_without_the_switch_may_be_followed_by_one_with_it():
    model, switch = build(), SwitchOptimizer("sgd", monitor="scripted", patience=2)
    with pytest.warns(kt.NoEffectWarning, match="scripted never stalled for 2 epochs"):
        fit(model, 2, Script([1.0, 1.0]), switch)
    assert switch.switched_at is None
    fit(model, 4, Script([1.0] * 4), switch)
    assert switch.switched_at == 3


@pytest.mark.parametrize("again", [pytest.param("compiled", marks=SLOW), "another"])
def test_an_optimizer_that_was_used_cannot_serve_again(again):
    model, switch = build(), SwitchOptimizer(SGD(0.1), epoch=1)
    fit(model, 2, switch)
    if again == "compiled":
        model.compile("adam", "mse")
    else:
        model = build()
    text = r"`optimizer` must be one that has not been used yet. .*give its name"
    with pytest.raises(ValueError, match=text):
        fit(model, 2, switch)


@pytest.mark.parametrize("again", ["compiled", pytest.param("another", marks=SLOW)])
def test_a_name_serves_again_and_again(again):
    model, switch = build(), SwitchOptimizer("sgd", epoch=1)
    fit(model, 2, switch)
    if again == "compiled":
        model.compile("adam", "mse")
    else:
        model = build()
    fit(model, 3, switch)
    assert switch.switched_at == 1
    assert int(model.optimizer.iterations) == 8


def test_an_evaluation_is_left_alone():
    model, switch = build(), SwitchOptimizer("sgd", epoch=1)
    assert np.isfinite(model.evaluate(X, Y, verbose=0, callbacks=[switch]))
    assert switch.switched_at is None


# --- What it says -------------------------------------------------------------------


def test_prints_the_switch_when_asked(capsys):
    fit(build(), 3, SwitchOptimizer("sgd", epoch=2, verbose=1))
    assert capsys.readouterr().out == "Epoch 3: switched from Adam to SGD.\n"
    switched_at([1.0, 0.5, 0.5, 0.5], patience=1, verbose=1)
    told = "Epoch 4: scripted stalled at 0.5; switched from Adam to SGD.\n"
    assert capsys.readouterr().out == told
    switched_at([1.0, 0.5, 0.5, 0.5], patience=1)
    assert capsys.readouterr().out == ""


def test_says_that_the_epoch_never_came():
    text = r"SwitchOptimizer has no effect: `fit` ended before epoch 3"
    with pytest.warns(kt.NoEffectWarning, match=text):
        fit(build(), 3, SwitchOptimizer("sgd", epoch=3), batch_size=32)


def test_says_that_the_stall_came_too_late():
    text = "no effect: scripted stalled in the last epoch only"
    with pytest.warns(kt.NoEffectWarning, match=text):
        assert switched_at([1.0, 1.0], patience=1) is None


def test_says_what_was_meant_by_a_misspelt_monitor():
    text = r"the logs have no 'val_los'. Received: \['loss', 'val_loss'\]. Did you mean"
    switch = SwitchOptimizer("sgd", monitor="val_los")
    with pytest.warns(kt.NoEffectWarning, match=text + r" 'val_loss'\?") as told:
        fit(build(), 3, switch, validation_data=(X, Y))
    assert [each.category for each in told].count(kt.NoEffectWarning) == 1


def test_says_that_the_validation_is_missing():
    text = r"the logs have no 'val_loss'. Pass `validation_data` to `fit`\."
    with pytest.warns(kt.NoEffectWarning, match=text):
        fit(build(), 3, SwitchOptimizer("sgd", monitor="val_loss"))


def used():
    optimizer = SGD(0.1)
    optimizer.build([keras.Variable(np.zeros(2))])
    return optimizer


BAD = [
    ({}, ValueError, r"`epoch` or `monitor` must be given, .*epoch=None, monitor=None"),
    (
        {"epoch": 1, "monitor": "loss"},
        ValueError,
        r"and not both. Received: epoch=1, monitor='loss'",
    ),
    ({"epoch": -1}, ValueError, r"`epoch` must be an integer from 0 .*epoch=-1"),
    ({"epoch": 1.5}, TypeError, r"`epoch` must be an integer .*epoch=1.5"),
    ({"monitor": 3}, TypeError, r"`monitor` must be a string.*monitor=3"),
    ({"monitor": ""}, ValueError, r"`monitor` must be .*monitor=''"),
    (
        {"monitor": "loss", "patience": 0},
        ValueError,
        r"`patience` must be a positive integer.*patience=0",
    ),
    (
        {"epoch": 1, "patience": 2},
        ValueError,
        r"`patience` must be None where `epoch` .*patience=2; or give `monitor`",
    ),
    ({"epoch": 1, "mode": "mx"}, ValueError, r"`mode` must be .*Did you mean 'max'\?"),
    ({"epoch": 1, "min_delta": -1}, ValueError, r"`min_delta` must be .*min_delta=-1"),
    ({"epoch": 1, "verbose": 2}, ValueError, r"`verbose` must be one of 0, 1.*=2"),
    (
        {"epoch": 1, "backup_dir": ""},
        ValueError,
        r"`backup_dir` must be the folder .*''",
    ),
]


@pytest.mark.parametrize(("bad", "error", "text"), BAD)
def test_says_which_argument_is_wrong(bad, error, text):
    with pytest.raises(error, match=text):
        SwitchOptimizer("sgd", **bad)


@pytest.mark.parametrize(
    ("optimizer", "error", "text"),
    [
        (None, TypeError, "must be a Keras optimizer, .*optimizer=None"),
        (SGD, TypeError, "must be a Keras optimizer, .*optimizer=<class"),
        ("sdg", ValueError, r"must be .*optimizer='sdg'.*Did you mean 'sgd'\?"),
        ({"class_name": "x"}, ValueError, "must be a Keras optimizer, .*'class_name'"),
        (
            {"class_name": "SGD", "config": {"rate": 1}},
            ValueError,
            "must be a Keras optimizer, .*rate",
        ),
    ],
)
def test_says_what_no_optimizer_is(optimizer, error, text):
    with pytest.raises(error, match="`optimizer` " + text):
        SwitchOptimizer(optimizer, epoch=1)


def test_refuses_an_optimizer_that_is_built():
    with pytest.raises(ValueError, match="`optimizer` must be one that has not been"):
        SwitchOptimizer(used(), epoch=1)


OUTER = {
    "itself": lambda own: own,
    "scaled": keras.optimizers.LossScaleOptimizer,
    "one of two": lambda own: keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(own, {".*/bias": SGD(0.1)})
    ),
    "layer-wise": lambda own: kt.optimizers.LayerwiseLearningRate(own, {".*": 0.5}),
}


@pytest.mark.parametrize("outer", OUTER)
def test_refuses_the_optimizer_of_the_model(outer):
    own = SGD(0.1)
    switch = SwitchOptimizer(own, epoch=1)
    model = build(OUTER[outer](own))
    text = "`optimizer` must be another one than the model's own. Received: optimizer=<"
    with pytest.raises(ValueError, match=text):
        fit(model, 2, switch)


def test_switches_to_and_from_layerwise_rates(tmp_path):
    layerwise = kt.optimizers.LayerwiseLearningRate(Adam(0.01), {".*": 0.5})
    frozen = kt.optimizers.LayerwiseLearningRate(SGD(0.1), {"low": 0.0})
    model = build("rmsprop")
    weights = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: weights.append(model.get_weights()[0])
    )
    first, second = (
        SwitchOptimizer(layerwise, epoch=1),
        SwitchOptimizer(frozen, epoch=2),
    )
    fit(model, 4, keep, first, second)
    assert not np.array_equal(weights[0], weights[1])
    assert np.array_equal(weights[1], weights[3])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, kt.optimizers.LayerwiseLearningRate)
    assert int(loaded.optimizer.iterations) == 8


def test_refuses_an_epoch_that_is_over():
    text = r"`epoch` must not be over when `fit` starts, at epoch 3. Received: epoch=1"
    with pytest.raises(ValueError, match=text):
        fit(build(), 5, SwitchOptimizer("sgd", epoch=1), initial_epoch=3)


# --- A training that is killed and resumed --------------------------------------------

EPOCHS, AT = 6, 3


class Kill(keras.callbacks.Callback):
    def __init__(self, epoch, when):
        super().__init__()
        self.epoch = epoch
        self.when = when

    def _kill(self, epoch, when):
        if (epoch, when) == (self.epoch, self.when):
            raise RuntimeError("killed")

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch
        self._kill(epoch, "begin")

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 2:
            self._kill(self.now, "inside")

    def on_epoch_end(self, epoch, logs=None):
        self._kill(epoch, "end")


OPTIMIZERS = {
    "Adam to SGD": (
        lambda: Adam(0.02, use_ema=True, ema_momentum=0.9),
        lambda: SGD(0.1, momentum=0.9),
    ),
    # As many variables, of the same shapes: BackupAndRestore cannot tell them apart.
    "of one structure": (
        lambda: SGD(0.02, momentum=0.5, use_ema=True, ema_momentum=0.9),
        lambda: SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.8),
    ),
    "scaled": (
        lambda: keras.optimizers.LossScaleOptimizer(Adam(0.02), initial_scale=16.0),
        lambda: SGD(0.1, momentum=0.9),
    ),
}


def training(pair, moment, callbacks=lambda switch: [switch], folder=None):
    """One run of the program: the history, and the model."""
    first, second = OPTIMIZERS[pair]
    values = [3.0, 2.0, 2.0, 1.5, 1.0, 0.5]
    model = build(first())
    switch = SwitchOptimizer(second(), **moment, backup_dir=folder)
    names = [Script(values), Script(values, "val_scripted"), *callbacks(switch)]
    history = fit(model, EPOCHS, *names, validation_data=(X[:8], Y[:8]))
    assert switch.switched_at == AT
    return history, model


MOMENTS = {
    "epoch": {"epoch": AT},
    "metric": {"monitor": "scripted", "patience": 1},
}


@pytest.fixture(scope="module")
def whole():
    runs = {}

    def run(pair, moment):
        if (pair, moment) not in runs:
            runs[pair, moment] = training(pair, MOMENTS[moment])
        return runs[pair, moment]

    return run


KILLS = [
    (1, "begin"), (2, "inside"), (2, "end"), (3, "begin"), (3, "inside"), (3, "end"),
    (4, "inside"), (5, "begin"),
]  # fmt: skip


def resumed(tmp_path, pair, moment, backup_first, *kills):
    folder = str(tmp_path / "backup")

    def callbacks(*more):
        def order(switch):
            both = [BackupAndRestore(folder), switch]
            return [*(both if backup_first else both[::-1]), *more]

        return order

    for kill in kills:
        with pytest.raises(RuntimeError, match="killed"):
            training(pair, MOMENTS[moment], callbacks(Kill(*kill)), folder)
    result = training(pair, MOMENTS[moment], callbacks(), folder)
    assert not os.path.exists(folder)
    return result


def assert_same(whole_run, resumed_run):
    (history, model), (later, other) = whole_run, resumed_run
    count = len(later["loss"])
    for key in ("loss", "val_loss"):
        np.testing.assert_allclose(later[key], history[key][-count:], rtol=1e-6)
    assert_close(model.get_weights(), other.get_weights())
    assert_close(numbers(model.optimizer.variables), numbers(other.optimizer.variables))


@pytest.mark.parametrize(
    ("pair", "moment", "backup_first", "kill"),
    [
        ("Adam to SGD", "metric", False, (2, "end")),
        ("Adam to SGD", "metric", True, (4, "inside")),
        pytest.param("of one structure", "epoch", True, (3, "inside"), marks=SLOW),
    ],
)
def test_a_resumed_training_is_the_one_that_was_not_killed(
    tmp_path, whole, pair, moment, backup_first, kill
):
    run = resumed(tmp_path, pair, moment, backup_first, kill)
    assert_same(whole(pair, moment), run)


@pytest.mark.slow
@pytest.mark.parametrize("backup_first", [True, False], ids=["backup first", "last"])
@pytest.mark.parametrize(
    ("pair", "moment"),
    # The moment matters to the callback, the pair to the backup: not all with all.
    [("Adam to SGD", "epoch"), *((pair, "metric") for pair in OPTIMIZERS)],
)
def test_it_may_be_killed_at_any_time(tmp_path, whole, pair, moment, backup_first):
    # Every second moment: the two orders of callbacks have all of them together.
    for kill in KILLS[backup_first::2]:
        run = resumed(tmp_path, pair, moment, backup_first, kill)
        assert_same(whole(pair, moment), run)


@pytest.mark.parametrize(
    "kill",
    [
        (3, "begin"),
        *(pytest.param(kill, marks=SLOW) for kill in [(2, "end"), (3, "inside")]),
    ],
    ids=str,
)
@pytest.mark.parametrize("order", [1, -1], ids=["switch first", "halving first"])
def test_halving_resumes_across_the_switch(tmp_path, order, kill):
    def run(folder, *more):
        halve = kt.callbacks.HalveOnPlateau(
            "val_scripted",
            patience=1,
            on_divergence="rollback",
            backup_dir=folder,
        )
        backup = [] if folder is None else [BackupAndRestore(folder)]
        return training(
            "Adam to SGD",
            MOMENTS["epoch"],
            lambda switch: [*[switch, halve][::order], *backup, *more],
            folder,
        )

    folder = str(tmp_path / "backup")
    with pytest.raises(RuntimeError, match="killed"):
        run(folder, Kill(*kill))
    whole, resumed = run(None), run(folder)
    assert_same(whole, resumed)
    # 0.02 was halved once before the switch, and 0.1 never after it.
    rates = [0.02, 0.02, 0.02, 0.1, 0.1, 0.1]
    assert whole[0]["learning_rate"] == pytest.approx(rates)
    assert resumed[0]["learning_rate"] == pytest.approx(
        rates[-len(resumed[0]["loss"]) :]
    )


@pytest.mark.slow
def test_a_backup_without_the_state_of_its_epoch_is_told_but_fits(tmp_path, whole):
    # The metric is known to us after the backup only; the switch was before.
    folder = str(tmp_path / "backup")

    def order(*between):
        return lambda switch: [BackupAndRestore(folder), *between, switch]

    run = ("Adam to SGD", MOMENTS["metric"])
    with pytest.raises(RuntimeError, match="killed"):
        training(*run, order(Kill(4, "end")), folder)
    with pytest.warns(UserWarning, match="SwitchOptimizer starts afresh at epoch 5"):
        result = training(*run, order(), folder)
    assert_same(whole("Adam to SGD", "metric"), result)


@pytest.mark.slow
def test_a_training_may_be_killed_again_and_again(tmp_path, whole):
    kills = [(1, "end"), (3, "inside"), (3, "end"), (5, "inside")]
    run = resumed(tmp_path, "Adam to SGD", "metric", False, *kills)
    assert_same(whole("Adam to SGD", "metric"), run)


@pytest.mark.slow
def test_the_resumed_model_is_saved_with_the_new_optimizer(tmp_path):
    _, model = resumed(tmp_path, "Adam to SGD", "epoch", False, (4, "inside"))
    assert model.get_compile_config()["optimizer"]["class_name"] == "SGD"
    model.save(tmp_path / "model.keras")
    assert isinstance(keras.models.load_model(tmp_path / "model.keras").optimizer, SGD)


def test_a_model_that_has_switched_refuses_a_backup_from_before(tmp_path):
    # In one process: the model goes on where it was, the backup is of the old one.
    folder = str(tmp_path / "backup")
    model = build()
    switch = SwitchOptimizer("sgd", epoch=2, backup_dir=folder)
    callbacks = [switch, BackupAndRestore(folder)]
    with pytest.raises(RuntimeError, match="killed"):
        fit(model, 4, *callbacks, Kill(2, "inside"))
    text = (
        r"from after the switch, at epoch 2, .*a backup of epoch 2; compile the model"
    )
    with pytest.raises(ValueError, match=text):
        fit(model, 4, *callbacks)


def test_a_model_that_has_switched_takes_a_backup_from_after(tmp_path):
    folder = str(tmp_path / "backup")
    model = build()
    switch = SwitchOptimizer("sgd", epoch=2, backup_dir=folder)
    callbacks = [switch, BackupAndRestore(folder)]
    with pytest.raises(RuntimeError, match="killed"):
        fit(model, 5, *callbacks, Kill(3, "inside"))
    fit(model, 5, *callbacks)
    assert int(model.optimizer.iterations) == 3 * 4


@pytest.mark.slow
def test_a_backup_from_inside_the_epoch_of_the_switch_is_taken_up(tmp_path):
    folder = str(tmp_path / "backup")

    def run(*more):
        model = build()
        switch = SwitchOptimizer(SGD(0.1, momentum=0.9), epoch=2, backup_dir=folder)
        backup = BackupAndRestore(folder, save_freq=2)
        fit(model, 4, switch, backup, *more)
        return model

    with pytest.raises(RuntimeError, match="killed"):
        run(Kill(2, "inside"))
    # Keras begins the epoch anew, two steps further on.
    assert int(run().optimizer.iterations) == 2 + 2 * 4


def damaged(folder, change):
    (folder / "switch_optimizer.scripted.json").write_bytes(change)
    (folder / "training_metadata.json").write_text('{"epoch": 3, "batch": 0}')


DAMAGED = {
    "empty": b"",
    "a list": b"[]",
    "state is empty": b'{"states": {"3": {}}}',
    "switch epoch is a word": b'{"states": {"3": {"switch_epoch": "x"}}}',
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_state_is_named(tmp_path, name):
    damaged(tmp_path, DAMAGED[name])
    switch = SwitchOptimizer("sgd", monitor="scripted", backup_dir=str(tmp_path))
    text = (
        r"`backup_dir` must hold a state that SwitchOptimizer wrote. Received: .*json"
    )
    with pytest.raises(ValueError, match=text):
        fit(build(), 4, switch, Script([1.0] * 4))


WHOLE = {
    "switched": False,
    "switch_epoch": None,
    "best": 1.0,
    "waited": 1,
    "iterations": 0,
}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"best": "low"}, "TypeError"),
        ({"waited": "long"}, "`waited` must be an integer"),
        ({"iterations": None}, "`iterations` must be an integer"),
        ({"iterations": 12}, "the backup has 0 steps of Adam where 12 were made"),
    ],
)
def test_a_state_that_does_not_fit_is_named(tmp_path, change, text):
    states = {"version": 1, "states": {"3": {**WHOLE, **change}}}
    damaged(tmp_path, json.dumps(states).encode())
    switch = SwitchOptimizer("sgd", monitor="scripted", backup_dir=str(tmp_path))
    with pytest.raises(ValueError, match=text):
        fit(build(), 5, switch, Script([1.0] * 5), initial_epoch=3)


def test_a_state_made_by_hand_is_taken_up(tmp_path):
    states = {"version": 1, "states": {"3": {**WHOLE, "waited": 1}}}
    damaged(tmp_path, json.dumps(states).encode())
    switch = SwitchOptimizer(
        "sgd", monitor="scripted", patience=2, backup_dir=str(tmp_path)
    )
    fit(build(), 5, Script([1.0] * 5), switch, initial_epoch=3)
    assert switch.switched_at == 4
