import json
import os
import random
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from keras.callbacks import BackupAndRestore

import keras_tricks as kt
from keras_tricks import NoEffectWarning, _backend
from keras_tricks.callbacks import _cycles
from keras_tricks.callbacks.snapshots import Snapshots

SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(20, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True) + RANDOM.normal(size=(20, 1)).astype("float32")
FIT = {"batch_size": 4, "shuffle": False, "verbose": 0}
STEPS = 5


def build(optimizer="sgd", **compiled):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse", **compiled)
    return model


def build_deep(optimizer="adam", **compiled):
    """With weights that are not trained, and with what is random."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse", **compiled)
    return model


def fit(model, epochs, *callbacks, **arguments):
    arguments = {**FIT, "epochs": epochs, "callbacks": list(callbacks), **arguments}
    return model.fit(X, Y, **arguments).history


def numbers(variables):
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def assert_equal(first, second):
    for old, new in zip(first, second, strict=True):
        np.testing.assert_array_equal(new, old)


class Watcher(keras.callbacks.Callback):
    """The slow way: looks at everything after every batch, by its number of updates."""

    def on_train_begin(self, logs=None):
        self.seen = {}

    def on_train_batch_end(self, batch, logs=None):
        _backend.sync_state(self.model)
        update = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        self.seen[update] = numbers(self.model.weights)


def check(snapshots, watcher, updates):
    assert snapshots.updates == updates
    for update, model in zip(updates, snapshots.models(), strict=True):
        assert_equal(watcher.seen[update], numbers(model.weights))


def restarts(first, t_mul=1.0, rate=0.05):
    return kt.schedules.CosineRestarts(rate, first, t_mul)


# --- Which weights ------------------------------------------------------------------


def sgd_by_hand(updates, every, rate):
    """Linear regression without bias by stochastic gradient descent, in NumPy."""
    weights, gradients, found = np.zeros((3, 1)), [], {}
    for batch in range(len(X) // 4):
        x, y = X[4 * batch : 4 * batch + 4], Y[4 * batch : 4 * batch + 4]
        gradients.append(2 * x.T @ (x @ weights - y) / 4)
        if len(gradients) == every:
            weights = weights - rate * np.mean(gradients, axis=0)
            found[len(found) + 1], gradients = weights, []
    return [found[update] for update in updates]


@pytest.mark.parametrize("accumulated", [None, 2])
def test_the_weights_are_those_after_the_update_of_that_number(accumulated):
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(SGD(0.1, gradient_accumulation_steps=accumulated), "mse")
    snapshots = Snapshots(at=[2, 1])
    fit(model, 1, snapshots)
    assert snapshots.updates == [1, 2]
    expected = sgd_by_hand([1, 2], accumulated or 1, 0.1)
    for found, kernel in zip(snapshots.models(), expected, strict=True):
        np.testing.assert_allclose(found.get_weights()[0], kernel, rtol=1e-5)


def test_each_cycle_and_the_last_short_one_of_a_training_that_is_not_changed():
    def trained(*callbacks):
        model = build_deep(Adam(restarts(3, 2.0)))
        loss = fit(model, 3, *callbacks)["loss"]
        return loss, [*numbers(model.variables), *numbers(model.optimizer.variables)]

    loss, plain = trained()
    # Cycles of 3, 6 and 12 updates; the training ends after 15.
    snapshots, watcher = Snapshots(), Watcher()
    other_loss, other = trained(snapshots, watcher)
    check(snapshots, watcher, [3, 9, 15])
    assert loss == other_loss
    assert_equal(plain, other)


def test_a_training_that_ends_with_a_cycle_has_no_short_one():
    snapshots, watcher = Snapshots(), Watcher()
    fit(build(Adam(restarts(5))), 2, snapshots, watcher)
    check(snapshots, watcher, [5, 10])


def test_every_so_many_updates_at_the_end_of_an_epoch_too():
    snapshots, watcher = Snapshots(every=4, keep=3), Watcher()
    fit(build(), 4, snapshots, watcher, validation_data=(X, Y))
    check(snapshots, watcher, [12, 16, 20])


def test_cycles_are_those_of_the_schedule_which_counts_batches():
    # Batches 7 and 14 end the cycles; then 3 and 7 updates of two batches are made.
    snapshots, watcher = Snapshots(), Watcher()
    optimizer = SGD(restarts(7), gradient_accumulation_steps=2)
    fit(build(optimizer), 3, watcher, snapshots, batch_size=5)
    assert snapshots.updates == [3, 6]


def test_updates_that_loss_scaling_skips_do_not_count():
    scaled = keras.optimizers.LossScaleOptimizer(SGD(0.01), initial_scale=2.0**127)
    model, snapshots, watcher = build_deep(scaled), Snapshots(at=[1, 3]), Watcher()
    fit(model, 3, snapshots, watcher)
    made = int(keras.ops.convert_to_numpy(scaled.iterations))
    assert 3 < made < 3 * STEPS, "none was skipped"
    check(snapshots, watcher, [1, 3])


def test_steps_stay_asynchronous():
    for hook in ("on_batch_end", "on_train_batch_end"):
        assert getattr(Snapshots, hook) is getattr(keras.callbacks.Callback, hook)


def early_stopping():
    """Stops after the second epoch."""
    return keras.callbacks.EarlyStopping(
        "loss", patience=1, min_delta=100.0, restore_best_weights=True
    )


def test_averages_and_the_best_weights_come_after_the_last_snapshot():
    # Both put other weights into the model when the training has ended.
    snapshots, watcher = Snapshots(), Watcher()
    model = build(SGD(restarts(8), use_ema=True))
    fit(model, 9, early_stopping(), snapshots, watcher)
    check(snapshots, watcher, [8, 10])


def test_weights_that_are_averaged_before_their_turn_are_left_out():
    snapshots, watcher = Snapshots(), Watcher()
    model = build(SGD(restarts(8), use_ema=True))
    text = "leaves out the last weights, after update 10: .* callback before Snapshots"
    with pytest.warns(UserWarning, match=text):
        fit(model, 9, snapshots, early_stopping(), watcher)
    check(snapshots, watcher, [8])


@pytest.mark.parametrize("order", ["swa first", "snapshots first", "stop first"])
def test_the_last_snapshot_has_the_raw_weights_whoever_stops(order):
    snapshots, watcher, stop = Snapshots(), Watcher(), early_stopping()
    swa = kt.callbacks.StochasticWeightAverage(0)
    lists = {
        "swa first": [swa, snapshots, stop],
        "snapshots first": [snapshots, swa, stop],
        "stop first": [stop, swa, snapshots],
    }
    fit(build(SGD(restarts(8))), 9, *lists[order], watcher)
    check(snapshots, watcher, [8, 10])


COMPILED = pytest.mark.backend(
    "jax", "tensorflow", reason="PyTorch makes one step per execution"
)


@COMPILED
def test_several_steps_per_execution():
    # Calls of 2, 2 and 1 steps per epoch.
    snapshots, watcher = Snapshots(at=[2, 5, 9, 10]), Watcher()
    fit(build(steps_per_execution=2), 3, snapshots, watcher)
    check(snapshots, watcher, [2, 5, 9, 10])


@COMPILED
def test_a_step_inside_an_execution_is_refused_at_the_start():
    model = build(steps_per_execution=2)
    text = (
        r"`steps_per_execution` must let a call end with step 13\. Received: "
        r"steps_per_execution=2, with 5 steps an epoch from step 0 on"
    )
    with pytest.raises(ValueError, match=text):
        fit(model, 3, Snapshots(at=[2, 13]))
    assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 0


@COMPILED
def test_a_step_inside_an_execution_is_told_where_the_epoch_has_no_known_length():
    def data():
        for start in range(0, 16, 4):
            yield X[start : start + 4], Y[start : start + 4]

    with pytest.raises(ValueError, match="Update 3 was passed over"):
        build(steps_per_execution=2).fit(
            data(), shuffle=False, verbose=0, callbacks=[Snapshots(at=[3])]
        )


# --- Cycles -------------------------------------------------------------------------

Warmup, Scaled = kt.schedules.Warmup, kt.schedules.Scaled
KERAS = keras.optimizers.schedules.CosineDecayRestarts


class Own(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1

    def cycle_ends(self, steps):
        return [end for end in (1, 4) if end < steps - 1] + [steps - 1]


CYCLES = {
    "plain": (lambda: restarts(10, 2.0), [10, 30, 70]),
    "equal": (lambda: restarts(25), [25, 50, 75, 100]),
    "warmed up": (lambda: Warmup(restarts(10, 2.0), 5), [15, 35, 75]),
    "scaled": (lambda: Scaled(Warmup(restarts(10, 2.0), 5), 0.5), [15, 35, 75]),
    "triangles": (lambda: kt.schedules.Cyclical(0.1, 0.2, 20), [40, 80]),
    "of Keras": (lambda: KERAS(0.1, 10), [10, 30, 70]),
    "of the user": (Own, [2, 5]),
    "long": (lambda: restarts(5000), []),
}


@pytest.mark.parametrize("name", CYCLES)
def test_cycles_are_found_however_they_are_wrapped(name):
    make, ends = CYCLES[name]
    assert _cycles.of_schedule(make()).up_to(100) == ends


def test_a_long_cycle_is_found():
    assert _cycles.of_schedule(restarts(2_000_000)).after(0) == 2_000_000


def test_cycles_are_found_inside_an_optimizer():
    optimizer = kt.optimizers.LayerwiseLearningRate(
        Adam(Warmup(restarts(4), 2)), {"dense.*": 0.5}, default=1.0
    )
    model, snapshots, watcher = build(optimizer), Snapshots(), Watcher()
    fit(model, 2, snapshots, watcher)
    check(snapshots, watcher, [6, 10])


def test_a_given_schedule_comes_before_that_of_the_optimizer():
    snapshots = Snapshots(restarts(6))
    fit(build(SGD(restarts(4))), 2, snapshots)
    assert snapshots.updates == [6, 10]


def test_an_optimizer_without_cycles_is_told():
    text = r"`schedule` must be given where .*schedule=None and an optimizer whose .*{}"
    for rate, kind in (
        (0.1, "a number"),
        (kt.schedules.OneCycle(1.0, 9), "a OneCycle"),
    ):
        with pytest.raises(ValueError, match=text.format(kind)):
            fit(build(SGD(rate)), 1, Snapshots())


def test_groups_with_other_cycles_are_told():
    groups = keras.optimizers.OptimizerMap(
        SGD(restarts(4)), {".*dense.*/bias": SGD(restarts(5))}
    )
    model = build(keras.optimizers.MultiOptimizer(groups))
    model.optimizer.build(model.trainable_variables)
    with pytest.raises(
        ValueError, match="groups of an optimizer have different cycles"
    ):
        fit(model, 1, Snapshots())


# --- Another optimizer, another fit -------------------------------------------------


@pytest.mark.parametrize("first", [True, False], ids=["before it", "after it"])
def test_the_count_goes_on_with_another_optimizer(first, tmp_path):
    switch = kt.callbacks.SwitchOptimizer(SGD(restarts(7)), epoch=2)
    snapshots, watcher = Snapshots(directory=tmp_path), Watcher()
    both = [snapshots, switch] if first else [switch, snapshots]
    fit(build(Adam(restarts(4))), 4, *both, watcher)
    # Of the second one, updates 7 and 10 after the ten of the first.
    assert snapshots.updates == [4, 8, 17, 20]
    assert_equal(watcher.seen[7], numbers(snapshots.models()[2].weights))


def test_another_optimizer_need_not_have_cycles():
    switch = kt.callbacks.SwitchOptimizer(SGD(0.01), epoch=1)
    snapshots = Snapshots()
    fit(build(Adam(restarts(4))), 2, snapshots, switch)
    assert snapshots.updates == [4, 10]


def test_listed_updates_are_counted_over_all_optimizers():
    switch = kt.callbacks.SwitchOptimizer(SGD(0.01), epoch=1)
    listed, each = Snapshots(at=[3, 7]), Snapshots(every=3)
    fit(build(), 2, listed, each, switch)
    assert listed.updates == [3, 7]
    assert each.updates == [3, 6, 9]


@pytest.mark.parametrize("directory", [True, False])
def test_a_second_fit_goes_on_and_another_model_begins_anew(tmp_path, directory):
    snapshots = Snapshots(every=4, directory=tmp_path if directory else None)
    model = build()
    fit(model, 1, snapshots)
    assert snapshots.updates == [4]
    fit(model, 1, snapshots)
    assert snapshots.updates == [4, 8]
    fit(build(), 1, snapshots)
    assert snapshots.updates == [4]
    left = {path.name for path in tmp_path.iterdir()} - {"snapshots.json"}
    # What is not listed is still there.
    names = {"update-4.weights.h5", "update-8.weights.h5"}
    assert left == (names if directory else set())


@pytest.mark.parametrize("directory", [True, False])
def test_a_model_that_is_compiled_anew_counts_on(tmp_path, directory):
    snapshots = Snapshots(every=4, directory=tmp_path if directory else None)
    model = build(Adam(0.1))
    fit(model, 1, snapshots)
    model.compile(Adam(0.01), "mse")
    fit(model, 2, snapshots)
    assert snapshots.updates == [4, 8, 12]
    if directory:
        # The next process learns of it, to take up a backup.
        content = json.loads((tmp_path / "snapshots.json").read_text())
        assert content["changes"] == [[0, 5]]


def test_a_loop_of_ones_own_without_params():
    snapshots, model = Snapshots(every=2), build()
    callbacks = keras.callbacks.CallbackList([snapshots], model=model)
    callbacks.on_train_begin()
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        for batch in range(3):
            callbacks.on_train_batch_begin(batch)
            model.train_on_batch(X, Y)
            callbacks.on_train_batch_end(batch)
        callbacks.on_epoch_end(epoch)
    callbacks.on_train_end()
    assert snapshots.updates == [2, 4, 6]


def test_several_updates_per_batch_are_told():
    snapshots, model = Snapshots(at=[4]), build()
    callbacks = keras.callbacks.CallbackList([snapshots], model=model)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    callbacks.on_train_batch_begin(0)
    for _ in range(6):
        model.train_on_batch(X, Y)
    text = r"Update 4 was passed over: .* Choose the last updates of epochs where a `tr"
    with pytest.raises(ValueError, match=text):
        callbacks.on_epoch_end(0)


# --- Files --------------------------------------------------------------------------


def test_files_are_plain_weights_without_the_optimizer(tmp_path):
    snapshots, watcher = Snapshots(every=4, keep=2, directory=tmp_path), Watcher()
    fit(build_deep(), 3, snapshots, watcher)
    check(snapshots, watcher, [8, 12])
    names = {"snapshots.json", "update-8.weights.h5", "update-12.weights.h5"}
    assert {path.name for path in tmp_path.iterdir()} == names
    model = keras.Sequential.from_config(build_deep().get_config())
    model.load_weights(tmp_path / "update-8.weights.h5")
    assert_equal(watcher.seen[8], numbers(model.weights))


def test_another_process_reads_the_files(tmp_path):
    fit(build(), 1, Snapshots(every=4, directory=tmp_path), watcher := Watcher())
    later = Snapshots(directory=tmp_path)
    later.set_model(build())
    check(later, watcher, [4])


def test_files_of_another_model_are_told(tmp_path):
    fit(build(), 1, Snapshots(every=4, directory=tmp_path))
    later = Snapshots(directory=tmp_path)
    later.set_model(keras.Sequential([keras.Input((3,)), keras.layers.Dense(7)]))
    text = r"`directory` must hold snapshots of this model\. Received: .*update-4\.wei"
    with pytest.raises(ValueError, match=text):
        later.models()


BAD_INDEX = {
    "empty": b"",
    "a list": b"[]",
    "no snapshots": b'{"version": 1}',
    "an update is a word": b'{"snapshots": [{"update": "x", "file": "a"}]}',
    "a file elsewhere": (
        b'{"snapshots": [{"update": 1, "file": "../a.weights.h5"}], "changes": []}'
    ),
    "changes are words": b'{"snapshots": [], "changes": [["a", "b"]]}',
    "too large": b" " * (16 * 2**20 + 1),
}


@pytest.mark.parametrize("name", BAD_INDEX)
def test_a_damaged_index_is_named(tmp_path, name):
    (tmp_path / "snapshots.json").write_bytes(BAD_INDEX[name])
    text = r"`directory` must hold an index that Snapshots wrote.*snapshots\.json"
    with pytest.raises(ValueError, match=text):
        fit(build(), 1, Snapshots(every=2, directory=tmp_path))


def test_a_failing_write_leaves_nothing_behind(tmp_path, monkeypatch):
    model = build()

    def half(path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setitem(vars(model), "save_weights", half)
    with pytest.raises(OSError, match="disk full"):
        fit(model, 1, Snapshots(every=4, directory=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["snapshots.json"]


# --- Killed and resumed -------------------------------------------------------------


class Kill(keras.callbacks.Callback):
    def __init__(self, epoch, batch=None):
        super().__init__()
        self.at = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise RuntimeError("killed")

    def on_epoch_end(self, epoch, logs=None):
        if (epoch, None) == self.at:
            raise RuntimeError("killed")


def resumable(folder, *kill, epochs=4, **where):
    # Two of them at the ends of epochs, 10 just where the second kill comes.
    snapshots = Snapshots(at=[6, 10, 15, 18, 20], keep=4, **where)
    backup = [BackupAndRestore(folder)] if folder else []
    fit(build(Adam(0.05)), epochs, *backup, *kill, snapshots)
    return snapshots


@pytest.fixture(scope="module")
def whole():
    return resumable(None)


@pytest.mark.parametrize(
    ("place", "when"),
    [("directory", "inside an epoch"), ("backup_dir", "after the backup")],
)
def test_a_resumed_training_has_the_snapshots_of_one_that_was_not_killed(
    tmp_path, whole, place, when
):
    backup = tmp_path / "backup"
    where = {place: tmp_path / "files" if place == "directory" else backup}
    kill = Kill(2, 4) if when == "inside an epoch" else Kill(1)
    with pytest.raises(RuntimeError, match="killed"):
        resumable(backup, kill, **where)
    resumed = resumable(backup, **where)
    assert whole.updates == resumed.updates == [10, 15, 18, 20]
    for one, other in zip(whole.models(), resumed.models(), strict=True):
        for old, new in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-6)


def test_a_resumed_training_that_has_lost_its_memory_tells_so(tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        resumable(tmp_path, Kill(2, 0))
    with pytest.warns(UserWarning, match="starts afresh at epoch 2: it holds none"):
        assert resumable(tmp_path, epochs=3).updates == [10, 15]


@pytest.mark.parametrize("place", ["directory", "backup_dir", None])
def test_a_resumed_training_need_not_have_cycles_after_a_switch(tmp_path, place):
    backup = tmp_path / "backup"
    files = tmp_path / "files" if place == "directory" else backup

    def run(*kill):
        switch = kt.callbacks.SwitchOptimizer(SGD(0.01), epoch=1, backup_dir=backup)
        snapshots = Snapshots(**({place: files} if place else {}))
        both = [snapshots, switch, BackupAndRestore(backup)]
        fit(build(SGD(restarts(4))), 3, *both, *kill)
        return snapshots

    with pytest.raises(RuntimeError, match="killed"):
        run(Kill(2, 0))
    if place:
        assert run().updates == [4, 15]
    else:
        with pytest.warns(UserWarning, match="starts afresh at epoch 2"):
            assert run().updates == [10]


@pytest.mark.parametrize(
    ("first", "kill"),
    [(True, Kill(2, 1)), (False, Kill(3, 4))],
    ids=["before it", "after it"],
)
def test_a_resumed_training_counts_the_updates_of_an_earlier_optimizer(
    tmp_path, first, kill
):
    folder = tmp_path / "backup"

    def run(*kill):
        switch = kt.callbacks.SwitchOptimizer(
            SGD(restarts(7)), epoch=2, backup_dir=folder
        )
        snapshots = Snapshots(directory=tmp_path / "files")
        both = [snapshots, switch] if first else [switch, snapshots]
        model = build(Adam(restarts(4)))
        fit(model, 5, *both, BackupAndRestore(folder), *kill)
        return snapshots

    with pytest.raises(RuntimeError, match="killed"):
        run(kill)
    assert run().updates == [4, 8, 17, 24, 25]


@pytest.mark.parametrize("places", [("directory",) * 2, ("backup_dir",) * 2])
def test_two_in_one_folder_are_refused(tmp_path, places):
    both = [Snapshots(every=2, **{place: tmp_path}) for place in places]
    text = rf"`{places[0]}` must be another folder for each Snapshots of a `fit`"
    with pytest.raises(ValueError, match=text):
        fit(build(), 1, *both)
    # One after the other, and in two folders, they may be.
    fit(build(), 1, both[0])
    fit(build(), 1, both[1], Snapshots(every=2, directory=tmp_path / "other"))


def test_the_list_of_another_training_is_told(tmp_path):
    fit(build(), 1, Snapshots(every=2, directory=tmp_path))
    model = build()
    fit(model, 1)
    other = Snapshots(every=3, directory=tmp_path)
    text = r"goes on with those after the updates \[2, 4\] that .* folder of its own"
    with pytest.warns(UserWarning, match=text):
        fit(model, 1, other)
    assert other.updates == [2, 4, 6, 9]
    # From now on they are its own.
    fit(model, 1, other)
    assert other.updates == [2, 4, 6, 9, 12, 15]


def test_a_backup_without_a_list_is_told(tmp_path):
    model = build()
    text = "Snapshots starts afresh at epoch 1: .* holds no list of snapshots"
    with pytest.warns(UserWarning, match=text):
        fit(model, 2, Snapshots(every=2, backup_dir=tmp_path), initial_epoch=1)


CHILD = """
import sys, keras, numpy as np
from keras_tricks.callbacks.snapshots import Snapshots

keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(100_000)])
model.compile(keras.optimizers.SGD(0.0), "mse")
# Every snapshot holds its own number everywhere.
class Number(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        for variable in model.weights:
            variable.assign(np.full(variable.shape, epoch + 1.0))

x = np.zeros((2, 3))
model.fit(x, np.zeros((2, 100_000)), epochs=100_000, verbose=0,
          callbacks=[Number(), Snapshots(every=1, keep=3, directory=sys.argv[1])])
"""


@pytest.mark.slow
def test_a_killed_process_leaves_whole_files_only(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(100_000)])
    seen = 0
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        child = subprocess.Popen([sys.executable, "-c", CHILD, folder])
        while not list(folder.glob("update-*")):
            assert child.poll() is None
            time.sleep(0.01)
        time.sleep(random.random())
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        snapshots = Snapshots(directory=folder)
        snapshots.set_model(model)
        assert 1 <= len(snapshots.updates) <= 4
        for update, found in zip(snapshots.updates, snapshots.models(), strict=True):
            for array in numbers(found.weights):
                assert (array == update).all()
            seen += 1
        # Those not listed are whole, too, and the next training tidies up.
        for path in folder.glob("update-*"):
            model.load_weights(path)
        fit(build(), 1, Snapshots(every=1, directory=folder))
        assert not list(folder.glob(".*"))
    assert seen > 3


# --- What becomes of them -----------------------------------------------------------


@pytest.fixture(scope="module")
def taken():
    snapshots = Snapshots(every=5)
    model = build_deep(Adam(0.05), metrics=["mae"])
    fit(model, 3, snapshots)
    return model, snapshots


def test_models_are_independent(taken):
    model, snapshots = taken
    before = numbers(model.weights)
    first, second, _ = snapshots.models()
    first.set_weights([np.zeros(w.shape) for w in first.weights])
    assert numbers(second.weights)[0].any()
    assert_equal(before, numbers(model.weights))
    assert first is not model
    assert numbers(snapshots.models()[0].weights)[0].any()


def test_the_best_has_the_lowest_loss_or_the_highest_metric(taken):
    model, snapshots = taken
    state = numbers([*model.variables, *model.optimizer.variables])
    models = snapshots.models()
    squares = [np.mean((m.predict(X, verbose=0) - Y) ** 2) for m in models]
    assert len(set(squares)) == 3
    best = snapshots.best(X, Y)
    assert_equal(numbers(models[np.argmin(squares)].weights), numbers(best.weights))

    def worst(y, predictions):
        return np.mean((y - predictions) ** 2)

    found = snapshots.best(X, Y, metric=worst, batch_size=7)
    assert_equal(numbers(models[np.argmax(squares)].weights), numbers(found.weights))
    assert_equal(state, numbers([*model.variables, *model.optimizer.variables]))


def test_a_snapshot_that_gives_nan_is_not_the_best(taken):
    _, snapshots = taken
    scores = iter([1.0, np.nan, 0.0])
    best = snapshots.best(X, Y, metric=lambda y, p: next(scores))
    expected = snapshots.models()[0]
    assert_equal(numbers(expected.weights), numbers(best.weights))


def test_the_best_by_the_name_of_a_metric(taken):
    _, snapshots = taken
    models = snapshots.models()
    squares = [np.mean((m.predict(X, verbose=0) - Y) ** 2) for m in models]
    found = snapshots.best(X, Y, metric="squared_error")
    assert_equal(numbers(models[np.argmin(squares)].weights), numbers(found.weights))


def test_what_best_cannot_compare_is_told(taken, tmp_path):
    _, snapshots = taken
    with pytest.raises(ValueError, match=r"`metric` must be one of .*'acuracy'. Did"):
        snapshots.best(X, Y, metric="acuracy")
    with pytest.raises(TypeError, match=r"`metric` must be a function .* metric=3"):
        snapshots.best(X, Y, metric=3)
    with pytest.raises(ValueError, match=r"`y` must hold the .* dataset apart"):
        snapshots.best(X, metric="accuracy")
    with pytest.raises(ValueError, match="`y` must have one entry per sample, here 20"):
        snapshots.best(X, Y[:7], metric="squared_error")
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        snapshots.best(X, Y, batch_size=0)
    fit(build(), 1, Snapshots(every=4, directory=tmp_path))
    later = Snapshots(directory=tmp_path)
    later.set_model(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]))
    text = "`metric` must be given where the model is not compiled with a loss"
    with pytest.raises(ValueError, match=text):
        later.best(X, Y)


def test_the_ensemble_averages_the_probabilities():
    keras.utils.set_random_seed(0)
    softmax = keras.layers.Dense(3, activation="softmax")
    model = keras.Sequential([keras.Input((3,)), softmax])
    model.compile(SGD(0.5), "sparse_categorical_crossentropy")
    snapshots = Snapshots(every=2)
    model.fit(X, np.arange(20) % 3, callbacks=[snapshots], **FIT)
    parts = [m.predict(X, verbose=0) for m in snapshots.models()]
    together = snapshots.ensemble().predict(X, verbose=0)
    np.testing.assert_allclose(together, np.mean(parts, axis=0), rtol=1e-5)
    weighted = snapshots.ensemble(weights=[1.0, 0.0]).predict(X, verbose=0)
    np.testing.assert_allclose(weighted, parts[0], rtol=1e-5)


@keras.saving.register_keras_serializable("test_snapshots")
class Described(keras.Model):
    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(units)

    def call(self, inputs):
        return self.dense(inputs)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Undescribed(keras.Model):
    def __init__(self, dense):
        super().__init__()
        self.dense = dense

    def call(self, inputs):
        return self.dense(inputs)


def subclassed(model, **arguments):
    model.compile("sgd", "mse")
    model(X)
    snapshots, watcher = Snapshots(every=3, **arguments), Watcher()
    fit(model, 1, snapshots, watcher)
    return snapshots, watcher


@pytest.mark.parametrize("files", [True, False])
def test_a_subclassed_model_is_made_from_its_config(tmp_path, files):
    arguments = {"directory": tmp_path} if files else {}
    check(*subclassed(Described(5), **arguments), [3])


def test_a_subclassed_model_without_a_config_needs_build():
    def make():
        return Undescribed(keras.layers.Dense(1))

    snapshots, _ = subclassed(make())
    text = r"`build` must be given where .* class Undescribed .* give Snapshots `build`"
    with pytest.raises(ValueError, match=text):
        snapshots.models()
    check(*subclassed(make(), build=make), [3])


def test_what_build_gives_must_fit():
    wrong = {
        r"`build` must return a keras\.Model\. Received: build\(\) gave str": "model",
        r"`build` must return a model with the same weights\. .*\(3, 7\)": Described(7),
    }
    for text, made in wrong.items():
        snapshots, _ = subclassed(Described(5), build=lambda made=made: made)
        with pytest.raises(ValueError, match=text):
            snapshots.models()


def test_without_snapshots_there_are_no_models():
    for ask in (Snapshots().models, lambda: Snapshots().best(X, Y)):
        with pytest.raises(
            ValueError, match=r"must have taken one before .* none so far"
        ):
            ask()


# --- What is told -------------------------------------------------------------------


def test_a_training_without_snapshots_is_told():
    text = r"Snapshots has no effect: at=\[7\] asks for no .* ended after update 5"
    with pytest.warns(NoEffectWarning, match=text):
        fit(build(), 1, Snapshots(at=[7]))
    with pytest.warns(NoEffectWarning, match="every=9 asks for no update"):
        fit(build(), 1, Snapshots(every=9))


def test_a_training_of_no_epochs_is_told():
    with pytest.warns(NoEffectWarning, match="ended after update 0"):
        fit(build(SGD(restarts(4))), 0, Snapshots())


def test_prints_each_snapshot(capsys):
    fit(build(), 1, Snapshots(at=[2, 4], verbose=1))
    assert capsys.readouterr().out == (
        "Snapshot after update 2.\nSnapshot after update 4.\n"
    )


WRONG = {
    r"`at` must be one of 'cycle_end'.*at='cycle_ends'. Did you mean": {
        "at": "cycle_ends"
    },
    r"`at` must be 'cycle_end' or a list .*at=\[\]; for every so many": {"at": []},
    r"`at` must be 'cycle_end' or a list .*at=5": {"at": 5},
    r"`at` must be 'cycle_end' or a list .*at=<list_iter": {"at": iter([2, 4])},
    r"`at` must be a positive integer. Received: at=0": {"at": [0]},
    r"`every` must be a positive integer. Received: every=0": {"every": 0},
    r"`every` must be None where `at` lists .*every=2, at=\[3\]": {
        "at": [3], "every": 2
    },
    r"`schedule` must be None where `at` or `every`": {
        "schedule": Own(), "every": 2
    },
    r"`schedule` must be a schedule with cycles.*schedule=0.1": {"schedule": 0.1},
    r"`keep` must be a positive integer. Received: keep=0": {"keep": 0},
    r"`directory` must be a folder or None. Received: directory=''": {"directory": ""},
    r"`backup_dir` must be a folder or None. Received: backup_dir=''": {
        "backup_dir": ""
    },
    r"`verbose` must be one of 0, 1. Received: verbose=2": {"verbose": 2},
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_says_which_argument_is_wrong_and_what_came(text):
    with pytest.raises(ValueError, match=text):
        Snapshots(**WRONG[text])


def test_a_directory_that_is_a_file_is_told(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(
        ValueError, match=r"`directory` must be a folder\. .* is a file"
    ):
        fit(build(), 1, Snapshots(every=2, directory=path))


def test_a_model_without_an_optimizer_is_told():
    callbacks = keras.callbacks.CallbackList([Snapshots(every=2)], model=build())
    callbacks.model.compile(None, "mse")
    with pytest.raises(ValueError, match=r"compiled with an optimizer.*optimizer=None"):
        callbacks.on_train_begin()


def test_says_which_argument_has_the_wrong_type():
    with pytest.raises(TypeError, match=r"`directory` must be .* directory=5"):
        Snapshots(directory=5)
    with pytest.raises(TypeError, match=r"`build` must be a function .*build='model'"):
        Snapshots(build="model")
    with pytest.raises(TypeError, match="`at` must be a positive integer"):
        Snapshots(at=[1.5])


def test_the_index_is_plain_json(tmp_path):
    fit(build(), 1, Snapshots(every=5, directory=tmp_path))
    content = json.loads((tmp_path / "snapshots.json").read_text())
    expected = [{"update": 5, "file": "update-5.weights.h5"}]
    assert len(content.pop("run")) == 32
    assert content == {"version": 1, "snapshots": expected, "changes": []}
