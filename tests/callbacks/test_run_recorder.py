"""A record says what a training was, how it went and how it ended, however it ended."""

import gc
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from small_runs import SETTINGS, X, Y, build, record

import keras_tricks as kt
from keras_tricks.callbacks import RunRecorder, _run_loggers
from keras_tricks.runs import Run, _fit_watch, _surroundings


class Fail(keras.callbacks.Callback):
    """Raises an error at a place in the second epoch."""

    def __init__(self, place, error):
        super().__init__()
        self.place, self.error = place, error
        self.second = False

    def on_epoch_begin(self, epoch, logs=None):
        self.second = epoch == 1
        self._at("epoch begin")

    def on_epoch_end(self, epoch, logs=None):
        self._at("epoch end")

    def on_train_batch_begin(self, batch, logs=None):
        self._at("batch")

    def on_test_batch_begin(self, batch, logs=None):
        self._at("validation")

    def _at(self, place):
        if self.second and place == self.place:
            raise self.error


def fail(recorder, place, error, **settings):
    with pytest.raises(type(error)):
        build().fit(
            X,
            Y,
            epochs=4,
            validation_data=(X, Y),
            callbacks=[recorder, Fail(place, error)],
            **{**SETTINGS, **settings},
        )
    return Run(recorder.path)


def test_a_record_holds_settings_and_history(tmp_path):
    values = [0.4, 0.2, 0.0]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([4, 8], values)
    path = record(
        tmp_path,
        "first",
        {"units": 4, "scale": np.float32(0.5)},
        build(rate=schedule),
        epochs=3,
        validation_data=(X, Y),
        validation_freq=2,
    )
    assert path == tmp_path / "first"
    run = Run(path)
    assert (run.state, run.error) == ("finished", None)
    settings = run.settings
    assert settings["config.units"] == 4
    assert settings["config.scale"] == 0.5
    assert settings["fit.batch_size"] == 8
    assert settings["fit.epochs"] == 3
    assert settings["fit.steps"] == 4
    assert settings["fit.first_epoch"] == 0
    assert settings["fit.validation_data"] is True
    assert settings["optimizer.class_name"] == "SGD"
    rate = "optimizer.config.learning_rate"
    assert settings[f"{rate}.class_name"] == "PiecewiseConstantDecay"
    assert settings[f"{rate}.config.values"] == [0.4, 0.2, 0]
    assert settings["compile.loss"] == "mse"
    assert settings["model.parameters"] == 4 * 4 + 4 + 4 + 1
    assert settings["environment.keras"] == keras.__version__
    assert settings["environment.python"] == platform.python_version()
    assert settings["environment.processors"] == os.cpu_count()
    assert settings["data.0.shape"] == [32, 4]
    assert settings["data.1.shape"] == [32, 1]
    # The boundary 4 is the last step of the higher rate.
    assert run.history["learning_rate"] == pytest.approx([0.4, 0.4, 0.2])
    assert run.history["epoch"].tolist() == [0, 1, 2]
    assert np.isnan(run.history["val_loss"]).tolist() == [True, False, True]
    assert (run.history["seconds"] > 0).all()


def test_the_files_are_plain(tmp_path):
    model = build()
    path = record(tmp_path, model=model, epochs=1)
    manifest = json.loads((path / "run.json").read_text())
    assert manifest["state"] == "finished"
    header, line = (path / "history.csv").read_text().splitlines()
    assert header == "epoch,seconds,learning_rate,loss"
    loss = float(line.split(",")[-1])
    assert loss == model.history.history["loss"][0]
    layers = json.loads((path / "model.json").read_text())["config"]["layers"]
    assert layers[1]["config"]["units"] == 4
    assert not list(path.glob(".*"))


def test_steps_are_those_of_the_training(tmp_path):
    class Losses(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.seen = []

        def on_train_batch_end(self, batch, logs=None):
            self.seen.append(float(logs["loss"]))

    losses = Losses()
    recorder = RunRecorder(tmp_path, steps=6)
    build().fit(X, Y, epochs=2, callbacks=[losses, recorder], **SETTINGS)
    steps = Run(recorder.path).steps
    assert steps["epoch"].tolist() == [0, 0, 0, 0, 1, 1]
    assert steps["batch"].tolist() == [0, 1, 2, 3, 0, 1]
    assert steps["loss"].tolist() == losses.seen[:6]


@pytest.mark.backend("jax", "tensorflow", reason="PyTorch makes one step per call")
def test_several_steps_per_call_are_one_entry(tmp_path):
    model = build()
    model.compile("sgd", "mse", steps_per_execution=2)
    run = Run(record(tmp_path, model=model, epochs=1))
    assert run.steps["batch"].tolist() == [0, 2]
    assert run.settings["compile.steps_per_execution"] == 2


def test_rates_of_several_groups(tmp_path):
    optimizers = keras.optimizers
    groups = optimizers.MultiOptimizer(
        optimizers.OptimizerMap(optimizers.SGD(0.1), {".*bias.*": optimizers.SGD(0.05)})
    )
    model = build()
    model.compile(groups, "mse")
    history = Run(record(tmp_path, model=model)).history
    assert history["learning_rate"] == pytest.approx([0.1, 0.1])
    groups = [history[f"learning_rate_{number}"][0] for number in (1, 2)]
    assert sorted(groups) == pytest.approx([0.05, 0.1])


def test_the_rate_is_that_of_the_epoch_whatever_other_callbacks_do(tmp_path):
    halve = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 * 0.5**epoch)
    for order in ("first", "last"):
        recorder = RunRecorder(tmp_path, name=order)
        callbacks = [recorder, halve] if order == "first" else [halve, recorder]
        build().fit(X, Y, epochs=3, callbacks=callbacks, **SETTINGS)
        history = Run(recorder.path).history
        assert history["learning_rate"] == pytest.approx([0.1, 0.05, 0.025])


PLACES = ["epoch begin", "batch", "validation", "epoch end"]


@pytest.mark.parametrize("place", PLACES)
def test_a_failed_run_says_so_with_the_error(tmp_path, place):
    run = fail(RunRecorder(tmp_path), place, RuntimeError("out of <power>"))
    assert run.state == "failed"
    assert run.error == {"type": "RuntimeError", "message": "out of <power>"}
    assert len(run.history["epoch"]) == (2 if place == "epoch end" else 1)


def test_a_run_stopped_by_hand_says_so(tmp_path):
    for name in ("with", "without"):
        recorder = RunRecorder(tmp_path, name=name)
        if name == "with":
            with recorder:
                run = fail(recorder, "batch", KeyboardInterrupt())
        else:
            run = fail(recorder, "batch", KeyboardInterrupt())
        assert (run.state, run.error["type"]) == ("stopped", "KeyboardInterrupt")


class Breaks(keras.Model):
    """A model whose third step fails."""

    def __init__(self, error):
        super().__init__()
        self.head, self.error, self.steps_made = keras.layers.Dense(1), error, 0

    def call(self, x):
        return self.head(x)

    def train_step(self, *state):
        self.steps_made += 1
        if self.steps_made > 2:
            raise self.error
        return super().train_step(*state)


class Data(keras.utils.PyDataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        if index == 39:
            raise OSError("the disk is gone")
        return X[:8], Y[:8]


def test_errors_of_the_step_and_of_the_data_are_told(tmp_path):
    model = Breaks(FloatingPointError("third"))
    model.compile("sgd", "mse", run_eagerly=True, jit_compile=False)
    recorder = RunRecorder(tmp_path)
    with pytest.raises(FloatingPointError):
        model.fit(X, Y, callbacks=[recorder], **SETTINGS)
    run = Run(recorder.path)
    assert run.error == {"type": "FloatingPointError", "message": "third"}
    assert len(run.steps["loss"]) == 2
    # TensorFlow has an error of its own for it.
    with pytest.raises(Exception, match="the disk is gone"):
        build().fit(Data(), callbacks=[recorder], verbose=0)
    run = Run(recorder.path)
    assert run.state == "failed"
    assert "the disk is gone" in run.error["message"]


def test_nothing_is_left_on_the_model(tmp_path):
    model = build()
    record(tmp_path, model=model)
    function = model.train_function
    assert "evaluate" not in vars(model)
    recorder = RunRecorder(tmp_path)
    callbacks = [recorder, Fail("batch", RuntimeError("x"))]
    with pytest.raises(RuntimeError):
        model.fit(X, Y, epochs=2, callbacks=callbacks, **SETTINGS)
    assert "evaluate" not in vars(model)
    assert model.train_function is function


def test_two_recorders_in_one_fit_do_not_disturb_each_other(tmp_path):
    model = build()
    model.fit(X, Y, **SETTINGS)
    function = model.train_function
    both = [RunRecorder(tmp_path, name=name) for name in ("a", "b")]
    model.fit(X, Y, epochs=2, callbacks=both, **SETTINGS)
    a, b = (Run(recorder.path) for recorder in both)
    assert a.steps["loss"].tolist() == b.steps["loss"].tolist()
    assert len(a.steps["loss"]) == 8
    assert "evaluate" not in vars(model)
    assert model.train_function is function


@pytest.mark.parametrize("first", [True, False])
def test_steps_that_another_callback_changes_are_kept(tmp_path, first):
    model = build()
    model.fit(X, Y, **SETTINGS)
    function = model.train_function
    recorder, monitor = RunRecorder(tmp_path), kt.callbacks.GradientMonitor(every=3)
    both = [recorder, monitor] if first else [monitor, recorder]
    for _ in range(2):
        model.fit(X, Y, epochs=2, callbacks=both, **SETTINGS)
        steps = Run(recorder.path).steps
        assert steps["batch"].tolist() == [0, 1, 2, 3] * 2
        assert model.train_function is function


def test_a_step_made_anew_by_a_later_callback_is_followed(tmp_path):
    class Anew(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.make_train_function(force=True)

    recorder = RunRecorder(tmp_path)
    build().fit(X, Y, callbacks=[recorder, Anew()], **SETTINGS)
    assert Run(recorder.path).steps["batch"].tolist() == [0, 1, 2, 3]


def test_an_error_that_a_callback_catches_ends_nothing(tmp_path):
    class Catch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            with pytest.raises(ValueError, match="Unrecognized"):
                self.model.evaluate(object(), verbose=0)

    run = Run(record(tmp_path, epochs=3, callbacks=[Catch()]))
    # The recorder comes last; from its first epoch on `evaluate` is followed.
    assert (run.state, run.error) == ("finished", None)
    assert len(run.history["epoch"]) == 3


def test_an_end_between_two_steps_is_noted_at_once(tmp_path):
    class Ends(keras.Sequential):
        over = False

        def reset_metrics(self):
            if Ends.over:
                raise RuntimeError("between")
            super().reset_metrics()

    class End(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            Ends.over = True

    model = Ends([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    recorder = RunRecorder(tmp_path)
    gc.disable()
    try:
        try:
            model.fit(X, Y, epochs=3, callbacks=[recorder, End()], **SETTINGS)
        except RuntimeError as error:
            assert str(error) == "between"  # noqa: PT017
        assert Run(recorder.path).state == "failed"
    finally:
        gc.enable()


@pytest.mark.parametrize("place", ["_fit_frame", "_watch_iterator", "links"])
def test_what_goes_wrong_in_the_watch_ends_no_training(tmp_path, monkeypatch, place):
    def broken(*args):
        raise AttributeError("Keras is another")

    monkeypatch.setattr(_fit_watch, place, broken)
    model = build()
    with pytest.warns(UserWarning, match=r"cannot be followed.*AttributeError: Keras"):
        path = record(tmp_path, model=model)
    run = Run(path)
    assert run.state == "finished"
    assert run.history["epoch"].tolist() == [0, 1]
    assert "evaluate" not in vars(model)


def test_a_loop_of_ones_own_is_recorded_as_far_as_callbacks_are_told(tmp_path):
    model, recorder = build(), RunRecorder(tmp_path)
    told = keras.callbacks.CallbackList([recorder], model=model, epochs=1)
    with pytest.warns(UserWarning, match="no `fit` of the model is among the callers"):
        told.on_train_begin()
    told.on_epoch_begin(0)
    told.on_epoch_end(0, {"loss": 1.5})
    told.on_train_end()
    run = Run(recorder.path)
    assert (run.state, run.last("loss")) == ("finished", 1.5)


def test_what_cannot_be_described_is_left_out(tmp_path, monkeypatch):
    def broken(*args):
        raise RuntimeError("no driver")

    monkeypatch.setattr(_surroundings, "environment", broken)
    with pytest.warns(UserWarning, match="goes without 'environment'.*no driver"):
        run = Run(record(tmp_path, epochs=1))
    assert run.manifest["environment"] is None
    assert run.settings["fit.batch_size"] == 8


@pytest.mark.parametrize("place", ["begin", "epoch", "end"])
def test_a_tool_that_fails_ends_no_training(tmp_path, monkeypatch, place):
    calls = []

    class Tool:
        library = staticmethod(lambda: None)

        def __init__(self, path, settings):
            self.at("begin")

        def epoch(self, epoch, values):
            self.at("epoch")

        def end(self, state):
            self.at("end")

        def at(self, where):
            calls.append(where)
            if where == place:
                raise ConnectionError("no server")

    monkeypatch.setitem(_run_loggers._LOGGERS, "mlflow", Tool)
    recorder = RunRecorder(tmp_path, also="mlflow")
    with pytest.warns(UserWarning, match="not logged by mlflow any further.*no server"):
        build().fit(X, Y, epochs=2, callbacks=[recorder], **SETTINGS)
    assert Run(recorder.path).state == "finished"
    # Asked once more it would fail again.
    assert calls.count(place) == 1


def test_early_stopping_is_stopped_without_an_error(tmp_path):
    stop = keras.callbacks.EarlyStopping("loss", min_delta=1e9)
    run = Run(record(tmp_path, epochs=9, callbacks=[stop]))
    assert (run.state, run.error) == ("stopped", None)
    assert len(run.history["epoch"]) == 2
    assert run.settings["callbacks.0.class_name"] == "EarlyStopping"
    assert run.settings["callbacks.0.config.min_delta"] in (1e9, -1e9)


def test_two_fits_are_two_runs_and_a_resumed_one_begins_where_it_does(tmp_path):
    model, recorder = build(), RunRecorder(tmp_path, name="fold")
    model.fit(X, Y, epochs=2, callbacks=[recorder], **SETTINGS)
    model.fit(X, Y, epochs=5, initial_epoch=3, callbacks=[recorder], **SETTINGS)
    runs = kt.runs.list(tmp_path)
    assert [run.name for run in runs] == ["fold", "fold-2"]
    assert runs[1].history["epoch"].tolist() == [3, 4]
    assert runs[1].settings["fit.first_epoch"] == 3
    assert runs[1].state == "finished"


KILLED = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[2])
import keras
from small_runs import SETTINGS, X, Y, build
from keras_tricks.callbacks import RunRecorder

class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        time.sleep(1.1)
        if epoch == 2:
            print("now", flush=True)
            if sys.argv[3] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if sys.argv[3] == "end":
                raise KeyboardInterrupt
            time.sleep(60)

build().fit(X, Y, epochs=9, callbacks=[RunRecorder(sys.argv[1], "it"), Kill()],
            **SETTINGS)
"""


def started(directory, how):
    command = [sys.executable, "-c", KILLED, directory, Path(__file__).parents[1], how]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
@pytest.mark.slow
def test_a_killed_run_and_one_that_ended_its_program_are_records_that_say_so(tmp_path):
    killed, ended = tmp_path / "killed", tmp_path / "ended"
    with started(killed, "wait") as process, started(ended, "end") as other:
        assert process.stdout.readline() == "now\n"
        assert Run(killed / "it").state == "running"
        process.kill()
        other.wait()
    run = Run(killed / "it")
    assert run.state == "killed"
    assert run.history["epoch"].tolist() == [0, 1]
    assert len(run.steps["loss"]) == 8
    assert run.manifest["ended"] is None
    run = Run(ended / "it")
    assert (run.state, run.error["type"]) == ("stopped", "KeyboardInterrupt")


def test_a_config_may_hold_anything(tmp_path):
    loop = []
    loop.append(loop)

    class Bad:
        def __repr__(self):
            raise RuntimeError("no")

    config = {
        "function": build,
        "object": object(),
        "bad": Bad(),
        "nan": float("nan"),
        "loop": loop,
        "long": "x" * 100_000,
        "array": np.zeros((1000, 1000)),
        3: {"a", "b"},
        "layer": keras.layers.Dense(3, name="d"),
        "half": "\ud800",
    }
    run = Run(record(tmp_path, config=config, epochs=1))
    found = run.manifest["config"]
    assert found["function"].endswith(".build")
    assert found["object"] == "<object object>"
    assert found["bad"] == "<Bad>"
    assert found["nan"] == "nan"
    assert found["loop"] == ["... itself"]
    assert len(found["long"]) < 30_000
    assert found["array"] == "<ndarray of shape (1000, 1000), float64>"
    assert found["3"] == ["a", "b"]
    assert found["layer"]["config"]["units"] == 3


def test_no_path_host_or_user_is_noted(tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(str(tmp_path / "a.keras"))
    path = record(tmp_path / "runs", epochs=1, callbacks=[checkpoint])
    text = (path / "run.json").read_text()
    names = [str(tmp_path), str(Path.cwd()), str(Path.home()) + "/", platform.node()]
    assert not [name for name in names if name in text]


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", "-C", folder, *who, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_commit_and_what_differs_from_it_are_noted(tmp_path, monkeypatch):
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init")
    (repository / "a.py").write_text("1\n")
    git(repository, "add", "a.py")
    git(repository, "commit", "-m", "first")
    monkeypatch.chdir(repository)
    clean = Run(record(tmp_path, epochs=1)).manifest["git"]
    assert clean == {
        "commit": git(repository, "rev-parse", "HEAD"),
        "changed_files": 0,
        "untracked_files": 0,
        "diff": None,
    }
    (repository / "a.py").write_text("secret\n")
    (repository / "b.py").write_text("2\n")
    changed = Run(record(tmp_path, epochs=1)).manifest["git"]
    assert (changed["changed_files"], changed["untracked_files"]) == (1, 1)
    assert len(changed["diff"]) == 16


def test_no_git_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Run(record(tmp_path, epochs=1)).manifest["git"] is None


def test_things_added_before_and_after_belong_to_the_run(tmp_path):
    recorder = RunRecorder(tmp_path)
    rates = np.geomspace(1e-4, 1, 9)
    recorder.add("range_test", kt.probes.LearningRateCurve(rates, rates))
    build().fit(X, Y, callbacks=[recorder], **SETTINGS)
    recorder.add("lint", [{"rule": "a", "message": "b"}])
    extra = Run(recorder.path).extra()
    assert extra["lint"] == [{"rule": "a", "message": "b"}]
    assert extra["range_test"]["learning_rates"] == pytest.approx(rates.tolist())
    build().fit(X, Y, callbacks=[recorder], **SETTINGS)
    assert Run(recorder.path).extra() == {}


def test_a_full_disk_ends_the_record_not_the_training(tmp_path, monkeypatch):
    def full(path, fill):
        raise OSError("no space left")

    class Fill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                monkeypatch.setattr(kt._atomic, "write", full)

    with pytest.warns(UserWarning, match="cannot be recorded further.*no space left"):
        path = record(tmp_path, epochs=3, callbacks=[Fill()])
    assert Run(path).history["epoch"].tolist() == [0]


def test_given_data_stand_for_the_data(tmp_path):
    recorder = RunRecorder(tmp_path, data={"b": X[:3], "a": ["x", "y"]})
    build().fit(X, Y, callbacks=[recorder], **SETTINGS)
    letters, rows = Run(recorder.path).manifest["data"]
    assert letters["shape"] == [2]
    assert (rows["shape"], rows["hashed"]) == ([3, 4], "all")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"config": [1]}, TypeError, "`config` must be a dict.*Received: config=\\[1]"),
        ({"name": "a/b"}, ValueError, "`name` must be the name of a file.*'a/b'"),
        ({"name": ".."}, ValueError, "`name` must be the name of a file"),
        ({"name": 3}, TypeError, "`name` must be a string. Received: name=3"),
        ({"also": "tensorbord"}, ValueError, "Did you mean 'tensorboard'"),
        ({"steps": -1}, ValueError, "`steps` must be an integer from 0"),
        ({"directory": 3}, TypeError, "expected str"),
    ],
)
def test_says_which_argument_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        RunRecorder(**arguments)


def test_a_missing_library_is_named(monkeypatch):
    for name in ("mlflow", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
        with pytest.raises(ImportError, match=f"needs {name}, which is not installed"):
            RunRecorder(also=name)


@pytest.mark.needs("tensorboard")
def test_tensorboard_gets_the_same_values(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator

    recorder = RunRecorder(tmp_path, also="tensorboard")
    build().fit(X, Y, epochs=2, callbacks=[recorder], **SETTINGS)
    folder = str(recorder.path / "tensorboard")
    events = event_accumulator.EventAccumulator(folder).Reload()
    values = [event.tensor_proto.float_val[0] for event in events.Tensors("loss")]
    assert values == pytest.approx(Run(recorder.path).history["loss"])


@pytest.mark.needs("mlflow")
# What other libraries warn of each other is not ours.
@pytest.mark.filterwarnings("ignore")
def test_mlflow_gets_the_same_values(tmp_path):
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    recorder = RunRecorder(tmp_path, also=["mlflow"], config={"units": 4})
    build().fit(X, Y, epochs=2, callbacks=[recorder], **SETTINGS)
    (found,) = mlflow.MlflowClient().search_runs(["0"])
    assert found.info.status == "FINISHED"
    assert found.data.params["config.units"] == "4"
    last = Run(recorder.path).last("loss")
    assert found.data.metrics["loss"] == pytest.approx(last)
