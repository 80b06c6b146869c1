"""A training that was killed and is resumed is the training that was not."""

import json
import math
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras.callbacks import BackupAndRestore

import keras_tricks as kt
from keras_tricks.callbacks import HalveOnPlateau

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(32, 4)).astype("float32")
Y = RANDOM.normal(size=(32, 1)).astype("float32")
SGD = keras.optimizers.SGD
EPOCHS, KILLED = 6, 3


class Kill(keras.callbacks.Callback):
    def __init__(self, when, epoch=KILLED):
        super().__init__()
        self.when = when
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if self.when == "at the beginning" and epoch == self.epoch:
            raise RuntimeError("killed")

    def on_epoch_end(self, epoch, logs=None):
        if self.when != "at the beginning" and epoch == self.epoch:
            raise RuntimeError("killed")


def groups():
    biases = keras.optimizers.OptimizerMap(SGD(0.8), {".*dense.*/bias": SGD(0.08)})
    return keras.optimizers.MultiOptimizer(biases)


OPTIMIZERS = {
    "float": lambda: SGD(0.3, momentum=0.9),
    "schedule": lambda: SGD(kt.schedules.CosineRestarts(0.3, 5), momentum=0.9),
    "groups": groups,
    "divergence": lambda: SGD(1e4, momentum=0.9),
}


def build(name):
    keras.utils.set_random_seed(3)
    hidden = keras.layers.Dense(8, activation="relu")
    model = keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(1)])
    model.compile(OPTIMIZERS[name](), "mse")
    return model


def halve(name, backup_dir=None, monitor="val_loss"):
    on_divergence = "rollback" if name == "divergence" else None
    arguments = {"patience": 1, "min_delta": 0.1, "on_divergence": on_divergence}
    return HalveOnPlateau(monitor, backup_dir=backup_dir, **arguments)


def fit(name, callbacks):
    model = build(name)
    history = model.fit(
        X, Y, batch_size=16, epochs=EPOCHS, validation_data=(X[:16], Y[:16]),
        shuffle=False, verbose=0, callbacks=callbacks,
    ).history  # fmt: skip
    return history, model.get_weights()


@pytest.fixture(scope="module")
def uninterrupted():
    runs = {}

    def run(name):
        if name not in runs:
            runs[name] = fit(name, [halve(name)])
        return runs[name]

    return run


def callbacks_of(name, folder, backup_first, when=None):
    """The two callbacks in the wanted order, and what kills them."""
    both = [BackupAndRestore(folder), halve(name, folder)]
    if not backup_first:
        both.reverse()
    kill = [] if when is None else [Kill(when)]
    if when == "between the two":
        return [both[0], *kill, both[1]]
    return [*both, *kill]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("backup_first", [True, False], ids=["backup first", "last"])
@pytest.mark.parametrize("when", ["at the beginning", "at the end", "between the two"])
def test_a_resumed_training_is_the_training_that_was_not_killed(
    tmp_path, uninterrupted, name, backup_first, when
):
    history, weights = uninterrupted(name)
    assert len(set(history["learning_rate"])) > 2
    folder = str(tmp_path / "backup")
    with pytest.raises(RuntimeError, match="killed"):
        fit(name, callbacks_of(name, folder, backup_first, when))
    assert os.path.exists(folder)
    resumed, resumed_weights = fit(name, callbacks_of(name, folder, backup_first))
    # Between the two, the backup is there only if it came first.
    settled = when == "at the end" or (when == "between the two" and backup_first)
    first = KILLED + 1 if settled else KILLED
    for key in ("learning_rate", "loss", "val_loss"):
        np.testing.assert_allclose(
            resumed[key], history[key][first:], rtol=1e-4, equal_nan=True, err_msg=key
        )
    for old, new in zip(weights, resumed_weights, strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-6)
    assert not os.path.exists(folder)


def test_a_training_killed_in_its_first_epoch_starts_anew(tmp_path, uninterrupted):
    folder = str(tmp_path / "backup")
    callbacks = [BackupAndRestore(folder), halve("float", folder)]
    with pytest.raises(RuntimeError, match="killed"):
        fit("float", [*callbacks, Kill("at the beginning", 0)])
    resumed, _ = fit("float", callbacks_of("float", folder, True))
    assert resumed == uninterrupted("float")[0]


def test_a_training_may_be_killed_twice(tmp_path, uninterrupted):
    folder = str(tmp_path / "backup")
    for epoch in (2, 4):
        callbacks = callbacks_of("divergence", folder, True)
        with pytest.raises(RuntimeError, match="killed"):
            fit("divergence", [*callbacks, Kill("at the end", epoch)])
    resumed, _ = fit("divergence", callbacks_of("divergence", folder, True))
    history, _ = uninterrupted("divergence")
    assert resumed["learning_rate"] == pytest.approx(history["learning_rate"][5:])
    np.testing.assert_allclose(resumed["val_loss"], history["val_loss"][5:], rtol=1e-4)


def test_a_backup_without_the_state_of_its_epoch_is_told(tmp_path):
    # The training loss is known to us only after BackupAndRestore has written.
    folder = str(tmp_path / "backup")
    backup, ours = BackupAndRestore(folder), halve("float", folder, "loss")
    with pytest.raises(RuntimeError, match="killed"):
        fit("float", [backup, Kill("between the two"), ours])
    text = (
        r"HalveOnPlateau starts afresh at epoch 4: .*halve_on_plateau.loss.json' holds "
        r"no state for it, only for epochs \[1, 2, 3\]. Give it the `backup_dir`"
    )
    with pytest.warns(UserWarning, match=text):
        fit("float", [BackupAndRestore(folder), halve("float", folder, "loss")])


def test_two_callbacks_with_different_monitors_share_a_folder(tmp_path):
    folder = tmp_path / "backup"
    first = halve("float", str(folder))
    second = halve("float", str(folder), "loss")
    build("float").fit(
        X, Y, epochs=2, validation_data=(X, Y), verbose=0, callbacks=[first, second]
    )
    names = ["halve_on_plateau.loss.json", "halve_on_plateau.val_loss.json"]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_a_finished_fit_is_no_beginning_for_the_next(tmp_path):
    # Without BackupAndRestore the state stays, but epoch 0 is a new training.
    folder = str(tmp_path / "backup")
    first, _ = fit("float", [halve("float", folder)])
    second, _ = fit("float", [halve("float", folder)])
    assert second == first


CHILD = """
import os, signal, sys
import keras, numpy as np
import keras_tricks as kt

folder, killed, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]

class Kill(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if self.epoch == killed and batch == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

random = np.random.default_rng(0)
x, y = random.normal(size=(32, 4)), random.normal(size=(32, 1))

def train(folder):
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    schedule = kt.schedules.CosineRestarts(1e3, 50)
    model.compile(keras.optimizers.SGD(schedule, momentum=0.9), "mse")
    halve = kt.callbacks.HalveOnPlateau(
        patience=1, on_divergence="rollback", backup_dir=folder
    )
    backup = [keras.callbacks.BackupAndRestore(folder)] if folder else []
    history = model.fit(
        x, y, batch_size=16, epochs=6, shuffle=False, verbose=0,
        validation_data=(x, y), callbacks=[*backup, halve, Kill()],
    ).history
    return [history[key] for key in ("learning_rate", "val_loss")]

resumed = train(folder)
np.savez(out, resumed=resumed, whole=train(None))
"""


@pytest.mark.slow
def test_a_killed_process_is_taken_up_by_another(tmp_path):
    folder, out = str(tmp_path / "backup"), str(tmp_path / "history.npz")

    def run(killed):
        arguments = [sys.executable, "-c", CHILD, folder, str(killed), out]
        return subprocess.run(arguments, check=False).returncode

    assert run(4) == -signal.SIGKILL
    assert os.path.exists(folder)
    assert run(-1) == 0
    assert not os.path.exists(folder)
    histories = np.load(out)
    whole, resumed = histories["whole"], histories["resumed"]
    assert len(set(whole[0])) > 4
    np.testing.assert_allclose(resumed, whole[:, 4:], rtol=1e-4, equal_nan=True)


# --- Damaged files ------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What a training of three epochs leaves: the files' names and contents."""
    folder = tmp_path_factory.mktemp("written")
    build("divergence").fit(
        X, Y, batch_size=16, epochs=3, shuffle=False, validation_data=(X, Y),
        verbose=0, callbacks=[halve("divergence", str(folder))],
    )  # fmt: skip
    return {path.suffix: (path.name, path.read_bytes()) for path in folder.iterdir()}


def resume(folder, written, **damaged):
    """Starts in the fourth epoch from the files, some of them replaced."""
    for suffix, (name, content) in written.items():
        (folder / name).write_bytes(damaged.get(suffix[1:], content))
    model = build("divergence")
    # BackupAndRestore would bring the optimizer to where it was.
    model.optimizer.iterations.assign(3 * math.ceil(len(X) / 16))
    callback = halve("divergence", str(folder))
    return model.fit(
        X, Y, initial_epoch=3, epochs=4, validation_data=(X, Y), verbose=0,
        callbacks=[callback],
    ).history  # fmt: skip


def test_whole_files_are_taken_up(tmp_path, written):
    assert set(written) == {".json", ".zip"}
    # Every epoch of this training diverges: 1e4 was halved three times.
    assert resume(tmp_path, written)["learning_rate"] == [1250.0]


def state(**changes):
    """A state for epoch 3 as `HalveOnPlateau` writes it, or with other values."""
    whole = {
        "rates": [{"learning_rate": 1250.0}], "best": 1.0, "waited": 0, "cooling": 0,
        "lowest_loss": 1.0, "untrained_loss": 1.0, "exploded_loss": 1.0,
        "best_epoch": -1, "changes": 0, "iterations": 0,
    }  # fmt: skip
    return json.dumps({"version": 1, "states": {"3": {**whole, **changes}}}).encode()


def test_a_state_made_by_hand_is_taken_up(tmp_path, written):
    assert resume(tmp_path, written, json=state())["learning_rate"] == [1250.0]


DAMAGED = {
    "empty": b"",
    "truncated": state()[:-10],
    "a list": b"[]",
    "a number": b"3",
    "no states": b'{"version": 1}',
    "states in a list": b'{"states": [1]}',
    "epoch is a word": b'{"states": {"x": {}}}',
    "state is a number": b'{"states": {"3": 5}}',
    "not UTF-8": b'{"states": "\xff\xfe"}',
    "too large": b" " * (16 * 2**20 + 1),
}
WRONG = {
    "state is empty": b'{"states": {"3": {}}}',
    "rates are a word": state(rates="fast"),
    "rates of two groups": state(rates=[{"learning_rate": 1.0}] * 2),
    "rate is a word": state(rates=[{"learning_rate": "fast"}]),
    "rate is NaN": state(rates=[{"learning_rate": float("nan")}]),
    "rate of a schedule": state(rates=[{"factor": 0.5}]),
    "best is a word": state(best="low"),
    "waited is a word": state(waited="long"),
    "cooling is a list": state(cooling=[1]),
    "changes are a word": state(changes="../../3"),
    "iterations are None": state(iterations=None),
    "lowest loss is None": state(lowest_loss=None),
    "best epoch is a word": state(best_epoch="../../3"),
    "deeply nested": b"[" * 200_000,
}


@pytest.mark.parametrize("name", [*DAMAGED, *WRONG])
def test_a_damaged_state_is_named(tmp_path, written, name):
    text = r"`backup_dir` must hold a state that HalveOnPlateau wrote. Received: .*json"
    with pytest.raises(ValueError, match=text):
        resume(tmp_path, written, json={**DAMAGED, **WRONG}[name])


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"not a zip",
        lambda whole: whole[:-30],
        lambda whole: whole[30:],
        lambda whole: whole[:60] + b"?" + whole[61:],
    ],
    ids=["empty", "not a zip", "end is missing", "start is missing", "one byte"],
)
def test_damaged_weights_are_named(tmp_path, written, damage):
    text = r"halve_on_plateau.val_loss.best0.zip' must hold the weights of this model"
    with pytest.raises(ValueError, match=text):
        resume(tmp_path, written, zip=damage(written[".zip"][1]))


def test_missing_weights_are_named(tmp_path, written):
    only_json = {".json": written[".json"]}
    with pytest.raises(ValueError, match=r"best0.zip' must hold the weights of this"):
        resume(tmp_path, only_json)


def test_weights_of_another_model_are_named(tmp_path, written):
    for name, content in written.values():
        (tmp_path / name).write_bytes(content)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(OPTIMIZERS["divergence"](), "mse")
    with pytest.raises(ValueError, match="its arrays are not those of the model"):
        model.fit(
            X, Y, initial_epoch=3, epochs=4, validation_data=(X, Y), verbose=0,
            callbacks=[halve("divergence", str(tmp_path))],
        )  # fmt: skip
