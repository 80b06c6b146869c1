"""A repetition is the same bit for bit, or says where it first is not."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from small_runs import SETTINGS, X, Y, build, record

import keras_tricks as kt
from keras_tricks.runs import _surroundings


def seeded_record(directory, monkeypatch, **settings):
    # As `reproducible` does, which other tests in this process must not notice.
    monkeypatch.setattr(_surroundings, "SEED", [5])
    keras.utils.set_random_seed(5)
    dropout = settings.pop("dropout", 0.3)
    return record(directory, model=build(dropout=dropout), **settings)


def with_dropout():
    return build(dropout=0.3)


def test_the_same_again(tmp_path, monkeypatch):
    path = seeded_record(tmp_path, monkeypatch, epochs=3, validation_split=0.25)
    np.random.random(7)
    state = np.random.get_state()[1].tobytes()
    found = kt.runs.repeat(path, with_dropout, X, Y)
    assert found.same
    assert found.first_difference is None
    assert str(found).startswith("the same, bit for bit")
    assert np.random.get_state()[1].tobytes() == state
    assert isinstance(found.model, keras.Model)


def test_another_seed_differs_from_the_first_step_on(tmp_path, monkeypatch):
    path = seeded_record(tmp_path, monkeypatch)
    found = kt.runs.repeat(path, with_dropout, X, Y, seed=6)
    assert not found.same
    step, epoch, batch, recorded, repeated = found.first_difference
    assert (step, epoch, batch) == (1, 0, 0)
    assert recorded == kt.runs.Run(path).steps["loss"][0] != repeated
    assert "differs first at step 1 (epoch 0, batch 0)" in found.summary
    assert "before that in initial weights" in found.summary


def test_the_first_step_that_differs_is_found(tmp_path, monkeypatch):
    class Nudge(keras.callbacks.Callback):
        """Changes a weight before the second epoch."""

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                bias = self.model.layers[-1].bias
                bias.assign(bias + 1.0)

    path = seeded_record(tmp_path, monkeypatch)
    found = kt.runs.repeat(path, with_dropout, X, Y, callbacks=[Nudge()])
    assert found.first_difference[:3] == (5, 1, 0)
    assert [row.what for row in found if not row.same] == []


def test_after_the_steps_that_were_kept_it_is_an_epoch(tmp_path, monkeypatch):
    path = seeded_record(tmp_path, monkeypatch)
    (path / "steps.csv").unlink()
    found = kt.runs.repeat(path, with_dropout, X, Y, seed=6)
    assert found.first_difference[:3] == (None, 0, None)
    assert "differs first at epoch 0" in found.summary


def test_steps_are_compared_by_their_places(tmp_path, monkeypatch):
    path = seeded_record(tmp_path, monkeypatch)
    lines = (path / "steps.csv").read_text().splitlines()
    # One was not seen: those after it are at their places all the same.
    (path / "steps.csv").write_text("\n".join([*lines[:2], *lines[3:], ""]))
    found = kt.runs.repeat(path, with_dropout, X, Y)
    assert found.same


def test_class_weights_of_the_record_are_used(tmp_path, monkeypatch):
    def build_classes():
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(2, activation="softmax")]
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    monkeypatch.setattr(_surroundings, "SEED", [5])
    keras.utils.set_random_seed(5)
    recorder, classes = (
        kt.callbacks.RunRecorder(tmp_path),
        (Y[:, 0] > 0).astype("int32"),
    )
    settings = {**SETTINGS, "class_weight": {0: 1.0, 1: 5.0}}
    build_classes().fit(X, classes, callbacks=[recorder], **settings)
    assert kt.runs.repeat(recorder.path, build_classes, X, classes).same


def test_settings_that_differ_are_rows(tmp_path, monkeypatch):
    path = seeded_record(tmp_path, monkeypatch, dropout=0.0)
    found = kt.runs.repeat(path, lambda: build(rate=0.2), X, Y)
    unlike = {row.what: (row.recorded, row.repeated) for row in found if not row.same}
    assert unlike == {"optimizer.config.learning_rate": ("0.1", "0.2")}
    # The first loss is from before the first update.
    assert found.first_difference.step == 2


def test_another_model_and_other_data_are_refused(tmp_path):
    path = record(tmp_path)
    with pytest.raises(ValueError, match=r"`build` must .*units='5', recorded was '4'"):
        kt.runs.repeat(path, lambda: build(5), X, Y)
    (path / "model.json").unlink()
    with pytest.raises(ValueError, match=r"with 31 parameters, recorded were 25"):
        kt.runs.repeat(path, lambda: build(5), X, Y)
    other = X.copy()
    other[0, 0] += 1
    with pytest.raises(ValueError, match=r"`x` and `y` must be the recorded data"):
        kt.runs.repeat(path, build, other, Y)


def test_a_run_without_an_epoch_cannot_be_repeated(tmp_path):
    path = record(tmp_path)
    (path / "history.csv").unlink()
    with pytest.raises(ValueError, match="must be a run with at least one whole epoch"):
        kt.runs.repeat(path, build, X, Y)


def test_a_model_that_answers_differently_is_named(tmp_path, monkeypatch):
    class LeftOn(keras.layers.Dropout):
        def call(self, inputs):
            return super().call(inputs, training=True)

    def build_left_on():
        model = keras.Sequential(
            [keras.Input((4,)), LeftOn(0.5, name="left"), keras.layers.Dense(1)]
        )
        model.compile("sgd", "mse")
        return model

    monkeypatch.setattr(_surroundings, "SEED", [5])
    keras.utils.set_random_seed(5)
    path = record(tmp_path, model=build_left_on())
    found = kt.runs.repeat(path, build_left_on, X, Y)
    assert found.same
    assert [row.layer for row in found.unstable] == ["left"]
    assert "two predictions differ because of 'left'" in found.summary


REPRODUCIBLE = """
import sys
sys.path.insert(0, sys.argv[1])
import keras
import keras_tricks as kt
from small_runs import X, Y, SETTINGS, build
report = kt.runs.reproducible(3)
print(report)
model = build(dropout=0.2)
history = model.fit(X, Y, epochs=2, **SETTINGS).history
print([float(value).hex() for value in history["loss"]])
recorder = kt.callbacks.RunRecorder(sys.argv[2])
kt.runs.reproducible(3)
model = build(dropout=0.2)
model.fit(X, Y, callbacks=[recorder], **SETTINGS)
print(kt.runs.Run(recorder.path).settings["seeds.reproducible"])
"""


@pytest.mark.slow
def test_reproducible_is_so_in_two_processes_and_says_what_is_not(tmp_path):
    command = [sys.executable, "-c", REPRODUCIBLE, Path(__file__).parents[1], tmp_path]
    processes = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("0", "1")
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert outputs[0] == outputs[1]
    lines = outputs[0].splitlines()
    assert lines[0] == "seed 3; 3 things cannot be promised"
    assert lines[-1] == "3"
    table = {line[:20].strip(): line for line in lines}
    assert "True" in table["order of sets of str"]
    assert "False" in table["another machine or v"]


@pytest.mark.parametrize(
    ("seed", "error"), [(-1, ValueError), (2**32, ValueError), ("a", TypeError)]
)
def test_says_which_seed_is_wrong(seed, error):
    with pytest.raises(error, match="`seed` must be an integer from 0 to 4294967295"):
        kt.runs.reproducible(seed)


def test_settings_of_the_record_are_used(tmp_path):
    path = record(tmp_path, batch_size=16, shuffle=False)
    assert SETTINGS["batch_size"] == 8
    found = kt.runs.repeat(path, build, X, Y)
    assert len(kt.runs.Run(path).steps["loss"]) == 4
    assert found.first_difference is None or found.first_difference.step <= 4
