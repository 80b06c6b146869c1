"""What callbacks and early stopping do to every member."""

import functools

import keras
import lone_models as lone
import numpy as np
import pytest

from keras_tricks.ensembles import (
    VectorizedEnsemble,
    _vectorized_callbacks,
    _vectorized_rows,
    _vectorized_stopping,
)

X, Y = lone.VECTORS[:32], lone.LABELS[:32]


def ensemble(optimizer=lambda: keras.optimizers.SGD(0.1), members=2, **kwargs):
    given = {"metrics": kwargs.pop("metrics", None)}
    build = lone.compiled(lone.dense, optimizer, **given)
    seeds = range(1, members + 1)
    return VectorizedEnsemble(build, members, seeds=seeds, strategy="vmap", **kwargs)


def fit(many, epochs=1, **kwargs):
    return many.fit(X, Y, epochs=epochs, **{"batch_size": 16, "verbose": 0, **kwargs})


class Acting(keras.callbacks.Callback):
    """Sets the rate to 0 after one step, and all weights to 0 after the second."""

    def __init__(self):
        super().__init__()
        self.batches, self.weights, self.logs = [], [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = 0.0 if batch else 0.1

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(batch)
        self.logs.append(logs)
        self.weights.append(self.model.get_weights())
        if len(self.batches) == 2:
            for variable in self.model.trainable_variables:
                variable.assign(np.zeros(variable.shape))


def test_what_a_callback_does_at_a_batch_is_done():
    many, acting = ensemble(metrics=["accuracy"]), Acting()
    before = many.get_weights()
    history = fit(many, 2, callbacks=[acting]).history
    assert acting.batches == [0, 1, 0, 1]
    # A rate of 0.1 moves, one of 0 does not.
    assert not np.allclose(before[0], acting.weights[0][0])
    assert np.array_equal(acting.weights[0][0], acting.weights[1][0])
    # From weights of 0 the kernels before the head cannot move, for its own are 0.
    assert not acting.weights[2][0].any()
    # The metrics so far, at the last batch of an epoch those of the epoch.
    for epoch in (0, 1):
        last = acting.logs[2 * epoch + 1]
        assert sorted(last) == ["accuracy", "loss"]
        for name, value in last.items():
            assert value == pytest.approx(history[name][epoch], abs=1e-6)


class Steps(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


def test_only_who_hears_of_batches_has_the_steps_run_one_by_one(tmp_path):
    path = str(tmp_path / "best.weights.h5")
    checkpoint = functools.partial(
        keras.callbacks.ModelCheckpoint, path, save_weights_only=True
    )
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    for callbacks, watched in (
        ([], False),
        ([keras.callbacks.EarlyStopping()], False),
        ([checkpoint(), backup], False),
        ([checkpoint(save_freq=1)], True),
        ([Steps()], True),
    ):
        given = keras.callbacks.CallbackList(callbacks, add_history=True)
        assert _vectorized_callbacks.watches_batches(given) == watched
    many = ensemble()
    fit(many, callbacks=[checkpoint()])
    other = ensemble()
    other.load_weights(path)
    for a, b in zip(many.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_the_validation_is_cut_into_batches_and_is_the_same(monkeypatch):
    sizes, phases = [], _vectorized_rows.phases

    def noted(orders, active, batch_size, mask):
        sizes.append(batch_size)
        return phases(orders, active, batch_size, mask)

    monkeypatch.setattr(_vectorized_rows, "phases", noted)
    found = []
    for size in (None, 5):
        many = ensemble(metrics=["accuracy"])
        history = fit(
            many,
            validation_data=(X[:13], Y[:13]),
            validation_rows=None,
            validation_batch_size=size,
        ).history
        found.append([history["val_loss"], history["val_accuracy"]])
    # Of training and validation each; 13 rows fit into one batch.
    assert sizes == [16, 13, 16, 5]
    assert np.allclose(*found, atol=1e-6)


def test_the_rate_that_a_callback_has_set_lasts_to_the_next_fit(tmp_path):
    many = ensemble(learning_rates=[0.2, 0.4])
    stop = keras.callbacks.LearningRateScheduler(lambda epoch: 0.0)
    fit(many, callbacks=[stop])
    many.save(tmp_path / "many.keras")
    loaded = keras.models.load_model(tmp_path / "many.keras")
    assert loaded._core.rate == pytest.approx(0.1)
    before = many.get_weights()
    fit(many)
    for a, b in zip(before, many.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_a_member_at_rest_has_no_loss_and_no_part_in_the_mean():
    many = ensemble(learning_rates=[0.0, 0.05])
    stop = keras.callbacks.EarlyStopping(patience=1)
    given = {"validation_data": (X, Y), "early_stopping": stop}
    history = fit(many, 4, **given).history
    losses = np.stack(history["member_loss"])
    assert many.stopped_epochs[0] == 1
    assert np.isnan(losses[2:, 0]).all()
    assert not np.isnan(losses[:, 1]).any()
    assert history["loss"][2:] == pytest.approx(losses[2:, 1])
    assert not np.isnan(history["val_loss"]).any()


def test_a_metric_itself_says_which_direction_is_better():
    build = lone.compiled(lone.dense, keras.optimizers.SGD)
    many = VectorizedEnsemble(build, 2, seeds=[1, 2], strategy="vmap")
    # Names that say nothing, or the contrary.
    up = keras.metrics.SparseCategoricalAccuracy(name="loss_of_face")
    down = keras.metrics.SparseCategoricalCrossentropy(name="acc")
    many.compile("sgd", "sparse_categorical_crossentropy", metrics=[up, down])
    metrics = many._core.metrics((X, Y, None))
    told = _vectorized_stopping.higher_is_better
    assert told("val_loss_of_face", "auto", metrics)
    assert not told("val_acc", "auto", metrics)
    assert told("val_acc", "max", metrics)
    assert not told("val_loss", "auto", metrics)
    with pytest.raises(ValueError, match=r"`mode` must be .*'auto' for 'val_other'"):
        told("val_other", "auto", metrics)
    stop = keras.callbacks.EarlyStopping("val_other")
    with pytest.raises(ValueError, match=r"`mode` must be .*'auto' for 'val_other'"):
        fit(many, early_stopping=stop)


def test_every_fit_goes_on_with_new_orders_and_counts_epochs_as_keras(monkeypatch):
    seen, order = [], _vectorized_rows.order

    def spy(*args):
        seen.append(order(*args).tolist())
        return seen[-1]

    monkeypatch.setattr(_vectorized_rows, "order", spy)
    many = ensemble(lambda: keras.optimizers.SGD(0.0), members=1)
    stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    fit(many)
    given = {"validation_data": (X, Y), "early_stopping": stop}
    fit(many, 9, initial_epoch=5, validation_freq=2, **given)
    # Validated after the epochs 5 and 7, counted from 0.
    assert many.best_epochs.tolist() == [5]
    assert many.scores().shape == (1,)
    assert len(seen) == 5
    assert len({tuple(each) for each in seen}) == 5


def test_a_baseline_is_the_bar_as_in_keras():
    given = {"mode": "min", "baseline": 1.0, "patience": 2}
    values = [5.0, 4.0, 3.0, 3.5, 0.5]
    ours = _vectorized_stopping.MemberStopping(
        keras.callbacks.EarlyStopping(**given), 1, None
    )
    theirs = keras.callbacks.EarlyStopping(**given)
    theirs.set_model(lone.dense())
    theirs.model.stop_training = False
    theirs.on_train_begin()
    for epoch, value in enumerate(values):
        ours.observe(epoch, np.array([value]), [])
        theirs.on_epoch_end(epoch, {"val_loss": value})
        assert bool(ours.active[0]) is not theirs.model.stop_training
        if not ours.active[0]:
            break
    # Better than before, but not than the baseline, for as long as that lasts.
    assert epoch == 3
    assert ours.best_epochs[0] == theirs.best_epoch == 2


def test_members_leave_out_of_the_decay_what_the_ensemble_does():
    def build():
        model = lone.dense()
        optimizer = keras.optimizers.AdamW()
        optimizer.exclude_from_weight_decay(
            var_list=[model.trainable_variables[0]], var_names=["bias"]
        )
        model.compile(optimizer, "sparse_categorical_crossentropy")
        return model

    member = VectorizedEnsemble(build, 2, seeds=[1, 2]).member(1)
    decays = map(member.optimizer._use_weight_decay, member.trainable_variables)
    assert list(decays) == [False, False, True, False]


def test_callbacks_of_keras_find_the_direction_of_a_metric():
    many = ensemble(metrics=["accuracy"])
    stop = keras.callbacks.EarlyStopping("val_accuracy")
    fit(many, callbacks=[stop], validation_data=(X, Y))
    assert stop.monitor_op(2.0, 1.0)


@pytest.mark.parametrize("strategy", ["auto", "sequential"])
def test_a_layer_with_noise_is_trained_by_some_strategy(strategy):
    # On PyTorch its seed is read from the device, which cannot be traced.
    def make():
        noise = keras.layers.GaussianNoise(0.5, seed=1)
        return lone.net(noise, shape=(4,))

    build = lone.compiled(make, lambda: keras.optimizers.SGD(0.0))
    many = VectorizedEnsemble(build, 2, seeds=[1, 2], strategy=strategy)
    losses = np.stack(fit(many, 2, shuffle=False).history["member_loss"])
    assert np.isfinite(losses).all()
    # New noise at every step.
    assert not np.isclose(losses[0], losses[1]).any()
