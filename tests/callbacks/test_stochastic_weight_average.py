import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras.callbacks import BackupAndRestore

import keras_tricks as kt
from keras_tricks import NoEffectWarning, _backend
from keras_tricks.callbacks import _running_mean
from keras_tricks.callbacks.stochastic_weight_average import StochasticWeightAverage

SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(20, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True) + RANDOM.normal(size=(20, 1)).astype("float32")
FIT = {"batch_size": 4, "shuffle": False, "verbose": 0}
VALIDATION = {"validation_data": (X[:7], Y[:7])}


def build(optimizer="sgd", **compiled):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse", **compiled)
    return model


def build_deep():
    keras.utils.set_random_seed(3)
    layers = [
        keras.layers.Dense(4, activation="tanh"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(Adam(0.05), "mse")
    return model


def build_normal(optimizer="sgd"):
    keras.utils.set_random_seed(3)
    layers = [keras.layers.BatchNormalization(name="norm"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(optimizer, "mse")
    return model


def fit(model, epochs, *callbacks, **arguments):
    arguments = {**FIT, "epochs": epochs, "callbacks": list(callbacks), **arguments}
    return model.fit(X, Y, **arguments).history


def numbers(variables):
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def assert_equal(first, second):
    for old, new in zip(first, second, strict=True):
        np.testing.assert_array_equal(new, old)


def assert_close(first, second, rtol=1e-5):
    for old, new in zip(first, second, strict=True):
        np.testing.assert_allclose(new, old, rtol=rtol, atol=1e-6)


class Watcher(keras.callbacks.Callback):
    """The raw weights after every batch and every epoch."""

    def on_train_begin(self, logs=None):
        self.batches, self.epochs = [], []

    def on_train_batch_end(self, batch, logs=None):
        _backend.sync_state(self.model)
        self.batches.append(numbers(self.model.weights))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(numbers(self.model.weights))


def mean(lists):
    return [
        np.mean(arrays, axis=0, dtype="float64") for arrays in zip(*lists, strict=True)
    ]


# --- The average --------------------------------------------------------------------


def test_the_average_of_equal_weights_is_them():
    value = np.float16([0.1, 1e-7, -65504.0])
    average = value.astype("float64")
    for count in range(1, 2000):
        average = _running_mean.add(average, count, value)
    np.testing.assert_array_equal(average.astype("float16"), value)


def test_the_average_does_not_depend_on_the_order():
    values = RANDOM.normal(size=(50, 4)).astype("float32")
    found = []
    for order in (range(50), reversed(range(50))):
        average = _running_mean.RunningMean()
        for index in order:
            average.add([values[index]])
        found.append(average.arrays[0].astype("float32"))
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0], values.mean(0, dtype="float64"), rtol=1e-6)


@pytest.mark.parametrize("validated", [True, False])
def test_the_model_ends_with_the_mean_of_the_weights_after_the_epochs(validated):
    swa, watcher, model = StochasticWeightAverage(2), Watcher(), build(Adam(0.1))
    fit(model, 5, swa, watcher, **(VALIDATION if validated else {}))
    assert swa.averages == 3
    assert_close(mean(watcher.epochs[2:]), numbers(model.weights))
    assert_equal(swa.averaged_weights, numbers(model.weights))


def test_every_so_many_epochs():
    swa, watcher, model = StochasticWeightAverage(1, every=2), Watcher(), build()
    fit(model, 5, swa, watcher)
    assert swa.averages == 2
    assert_close(mean([watcher.epochs[1], watcher.epochs[3]]), numbers(model.weights))


@pytest.mark.parametrize("every", [1, 2])
def test_at_the_ends_of_the_cycles(every):
    # Cycles end after updates 4, 8, 12, 16 and 20; the last one, of 5, is cut short.
    schedule = kt.schedules.Cyclical(0.01, 0.1, 2)
    swa = StochasticWeightAverage(1, every, at="cycle_end")
    watcher, model = Watcher(), build(SGD(schedule))
    fit(model, 5, swa, watcher, **VALIDATION, steps_per_epoch=5)
    wanted = [8, 12, 16, 20, 24][::every]
    assert swa.averages == len(wanted)
    expected = mean([watcher.batches[update - 1] for update in wanted])
    assert_close(expected, numbers(model.weights))


def test_steps_stay_asynchronous():
    for hook in ("on_batch_end", "on_train_batch_end", "on_test_batch_end"):
        theirs = getattr(keras.callbacks.Callback, hook)
        assert getattr(StochasticWeightAverage, hook) is theirs


def test_the_raw_weights_stay_without_restore():
    swa, watcher = StochasticWeightAverage(1, restore=False), Watcher()
    model = build()
    fit(model, 3, swa, watcher, **VALIDATION)
    assert_equal(watcher.epochs[-1], numbers(model.weights))
    assert_close(mean(watcher.epochs[1:]), swa.averaged_weights)


def test_two_fits_have_two_averages():
    swa, watcher, model = StochasticWeightAverage(1), Watcher(), build()
    fit(model, 3, swa, **VALIDATION)
    fit(model, 3, swa, watcher, **VALIDATION)
    assert swa.averages == 2
    assert_close(mean(watcher.epochs[1:]), numbers(model.weights))


def test_weights_of_half_precision():
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(1, dtype="bfloat16")
    model = keras.Sequential([keras.Input((3,)), dense])
    model.compile(SGD(0.1), "mse")
    watcher = Watcher()
    fit(model, 3, StochasticWeightAverage(0), watcher, **VALIDATION)
    assert dense.kernel.dtype == "bfloat16"
    found = numbers(model.weights)[0].astype("float32")
    expected = mean([[w.astype("float32") for w in ws] for ws in watcher.epochs])[0]
    np.testing.assert_allclose(found, expected, rtol=2**-8)


# --- Validation ---------------------------------------------------------------------


def test_the_validation_sees_the_average():
    swa, watcher, model = StochasticWeightAverage(1), Watcher(), build(SGD(0.2))
    history = fit(model, 4, swa, watcher, **VALIDATION)
    judge = build()
    for epoch in range(4):
        seen = watcher.epochs[1 : epoch + 1] or watcher.epochs[:1]
        judge.set_weights(mean(seen))
        expected = judge.evaluate(X[:7], Y[:7], verbose=0)
        assert history["val_loss"][epoch] == pytest.approx(expected, rel=1e-5)


class Fail(keras.callbacks.Callback):
    """Fails in the second validation; notes what the model holds there."""

    def __init__(self, hook):
        super().__init__()
        self.hook, self.epoch, self.seen = hook, 0, None
        setattr(self, hook, self.fail)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def fail(self, *args, **kwargs):
        if self.epoch == 1:
            raise KeyboardInterrupt(self.hook)


@pytest.mark.parametrize(
    ("hook", "first"),
    [
        ("on_test_begin", True),
        ("on_test_begin", False),
        ("on_test_batch_begin", True),
        ("on_test_batch_end", False),
        ("on_test_end", True),
        ("on_test_end", False),
    ],
)
def test_a_failing_validation_leaves_the_raw_weights(hook, first):
    model, swa = build(SGD(0.2)), StochasticWeightAverage(0)
    both = [Fail(hook), swa] if first else [swa, Fail(hook)]
    watcher = Watcher()
    with pytest.raises(KeyboardInterrupt):
        fit(model, 3, *both, watcher, **VALIDATION)
    assert_equal(watcher.batches[-1], numbers(model.weights))
    assert not swa.swapped


def test_a_validation_that_fails_in_its_data_leaves_the_raw_weights():
    class Broken(keras.utils.PyDataset):
        asked = 0

        def __len__(self):
            return 2

        def __getitem__(self, index):
            Broken.asked += 1
            if Broken.asked > 5:
                raise RuntimeError("no data")
            return X[:4], Y[:4]

    model, watcher = build(SGD(0.2)), Watcher()
    with pytest.raises(Exception, match="no data"):
        fit(
            model, 9, StochasticWeightAverage(0), watcher, validation_data=Broken(),
        )  # fmt: skip
    assert len(watcher.epochs) >= 1
    assert_equal(watcher.batches[-1], numbers(model.weights))


class Failing(keras.utils.PyDataset):
    """Gives its first batch once, for the look at the start."""

    asked = 0

    def __len__(self):
        return 2

    def __getitem__(self, index):
        self.asked += 1
        if self.asked > 3:
            raise RuntimeError("no data")
        return (X[:4],)


def test_a_failing_recalibration_leaves_the_raw_weights():
    model, watcher = build_normal(), Watcher()
    swa = StochasticWeightAverage(0, recalibrate=Failing())
    with pytest.raises(Exception, match="no data"):
        fit(model, 9, swa, watcher, **VALIDATION)
    assert_equal(watcher.batches[-1], numbers(model.weights))


def test_nothing_is_left_on_the_model():
    model = build()
    swa = StochasticWeightAverage(0)
    fit(model, 2, swa, **VALIDATION)
    assert "evaluate" not in vars(model)

    class FailInTraining(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("out of power")

    with pytest.raises(RuntimeError, match="out of power"):
        fit(model, 2, swa, FailInTraining(), **VALIDATION)
    assert "evaluate" not in vars(model)
    # Whatever a failure leaves, it does nothing.
    with pytest.raises(RuntimeError, match="out of power"):
        fit(model, 2, FailInTraining(), swa)
    weights = numbers(model.weights)
    before = model.evaluate(X, Y, verbose=0)
    assert before == pytest.approx(np.mean((model.predict(X, verbose=0) - Y) ** 2))
    assert_equal(weights, numbers(model.weights))
    fit(model, 2, StochasticWeightAverage(0), **VALIDATION)
    assert "evaluate" not in vars(model)


def test_predictions_and_evaluations_of_other_callbacks_see_the_raw_weights():
    class Predict(keras.callbacks.Callback):
        outputs = None

        def on_epoch_end(self, epoch, logs=None):
            weights = numbers(self.model.weights)
            self.outputs = self.model.predict(X, verbose=0)
            loss = self.model.evaluate(X, Y, verbose=0)
            assert loss == pytest.approx(np.mean((self.outputs - Y) ** 2), rel=1e-5)
            assert_equal(weights, numbers(self.model.weights))

    predict, watcher, model = Predict(), Watcher(), build(SGD(0.2))
    swa = StochasticWeightAverage(0, restore=False)
    fit(model, 3, swa, predict, watcher, **VALIDATION)
    kernel, bias = watcher.epochs[-1]
    np.testing.assert_allclose(predict.outputs, X @ kernel + bias, rtol=1e-4, atol=1e-5)
    # Nor do they swap when the callback is given to them.
    model.predict(X, verbose=0, callbacks=[swa])
    model.evaluate(X, Y, verbose=0, callbacks=[swa])
    assert_equal(watcher.epochs[-1], numbers(model.weights))


def test_an_evaluation_inside_the_validation_sees_the_average():
    class Inside(keras.callbacks.Callback):
        losses = ()

        def on_test_begin(self, logs=None):
            kernel, bias = numbers(self.model.weights)
            loss = self.model.evaluate(X, Y, verbose=0)
            self.losses += ((loss, np.mean((X @ kernel + bias - Y) ** 2)),)
            assert_equal([kernel, bias], numbers(self.model.weights))

    inside, watcher, model = Inside(), Watcher(), build(SGD(0.2))
    fit(model, 2, StochasticWeightAverage(0), inside, watcher, **VALIDATION)
    for found, expected in inside.losses:
        assert found == pytest.approx(expected, rel=1e-4)


def test_a_rollback_after_the_validation_is_kept():
    # HalveOnPlateau acts at the end of the validation, when the raw weights are back.
    halve = kt.callbacks.HalveOnPlateau(
        "val_loss", patience=9, on_divergence="rollback", explosion=1.0001
    )
    watcher, model = Watcher(), build(SGD(0.9))
    fit(model, 3, StochasticWeightAverage(0), halve, watcher, **VALIDATION)
    assert np.isfinite(numbers(model.weights)[0]).all()


def test_only_one_average_at_a_time():
    text = "StochasticWeightAverage must be alone: .* two of them in one `fit`"
    with pytest.raises(ValueError, match=text):
        fit(build(), 0, StochasticWeightAverage(1), StochasticWeightAverage(2))


def test_the_averages_of_the_optimizer_are_refused():
    text = r"must be the only average, but the optimizer .* Received: use_ema=True"
    with pytest.raises(ValueError, match=text):
        fit(build(SGD(use_ema=True)), 0, StochasticWeightAverage(1))


def test_a_loop_of_ones_own_without_params():
    swa, model = StochasticWeightAverage(0), build()
    callbacks = keras.callbacks.CallbackList([swa], model=model)
    callbacks.on_train_begin()
    seen = []
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        callbacks.on_train_batch_begin(0)
        model.train_on_batch(X, Y)
        callbacks.on_train_batch_end(0)
        seen.append(numbers(model.weights))
        callbacks.on_epoch_end(epoch)
    callbacks.on_train_end()
    assert_close(mean(seen), numbers(model.weights))


# --- Moments ------------------------------------------------------------------------


def test_the_moments_fit_the_average_while_the_training_goes_on_from_raw_weights():
    watchers = Watcher(), Watcher()
    plain = build_deep()
    losses = fit(plain, 3, watchers[0], **VALIDATION)
    model, swa = build_deep(), StochasticWeightAverage(1, recalibrate=(X, Y))
    history = fit(model, 3, swa, watchers[1], **VALIDATION)
    # The training.
    assert losses["loss"] == history["loss"]
    assert losses["val_loss"][0] == history["val_loss"][0]
    for old, new in zip(watchers[0].batches, watchers[1].batches, strict=True):
        assert_equal(old, new)
    assert_equal(numbers(plain.optimizer.variables), numbers(model.optimizer.variables))
    # The moments.
    kernel, bias = numbers(model.layers[0].weights)
    inside = np.tanh(X @ kernel + bias)
    norm = model.layers[1]
    found = numbers([norm.moving_mean, norm.moving_variance])
    assert_close([inside.mean(0), inside.var(0)], found, rtol=1e-4)
    loss = model.evaluate(X[:7], Y[:7], verbose=0)
    assert history["val_loss"][-1] == pytest.approx(loss, rel=1e-5)


def test_without_data_the_moments_are_averaged_and_it_is_told():
    model, watcher = build_normal(), Watcher()
    text = r"the moments of BatchNormalization layer .* Give `recalibrate` the training"
    with pytest.warns(UserWarning, match=text):
        fit(model, 2, StochasticWeightAverage(0), watcher)
    assert_close(mean(watcher.epochs), numbers(model.weights))


class Subclassed(keras.Model):
    """Built by `fit`, on TensorFlow with the first batch only."""

    def __init__(self, *layers):
        super().__init__()
        self.parts = layers

    def call(self, inputs, training=None):
        for part in self.parts:
            inputs = part(inputs)
        return inputs


def test_it_is_told_of_a_model_that_fit_builds_too():
    model = Subclassed(keras.layers.BatchNormalization(), keras.layers.Dense(1))
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match=r"moments of BatchNormalization layer"):
        fit(model, 1, StochasticWeightAverage(0))
    model = Subclassed(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    with pytest.warns(NoEffectWarning, match="`recalibrate` has no effect"):
        fit(model, 1, StochasticWeightAverage(0, recalibrate=X))


BAD_DATA = {
    # Another number of columns: as each backend says it.
    "another shape": (lambda: X[:, :2], Exception, None),
    "not finite": (
        lambda: np.full_like(X, np.nan), ValueError, "`data` must give finite .* 'norm'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_DATA)
def test_what_is_wrong_with_the_data_is_told_before_the_training(name):
    make, error, text = BAD_DATA[name]
    model, watcher = build_normal(), Watcher()
    before = numbers(model.variables)
    with pytest.raises(error, match=text):
        fit(model, 3, StochasticWeightAverage(2, recalibrate=make()), watcher)
    assert not watcher.batches
    assert_equal(before, numbers(model.variables))


def test_moments_that_are_not_finite_are_refused_later_too():
    # The first batch, which is looked at before the training, is good.
    bad = np.concatenate([np.tile(X, (2, 1)), np.full_like(X, np.nan)])
    model, watcher = build_normal(), Watcher()
    with pytest.raises(ValueError, match=r"`data` must give finite .* 'norm'"):
        fit(model, 1, StochasticWeightAverage(0, recalibrate=bad), watcher)
    assert_equal(watcher.batches[-1], numbers(model.weights))


def test_a_training_that_diverges_is_not_blamed_on_the_data():
    model = build_normal(SGD(1e38))
    history = fit(model, 2, StochasticWeightAverage(0, recalibrate=X), **VALIDATION)
    assert not np.isfinite(history["val_loss"][-1])


@pytest.mark.parametrize("data", [True, 3, "train"])
def test_what_is_no_data_is_refused(data):
    with pytest.raises(
        TypeError, match=rf"`recalibrate` must be .* recalibrate={data!r}"
    ):
        StochasticWeightAverage(0, recalibrate=data)


def test_data_that_can_be_read_once_are_refused():
    text = "`recalibrate` must be data that can be read more than once.*generator"
    with pytest.raises(ValueError, match=text):
        StochasticWeightAverage(0, recalibrate=((x,) for x in X))


def test_the_linter_is_told_what_it_averages():
    for data in (None, X):
        traits = StochasticWeightAverage(0, recalibrate=data).lint_traits
        assert traits == {
            "averages_weights": True, "refreshes_batch_norm": data is not None
        }  # fmt: skip


def test_data_without_moments_is_told():
    text = "`recalibrate` has no effect: the model has no BatchNormalization"
    with pytest.warns(NoEffectWarning, match=text):
        fit(build(), 1, StochasticWeightAverage(0, recalibrate=X))


# --- Killed and resumed -------------------------------------------------------------


class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 3:
            raise RuntimeError("killed")


@pytest.mark.parametrize("switched", [False, True])
def test_a_resumed_training_has_the_average_of_one_that_was_not_killed(
    tmp_path, switched
):
    def run(folder, *kill):
        swa = StochasticWeightAverage(1, at="cycle_end", backup_dir=folder)
        model = build(SGD(kt.schedules.CosineRestarts(0.1, 3, 1.0)))
        # An optimizer that takes over need not have cycles.
        switch = kt.callbacks.SwitchOptimizer(SGD(0.01), epoch=2, backup_dir=folder)
        backup = [BackupAndRestore(folder)] if folder else []
        switches = [switch] if switched else []
        fit(model, 4, swa, *switches, *backup, *kill, **VALIDATION)
        return swa, model

    whole, expected = run(None)
    folder = str(tmp_path / "backup")
    with pytest.raises(RuntimeError, match="killed"):
        run(folder, Kill())
    names = os.listdir(folder)
    assert "stochastic_weight_average.1.1.json" in names
    assert any(".mean" in name for name in names)
    resumed, model = run(folder)
    assert resumed.averages == whole.averages == (2 if switched else 5)
    assert_close(numbers(expected.weights), numbers(model.weights))


@pytest.mark.parametrize("listed", [[0, 15], [5, 15], [5, 16]])
def test_the_updates_of_an_earlier_optimizer_are_in_the_state(listed):
    before, updates = listed
    swa = StochasticWeightAverage(1, at="cycle_end", backup_dir="unused")
    model = build(SGD(kt.schedules.CosineRestarts(0.1, 3, 1.0)))
    swa.set_model(model)
    swa.on_train_begin()
    # The backup holds ten updates of the optimizer of now.
    model.optimizer.iterations.assign(10)
    counts = {"averages": 0, "seen": 0, "taken_over": before > 0}
    swa.set_state({**counts, "updates": updates, "updates_before": before})
    swa._watch.start(3, swa._known)
    expected = {(0, 15): 25, (5, 15): 15, (5, 16): 26}
    assert swa._watch.updates == expected[before, updates]


def test_old_averages_are_deleted(tmp_path):
    swa = StochasticWeightAverage(0, backup_dir=str(tmp_path))
    fit(build(), 7, swa)
    names = sorted(path.name for path in tmp_path.glob("*.zip"))
    stem = "stochastic_weight_average.0.1.mean"
    assert names == [f"{stem}{n}.zip" for n in (4, 5, 6, 7)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:-30],
        lambda whole: whole[:40] + b"?" + whole[41:],
    ],
    ids=["empty", "end is missing", "one byte"],
)
def test_a_damaged_average_is_named(tmp_path, damage):
    model = build()
    fit(model, 2, StochasticWeightAverage(0, backup_dir=str(tmp_path)))
    (path,) = tmp_path.glob("*.mean2.zip")
    path.write_bytes(damage(path.read_bytes()))
    text = r"`backup_dir` must hold a state that StochasticWeightAverage wrote"
    with pytest.raises(ValueError, match=text):
        fit(
            model, 3, StochasticWeightAverage(0, backup_dir=str(tmp_path)),
            initial_epoch=2,
        )  # fmt: skip


CHILD = """
import os, signal, sys
import keras, numpy as np
from keras_tricks.callbacks.stochastic_weight_average import StochasticWeightAverage

folder, killed, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]

class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.epoch == killed and batch == 1:
            os.kill(os.getpid(), signal.SIGKILL)

random = np.random.default_rng(0)
x, y = random.normal(size=(32, 4)), random.normal(size=(32, 1))

def train(folder):
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(8), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    swa = StochasticWeightAverage(1, recalibrate=x, backup_dir=folder)
    backup = [keras.callbacks.BackupAndRestore(folder)] if folder else []
    model.fit(x, y, batch_size=16, epochs=6, shuffle=False, verbose=0,
              validation_data=(x, y), callbacks=[swa, *backup, Kill()])
    return np.concatenate([np.ravel(w) for w in model.get_weights()])

resumed = train(folder)
killed = -1
np.savez(out, resumed=resumed, whole=train(None))
"""


@pytest.mark.slow
def test_a_killed_process_is_taken_up_by_another(tmp_path):
    folder, out = str(tmp_path / "backup"), str(tmp_path / "weights.npz")

    def run(killed):
        arguments = [sys.executable, "-c", CHILD, folder, str(killed), out]
        return subprocess.run(arguments, check=False).returncode

    assert run(4) == -signal.SIGKILL
    assert run(-1) == 0
    with np.load(out) as found:
        np.testing.assert_allclose(
            found["resumed"], found["whole"], rtol=1e-4, atol=1e-5
        )


# --- What is told -------------------------------------------------------------------


def test_a_training_that_ends_before_is_told():
    text = r"StochasticWeightAverage has no effect: no epoch .* 3 on; `fit` ended in"
    with pytest.warns(NoEffectWarning, match=text):
        fit(build(), 2, StochasticWeightAverage(3), **VALIDATION)
    with pytest.warns(NoEffectWarning, match="has no effect: no epoch"):
        fit(build(), 0, StochasticWeightAverage(0))
    swa = StochasticWeightAverage(
        0, at="cycle_end", schedule=kt.schedules.CosineRestarts(0.1, 99)
    )
    with pytest.warns(NoEffectWarning, match=r"no cycle ended from epoch 0 on"):
        fit(build(), 1, swa)
    with pytest.raises(ValueError, match="must have averaged before it has weights"):
        _ = swa.averaged_weights


def test_an_optimizer_without_cycles_is_told():
    with pytest.raises(
        ValueError, match="`schedule` must be given where the optimizer"
    ):
        fit(build(), 1, StochasticWeightAverage(0, at="cycle_end"))


def test_prints_each_average(capsys):
    fit(build(), 2, StochasticWeightAverage(1, verbose=1))
    assert capsys.readouterr().out == "Epoch 2: averaged 1 weights.\n"


WRONG = {
    r"`start_epoch` must be an integer from 0 .*start_epoch=-1": {"start_epoch": -1},
    r"`every` must be a positive integer. Received: every=0": {"every": 0},
    r"`at` must be one of 'epoch_end', 'cycle_end'. Received: at='step'": {
        "at": "step"
    },
    r"`schedule` must be a schedule with cycles.*schedule=0.1": {
        "schedule": 0.1, "at": "cycle_end"
    },
    r"`schedule` must be None unless at='cycle_end'": {
        "schedule": kt.schedules.CosineRestarts(0.1, 3)
    },
    r"`restore` must be one of True, False. Received: restore='yes'": {
        "restore": "yes"
    },
    r"`verbose` must be one of 0, 1. Received: verbose=2": {"verbose": 2},
    r"`backup_dir` must be the folder of BackupAndRestore": {"backup_dir": ""},
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_says_which_argument_is_wrong_and_what_came(text):
    with pytest.raises(ValueError, match=text):
        StochasticWeightAverage(**{"start_epoch": 0, **WRONG[text]})
