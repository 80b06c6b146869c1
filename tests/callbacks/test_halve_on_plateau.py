import math

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.callbacks import HalveOnPlateau

SGD = keras.optimizers.SGD
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(32, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
SAME = [1.0] * 5


class Script(keras.callbacks.Callback):
    """Writes a log value per epoch; None leaves it out."""

    def __init__(self, values, name="scripted"):
        super().__init__()
        self.values = values
        self.name = name

    def on_epoch_end(self, epoch, logs=None):
        if self.values[epoch] is not None:
            logs[self.name] = self.values[epoch]


def prediction(y, y_pred):
    return y_pred


def walker(optimizer, use_bias=False):
    """A model whose gradients are 1: a step moves each weight by minus its rate."""
    dense = keras.layers.Dense(1, use_bias=use_bias, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), dense])
    model.compile(optimizer, prediction)
    return model


ONE = np.ones((1, 1), "float32")


def walk(optimizer, values, name="scripted", monitor=None, **arguments):
    """Trains one step per epoch: the rates that the steps used, and the history."""
    model = walker(optimizer)
    halve = HalveOnPlateau(monitor or name, **arguments)
    history = model.fit(
        ONE, ONE, epochs=len(values), verbose=0, callbacks=[Script(values, name), halve]
    ).history
    # The loss of an epoch's only batch is the weight before its step.
    weights = [*history["loss"], model.get_weights()[0].item()]
    return -np.diff(weights), history


# --- When it halves -----------------------------------------------------------------


def test_halves_after_so_many_epochs_without_a_better_value():
    # Best 0.9 in epoch 2; epochs 3, 4 wait: half. Epochs 5, 6 wait: half again.
    values = [1.0, 0.9, 0.95, 0.93, 0.92, 0.91, 0.8, 0.85]
    used, history = walk(SGD(1.0), values, patience=2)
    rates = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert used == pytest.approx(rates)
    assert history["learning_rate"] == rates


def test_a_gain_below_min_delta_is_no_improvement():
    # Gains over the best: -, 0.05, 0.15, 0.05, 0.15.
    values = [1.0, 0.95, 0.85, 0.8, 0.7]
    used, _ = walk(SGD(1.0), values, patience=1, min_delta=0.1)
    assert used == pytest.approx([1.0, 1.0, 0.5, 0.5, 0.25])


def test_epochs_of_the_cooldown_do_not_count():
    used, _ = walk(SGD(1.0), [1.0] * 6, patience=1, cooldown=5)
    assert used == pytest.approx([1.0, 1.0, 0.5, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("name", ["val_scripted", "scripted"])
def test_an_epoch_without_the_value_does_not_count(name):
    used, _ = walk(SGD(1.0), [1.0, 1.0, None, None, 1.0, 1.0], name, patience=2)
    assert used == pytest.approx([1.0, 1.0, 1.0, 1.0, 1.0, 0.5])


def test_another_factor_is_another_factor():
    used, _ = walk(SGD(1.0), SAME[:4], patience=1, factor=0.1)
    assert used == pytest.approx([1.0, 1.0, 0.1, 0.01])


def test_the_rate_is_not_taken_below_min_lr():
    used, _ = walk(SGD(1.0), SAME, patience=1, min_lr=0.3)
    assert used == pytest.approx([1.0, 1.0, 0.5, 0.3, 0.3], rel=1e-5)


def test_a_rate_already_below_min_lr_is_left_alone():
    used, _ = walk(SGD(0.125), SAME, patience=1, min_lr=0.3)
    assert used == pytest.approx([0.125] * 5)


def decided(callback, values, name="scripted"):
    """The rate of each epoch by the callback's hooks alone, without a training."""
    model = walker(SGD(1.0))
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        rates.append(float(model.optimizer.learning_rate))
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {name: value})
    return rates


@pytest.mark.parametrize(
    ("monitor", "mode", "rising_is_good"),
    [
        ("scripted", "min", False),
        ("scripted", "max", True),
        ("scripted", "auto", False),
        ("val_error", "auto", False),
        ("val_accuracy", "auto", True),
        ("val_accuracy", "min", False),
        ("sparse_top_k_categorical_accuracy", "auto", True),
        ("val_auc", "auto", True),
        ("precision", "auto", True),
        ("recall", "auto", True),
        ("f1_score", "auto", True),
        ("fbeta_score", "auto", True),
        ("r2_score", "auto", True),
        ("cosine_similarity", "auto", True),
        ("specificity_at_sensitivity", "auto", True),
        ("mean_absolute_error", "auto", False),
        ("binary_crossentropy", "auto", False),
        ("kl_divergence", "auto", False),
        ("logcosh", "auto", False),
        ("poisson", "auto", False),
        ("hinge", "auto", False),
    ],
)
def test_the_direction_follows_the_mode_or_the_name(monitor, mode, rising_is_good):
    halve = HalveOnPlateau(monitor, mode=mode, patience=1)
    rates = decided(halve, [0.1, 0.2, 0.3], monitor)
    assert rates == [1.0, 1.0, 1.0 if rising_is_good else 0.5]


@pytest.mark.parametrize(
    "monitor",
    [
        "val_binary_io_u",
        "val_io_u",
        "val_mean_io_u",
        "val_one_hot_io_u",
        "val_one_hot_mean_io_u",
        "val_pearson_correlation",
        "val_concordance_correlation",
    ],
)
def test_the_default_names_of_keras_metrics_have_the_direction_keras_gives_them(
    monitor,
):
    rates = decided(HalveOnPlateau(monitor, patience=1), [0.1, 0.2, 0.3], monitor)
    assert rates == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("patience", "min_delta", "cooldown", "mode"),
    [
        (1, 0.0, 0, "min"),
        (3, 0.02, 0, "min"),
        (2, 0.05, 0, "max"),
        (2, 0.02, 1, "min"),
        (2, 0.02, 3, "min"),
        (1, 0.05, 4, "max"),
    ],
)
def test_decides_as_keras_does(patience, min_delta, cooldown, mode):
    noise = np.random.default_rng(7).normal(scale=0.1, size=60)
    trend = np.exp(-np.arange(60) / 20) if mode == "min" else np.arange(60) / 30
    values = (trend + noise).tolist()
    arguments = {
        "monitor": "scripted", "patience": patience, "mode": mode, "factor": 0.5,
        "min_delta": min_delta, "cooldown": cooldown,
    }  # fmt: skip
    keras_rates = decided(keras.callbacks.ReduceLROnPlateau(**arguments), values)
    assert len(set(keras_rates)) > 2
    assert decided(HalveOnPlateau(**arguments), values) == keras_rates


# --- What it halves -----------------------------------------------------------------


def test_a_schedule_keeps_its_shape():
    # 0.4 (1 + cos(k pi / 4)) is 0.8, 0.6828427, 0.4, 0.1171573, and 0.8 again; the
    # epochs' factors are 1, 1, 1/2, 1/4, 1/8.
    schedule = kt.schedules.CosineRestarts(0.8, 4, t_mul=1.0)
    used, history = walk(SGD(schedule), SAME, patience=1)
    assert used == pytest.approx([0.8, 0.6828427, 0.2, 0.0292893, 0.1], rel=1e-5)
    # As Keras's callback does, the log has the rate at the end of the epoch.
    logged = [0.6828427, 0.4, 0.0585786, 0.2, 0.0853553]
    assert history["learning_rate"] == pytest.approx(logged, rel=1e-5)


def test_a_keras_schedule_keeps_its_shape():
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.9)
    used, _ = walk(SGD(schedule), SAME, patience=1)
    assert used == pytest.approx([1.0, 0.9, 0.405, 0.18225, 0.0820125], rel=1e-5)


def test_the_peak_of_a_schedule_is_not_taken_below_min_lr():
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.9)
    used, _ = walk(SGD(schedule), SAME, patience=1, min_lr=0.4)
    # Factors 1, 1, 0.5, 0.4, 0.4.
    assert used == pytest.approx([1.0, 0.9, 0.405, 0.2916, 0.26244], rel=1e-5)


def test_loss_scaling_is_no_obstacle():
    optimizer = keras.optimizers.LossScaleOptimizer(SGD(0.5), initial_scale=8.0)
    used, history = walk(optimizer, SAME[:4], patience=1)
    assert used == pytest.approx([0.5, 0.5, 0.25, 0.125])
    assert history["learning_rate"] == [0.5, 0.5, 0.25, 0.125]


def by_map():
    return keras.optimizers.OptimizerMap(SGD(0.4), {".*/bias": SGD(0.1)})


def by_function():
    kernels, biases = SGD(0.4), SGD(0.1)
    return lambda variable: biases if "bias" in variable.path else kernels


@pytest.mark.parametrize("groups", [by_map, by_function])
@pytest.mark.parametrize(
    ("min_lr", "steps"),
    [
        (0.0, 1 + 1 + 0.5 + 0.25 + 0.125),
        (0.3, 1 + 1 + 0.75 * 3),
    ],
)
def test_groups_keep_their_ratio(groups, min_lr, steps):
    model = walker(keras.optimizers.MultiOptimizer(groups()), use_bias=True)
    halve = HalveOnPlateau("scripted", patience=1, min_lr=min_lr)
    callbacks = [Script(SAME), halve]
    model.fit(ONE, ONE, epochs=5, verbose=0, callbacks=callbacks)
    kernel, bias = (weight.item() for weight in model.get_weights())
    assert kernel == pytest.approx(-0.4 * steps, rel=1e-5)
    assert bias == pytest.approx(-0.1 * steps, rel=1e-5)


def test_a_second_fit_starts_at_the_rate_reached_and_counts_anew():
    model = walker(SGD(1.0))
    halve = HalveOnPlateau("scripted", patience=2)
    callbacks = [Script([1.0] * 4), halve]
    fit = {"epochs": 4, "verbose": 0, "callbacks": callbacks}
    first = model.fit(ONE, ONE, **fit).history["learning_rate"]
    second = model.fit(ONE, ONE, **fit).history["learning_rate"]
    assert first == [1.0, 1.0, 1.0, 0.5]
    assert second == [0.5, 0.5, 0.5, 0.25]


def regression(optimizer, **compile_arguments):
    layers = [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(optimizer, "mse", **compile_arguments)
    return model


def numbers(variables):
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def assert_equal(first, second):
    for old, new in zip(first, second, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "rate", [0.02, kt.schedules.CosineRestarts(0.02, 9, t_mul=1.0)]
)
def test_a_saved_model_has_the_rate_reached(tmp_path, rate):
    model = regression(SGD(rate, momentum=0.9))
    callbacks = [Script(SAME), HalveOnPlateau("scripted", patience=1)]
    fit = {"batch_size": 8, "shuffle": False, "verbose": 0}
    model.fit(X, Y, epochs=5, callbacks=callbacks, **fit)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert int(loaded.optimizer.iterations) == 20
    # Four halvings in five epochs; 20 steps are two restarts of 9 and 2 more.
    schedule = {True: 0.02, False: 0.01 * (1 + math.cos(2 * math.pi / 9))}
    expected = schedule[isinstance(rate, float)] / 16
    assert float(loaded.optimizer.learning_rate) == pytest.approx(expected, rel=1e-5)
    assert_equal(
        numbers(model.optimizer.variables), numbers(loaded.optimizer.variables)
    )
    model.fit(X, Y, **fit)
    loaded.fit(X, Y, **fit)
    for old, new in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-5, atol=1e-7)


# --- Return after a divergence ------------------------------------------------------


class Spoil(keras.callbacks.Callback):
    """Multiplies the weights at the start of one epoch."""

    def __init__(self, epoch, by):
        super().__init__()
        self.epoch = epoch
        self.by = by

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.model.set_weights([self.by * w for w in self.model.get_weights()])


class Record(keras.callbacks.Callback):
    """Keeps what the model and its optimizer hold after each epoch."""

    def on_train_begin(self, logs=None):
        self.weights, self.slots = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())
        slots = self.model.optimizer.variables
        self.slots.append(numbers(v for v in slots if "momentum" in v.path))


ROLLBACK = {"patience": 50, "on_divergence": "rollback"}


@pytest.mark.parametrize("by", [math.nan, 100.0])
@pytest.mark.parametrize("validated", [True, False], ids=["validated", "not validated"])
@pytest.mark.parametrize(
    "rate", [0.01, kt.schedules.CosineRestarts(0.01, 50, t_mul=1.0)], ids=["f", "s"]
)
def test_a_divergence_returns_to_the_best_epoch(by, validated, rate):
    model = regression(SGD(rate, momentum=0.9))
    record = Record()
    # The second epoch is the best; the fourth diverges.
    callbacks = [
        Script([3.0, 1.0, 2.0, 1.5, 1.4]),
        Spoil(3, by),
        HalveOnPlateau("scripted", **ROLLBACK),
        record,
    ]
    data = {"validation_data": (X, Y)} if validated else {}
    fit = model.fit(X, Y, 8, 5, verbose=0, callbacks=callbacks, **data)
    assert len(record.slots[1]) == 4
    assert_equal(record.weights[3], record.weights[1])
    assert_equal(record.slots[3], record.slots[1])
    # It trains on from there, at half the rate; the counter never went back.
    assert not np.array_equal(record.weights[4][0], record.weights[1][0])
    assert np.isfinite(record.weights[4][0]).all()
    assert int(model.optimizer.iterations) == 20
    plain = kt.schedules.preview(rate, 21)[[4, 8, 12, 16, 20]]
    factors = [1.0, 1.0, 1.0, 1.0, 0.5]
    assert fit.history["learning_rate"] == pytest.approx(plain * factors, rel=1e-5)


def test_a_divergence_is_seen_by_the_validation_loss_too():
    model = regression(SGD(0.01, momentum=0.9))
    record = Record()
    callbacks = [Spoil(2, 100.0), HalveOnPlateau(**ROLLBACK), record]
    data = {"validation_data": (X, Y)}
    history = model.fit(X, Y, 8, 4, verbose=0, callbacks=callbacks, **data).history
    assert history["val_loss"][0] > history["val_loss"][1]
    assert_equal(record.weights[2], record.weights[1])
    assert_equal(record.slots[2], record.slots[1])
    assert history["learning_rate"] == pytest.approx([0.01, 0.01, 0.01, 0.005])


def test_a_value_that_is_nan_is_a_divergence_though_the_loss_is_finite():
    model = regression(SGD(0.01))
    record = Record()
    script = Script([2.0, 1.0, math.nan])
    callbacks = [script, HalveOnPlateau("scripted", **ROLLBACK), record]
    model.fit(X, Y, 8, 3, verbose=0, callbacks=callbacks)
    assert_equal(record.weights[2], record.weights[1])


def test_without_rollback_nothing_returns():
    model = regression(SGD(0.01))
    callbacks = [Spoil(1, math.nan), HalveOnPlateau("loss")]
    model.fit(X, Y, 8, 3, verbose=0, callbacks=callbacks)
    assert np.isnan(model.get_weights()[0]).all()


def test_an_explosion_in_the_first_epoch_returns_to_the_initial_weights():
    model = regression(SGD(0.5))
    initial = model.get_weights()
    callbacks = [HalveOnPlateau("loss", **ROLLBACK)]
    history = model.fit(X, Y, 8, 1, verbose=0, callbacks=callbacks).history
    assert 100 < history["loss"][0] < math.inf
    assert_equal(model.get_weights(), initial)
    assert float(model.optimizer.learning_rate) == 0.25


def test_a_nan_in_the_first_epoch_leaves_finite_slots():
    model = regression(keras.optimizers.Adam(0.01))
    initial = model.get_weights()
    callbacks = [Spoil(0, math.nan), HalveOnPlateau("loss", **ROLLBACK)]
    model.fit(X, Y, 8, 1, verbose=0, callbacks=callbacks)
    assert_equal(model.get_weights(), initial)
    slots = numbers(model.optimizer.variables)
    assert len(slots) == 2 + 2 * len(initial)
    # All but the counter and the rate are as before the first step.
    assert sum(np.any(slot) for slot in slots) == 2
    assert int(model.optimizer.iterations) == 4


def test_seeds_and_statistics_of_layers_return_too():
    layers = [keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])
    model.compile(SGD(0.01), "mse")
    before = numbers(model.variables)
    callbacks = [Spoil(0, math.nan), HalveOnPlateau("loss", **ROLLBACK)]
    model.fit(X, Y, 8, 1, verbose=0, callbacks=callbacks)
    assert_equal(numbers(model.variables), before)


def test_a_smaller_explosion_is_the_users_choice():
    # Without biases the second epoch has 4 times the loss of the first.
    def weights(explosion):
        keras.utils.set_random_seed(2)
        model = regression(SGD(1e-6))
        record = Record()
        halve = HalveOnPlateau("loss", explosion=explosion, **ROLLBACK)
        callbacks = [Spoil(1, 2**0.5), halve, record]
        model.fit(X, 0 * Y, 32, 2, verbose=0, callbacks=callbacks)
        return record.weights

    first, second = weights(3.9)
    assert_equal(first, second)
    first, second = weights(4.1)
    np.testing.assert_allclose(second[0], 2**0.5 * first[0], rtol=1e-4)


def test_an_explosion_in_a_first_epoch_of_one_batch_is_seen():
    model = regression(SGD(50.0))
    initial = model.get_weights()
    data = {"validation_data": (X, Y)}
    callbacks = [HalveOnPlateau(**ROLLBACK)]
    history = model.fit(X, Y, 32, 1, verbose=0, callbacks=callbacks, **data).history
    assert 1e3 * history["loss"][0] < history["val_loss"][0] < math.inf
    assert_equal(model.get_weights(), initial)


@pytest.mark.parametrize(("first", "rates"), [(0.2, [8, 8, 8]), (0.01, [8, 4, 4])])
def test_a_lucky_first_batch_costs_one_halving_at_most(first, rates):
    model = walker(SGD(1e-3))
    model.compile(SGD(8e-3), "mse")
    # Predictions start at 0: the epoch has loss about 1, the first batch 0.04 (less
    # than 100 times lower) or 0.0001.
    targets = np.array([[first], [1.0], [-1.0], [1.0], [-1.0], [1.2], [0.8], [1.0]])
    history = model.fit(
        np.ones((8, 1)), targets, batch_size=1, epochs=3, shuffle=False, verbose=0,
        callbacks=[HalveOnPlateau("loss", patience=9, on_divergence="rollback")],
    ).history  # fmt: skip
    assert history["learning_rate"] == pytest.approx([1e-3 * rate for rate in rates])
    assert history["loss"][1] > history["loss"][2] > 0.5


UNBUILT = r"`model` must be built before `fit`.*Received: an unbuilt model; call it on"


@pytest.mark.backend("tensorflow", reason="on the others `fit` builds the model first")
def test_an_unbuilt_model_cannot_be_returned():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=UNBUILT):
        model.fit(X, Y, verbose=0, callbacks=[HalveOnPlateau("loss", **ROLLBACK)])


@pytest.mark.backend("jax", "torch", reason="TensorFlow builds the model in the step")
def test_a_model_that_fit_builds_can_be_returned():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(SGD(0.5), "mse")
    callbacks = [Spoil(0, math.nan), HalveOnPlateau("loss", **ROLLBACK)]
    model.fit(X, Y, 8, 1, verbose=0, callbacks=callbacks)
    assert np.isfinite(model.get_weights()[0]).all()
    assert float(model.optimizer.learning_rate) == 0.25


# --- What it says -------------------------------------------------------------------


def test_a_misspelt_monitor_is_told_once_what_was_meant():
    model = regression("sgd")
    text = r"the logs have no 'val_los'. Received: \['loss', 'val_loss'\]. Did you mean"
    with pytest.warns(kt.NoEffectWarning, match=text + r" 'val_loss'\?") as told:
        model.fit(
            X, Y, epochs=3, validation_data=(X, Y), verbose=0,
            callbacks=[HalveOnPlateau("val_los")],
        )  # fmt: skip
    assert [each.category for each in told].count(kt.NoEffectWarning) == 1


def test_a_missing_validation_is_told():
    text = r"the logs have no 'val_loss'. Pass `validation_data` to `fit`\."
    with pytest.warns(kt.NoEffectWarning, match=text) as told:
        regression("sgd").fit(X, Y, epochs=3, verbose=0, callbacks=[HalveOnPlateau()])
    assert [each.category for each in told].count(kt.NoEffectWarning) == 1


def test_a_validation_every_other_epoch_is_no_reason_to_warn():
    model = regression(SGD(1e-9))
    fit = model.fit(
        X, Y, epochs=6, verbose=0, validation_data=(X, Y), validation_freq=2,
        callbacks=[HalveOnPlateau(patience=1)],
    )  # fmt: skip
    assert len(fit.history["val_loss"]) == 3
    # Validated after epochs 2, 4, 6.
    halved = np.array(fit.history["learning_rate"]) / 1e-9
    assert halved == pytest.approx([1.0, 1.0, 1.0, 1.0, 0.5, 0.5])


def test_prints_each_halving_when_asked(capsys):
    walk(SGD(1.0), SAME[:3], patience=1, verbose=1)
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 2: scripted did not improve on 1. Learning rate x 0.5, now 0.5.",
        "Epoch 3: scripted did not improve on 1. Learning rate x 0.5, now 0.25.",
    ]
    walk(SGD(1.0), SAME[:3], patience=1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("epoch", "name"), [(0, "the start"), (1, "epoch 1")])
def test_prints_where_it_returned_to(capsys, epoch, name):
    model = regression(SGD(0.5**7))
    halve = HalveOnPlateau("loss", verbose=1, **ROLLBACK)
    model.fit(X, Y, 8, 2, verbose=0, callbacks=[Spoil(epoch, math.nan), halve])
    first = capsys.readouterr().out.splitlines()[0]
    said = f"the loss diverged; back to {name}. Learning rate x 0.5, now 0.00391."
    assert first == f"Epoch {epoch + 1}: {said}"


BAD = [
    ({"factor": 0.0}, ValueError, r"`factor` must be a number in \(0, 1\). .*factor=0"),
    ({"factor": 1.0}, ValueError, r"`factor` must be .*Received: factor=1.0"),
    ({"factor": "x"}, TypeError, r"`factor` must be .*Received: factor='x'"),
    ({"patience": 0}, ValueError, r"`patience` must be a positive integer.*patience=0"),
    ({"patience": 1.5}, TypeError, r"`patience` must be a positive integer.*=1.5"),
    (
        {"mode": "maximum"},
        ValueError,
        r"`mode` must be one of 'auto', .*mode='maximum'",
    ),
    ({"mode": "mx"}, ValueError, r"`mode` must be .*Did you mean 'max'\?"),
    ({"min_delta": -1}, ValueError, r"`min_delta` must be a number of at least 0.*=-1"),
    ({"min_delta": None}, TypeError, r"`min_delta` must be .*min_delta=None"),
    ({"cooldown": -1}, ValueError, r"`cooldown` must be an integer from 0 .*=-1"),
    ({"cooldown": 0.5}, TypeError, r"`cooldown` must be an integer .*cooldown=0.5"),
    ({"min_lr": -0.1}, ValueError, r"`min_lr` must be a number of at least 0.*=-0.1"),
    ({"min_lr": "0"}, TypeError, r"`min_lr` must be .*min_lr='0'"),
    (
        {"on_divergence": "rolback"},
        ValueError,
        r"`on_divergence` must be one of None, 'rollback'.*Did you mean 'rollback'\?",
    ),
    (
        {"explosion": 1.0},
        ValueError,
        r"`explosion` must be a number in .*explosion=1.0",
    ),
    ({"explosion": None}, TypeError, r"`explosion` must be .*explosion=None"),
    ({"monitor": 3}, TypeError, r"`monitor` must be .*monitor=3"),
]


@pytest.mark.parametrize(("bad", "error", "text"), BAD)
def test_says_which_argument_is_wrong(bad, error, text):
    with pytest.raises(error, match=text):
        HalveOnPlateau(**bad)


def test_an_evaluation_outside_of_fit_is_left_alone():
    model = regression("sgd")
    loss = model.evaluate(X, Y, verbose=0, callbacks=[HalveOnPlateau()])
    assert math.isfinite(loss)


@pytest.mark.backend(
    "jax", "tensorflow", reason="PyTorch runs eagerly: there is nothing to trace again"
)
def test_with_a_schedule_the_step_is_traced_again_at_halvings_only():
    traces, seen, scripted = [], [], iter([5.0, 5.0, 4.0, 3.0, 3.0, 2.0])

    def loss(y_true, y_pred):
        traces.append(1)
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    class Script(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(len(traces))
            logs["scripted"] = next(scripted)

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(kt.schedules.CosineRestarts(0.01, 100)), loss)
    halve = HalveOnPlateau("scripted", patience=1)
    x = np.ones((8, 3))
    model.fit(x, x[:, :1], epochs=6, verbose=0, callbacks=[Script(), halve])
    # Epochs 1 and 4 did not improve: the steps of epochs 2 and 5 are traced anew.
    grown = np.flatnonzero(np.diff(seen) > 0) + 1
    assert grown.tolist() == [2, 5]
