import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks.model_selection import cross_validate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(18, 3)).astype("float32")
Y = X.sum(axis=1)


def network(units=2, rate=0.1):
    inner = [layers.Dense(units, "relu"), layers.Dropout(0.3), layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *inner])
    model.compile(keras.optimizers.Adam(rate), "mse")
    return model


class Builds:
    """Counts the folds that are trained."""

    def __init__(self, **arguments):
        self.arguments = arguments
        self.folds = []

    def __call__(self, fold):
        self.folds.append(fold)
        return network(**self.arguments)


def run(directory, build=None, x=X, y=Y, **arguments):
    defaults = {"cv": 3, "epochs": 1, "batch_size": 6, "seed": 1, "verbose": 0}
    build = Builds() if build is None else build
    return cross_validate(build, x, y, directory=directory, **(defaults | arguments))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with all folds, to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    run(folder)
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "folder")


class StoppedError(Exception):
    pass


def test_no_finished_fold_is_trained_again(tmp_path):
    def callbacks(fold):
        if fold == 2 and failing:
            raise StoppedError
        return []

    failing = True
    with pytest.raises(StoppedError):
        run(tmp_path, callbacks=callbacks)
    failing = False
    build = Builds()
    resumed = run(tmp_path, build, callbacks=callbacks)
    # The first call is the look at the architecture.
    assert build.folds == [0, 2]
    whole = run(None, vectorized=False)
    np.testing.assert_array_equal(resumed.out_of_fold, whole.out_of_fold)
    assert resumed.histories == whole.histories
    for name, score in whole.scores.items():
        np.testing.assert_array_equal(resumed.scores[name].folds, score.folds)
    again = Builds()
    assert run(tmp_path, again, callbacks=callbacks).how == "all from an earlier run"
    assert again.folds == [0]


def test_models_come_from_the_folder(folder):
    result = run(folder)
    assert result.how == "all from an earlier run"
    assert all(outcome.weights is None for outcome in result._outcomes)
    for fold, (_, test) in enumerate(result.folds):
        found = result.models[fold].predict(X[test], verbose=0)
        np.testing.assert_allclose(found, result.out_of_fold[test], rtol=1e-5)


def test_without_a_seed_the_folder_knows_it(folder):
    again = run(folder, seed=None)
    assert again.how == "all from an earlier run"


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"x": X + 1}, "data"),
        ({"y": Y[::-1]}, "data"),
        ({"build": Builds(units=3)}, "model"),
        ({"build": Builds(rate=0.2)}, "model"),
        ({"cv": 2}, "folds"),
        ({"seed": 2}, "(seed|folds|model)"),
        ({"epochs": 2}, "settings"),
        ({"scoring": "r2"}, "settings"),
    ],
)
def test_a_folder_of_something_else_is_refused(folder, changed, what):
    expected = (
        f"`directory` must be new, or that of the same run.* made with another {what}"
    )
    with pytest.raises(ValueError, match=expected):
        run(folder, **changed)


def forged(folder, arrays=None, content=None, **changes):
    """The record of fold 0 with other arrays, and with their right hash."""
    record = json.loads((folder / "fold-00000.json").read_text())
    if arrays is not None:
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        content = buffer.getvalue()
    if content is not None:
        (folder / "fold-00000.npz").write_bytes(content)
        record["arrays"] = hashlib.sha256(content).hexdigest()
    record.update(changes)
    (folder / "fold-00000.json").write_text(json.dumps(record))


RAN = []


class Trap:
    def __reduce__(self):
        return (RAN.append, (1,))


def compressed():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, predictions=np.zeros((6, 1)))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("forgery", "why"),
    [
        (
            {"arrays": {"predictions": np.array([Trap()] * 6, dtype=object)}},
            "Object arrays cannot be loaded",
        ),
        ({"arrays": {"predictions": np.array(["a"] * 6)}}, "other things than numbers"),
        ({"arrays": {"predictions": np.zeros((5, 1))}}, "that of another fold"),
        ({"arrays": {"weight_0": np.zeros((5, 1))}}, "predictions"),
        ({"content": b"PK"}, "cannot be used"),
        ({"content": compressed()}, "it is compressed"),
        ({"fold": 1}, "that of another fold"),
        ({"arrays_": 1, "scores": [1]}, "cannot be used"),
        ({"history": {"loss": "x"}}, "cannot be used"),
    ],
)
def test_hostile_and_damaged_folds_are_refused(folder, forgery, why):
    forged(folder, **forgery)
    with pytest.raises(ValueError, match=f"`directory` must hold what.*{why}"):
        run(folder)
    assert not RAN


def test_a_record_that_would_fill_the_memory_is_refused(folder):
    with open(folder / "fold-00000.json", "wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(
        ValueError, match=r"`directory` must hold what.*it is too large"
    ):
        run(folder)


def test_an_array_that_says_it_is_large_is_refused(folder):
    buffer = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (6, 2**44)}
    np.lib.format.write_array_header_1_0(buffer, header)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("predictions.npy", buffer.getvalue())
    forged(folder, content=archive.getvalue())
    with pytest.raises(ValueError, match="`directory` must hold what"):
        run(folder)


def test_folds_of_unknown_origin_are_refused(folder):
    (folder / "cross_validation.json").unlink()
    with pytest.raises(ValueError, match="there are folds, and it is missing"):
        run(folder)


@pytest.mark.parametrize("content", ["[]", "{", '{"seed": "x"}', "[" * 9999])
def test_a_damaged_manifest_is_refused(tmp_path, content):
    (tmp_path / "cross_validation.json").write_text(content)
    with pytest.raises(ValueError, match="`directory` must hold what cross_validate"):
        run(tmp_path, seed=None)


def test_weights_of_another_shape_are_refused(folder):
    result = run(folder)
    with np.load(folder / "fold-00000.npz") as file:
        arrays = dict(file)
    arrays["weight_0"] = np.zeros((9, 9))
    forged(folder, arrays)
    with pytest.raises(ValueError, match="`build` must return the model that was"):
        _ = result.models[0]


def test_a_flipped_bit_is_found(folder):
    path = folder / "fold-00001.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="its arrays are not those of its record"):
        run(folder)


def test_what_a_killed_process_left_half_written_is_no_fold(folder):
    for name in ("fold-00001.json", "fold-00002.json"):
        (folder / name).unlink()
    (folder / "fold-00002.npz").unlink()
    (folder / ".fold-00002.npz.abc").write_bytes(b"half")
    build = Builds()
    run(folder, build)
    assert build.folds == [0, 1, 2]
    assert not [*folder.glob(".*")]


NURSERY = """
import os, sys
import keras, numpy as np
from keras import layers
from keras_tricks.model_selection import cross_validate

def build(fold):
    print("build", fold, flush=True)
    inner = [layers.Dense(4, "relu"), layers.Dropout(0.3), layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *inner])
    model.compile("adam", "mse")
    return model

def work(directory):
    x = np.random.default_rng(0).normal(size=(48, 3)).astype("float32")
    result = cross_validate(build, x, x.sum(axis=1), cv=48, epochs=1, batch_size=24,
        directory=directory, seed=1, verbose=0, vectorized=False, keep_models=False)
    print("scores", result.scores["loss"].folds.tolist(), flush=True)

# Each child has all imported, and nothing computed yet.
for line in sys.stdin:
    child = os.fork()
    if not child:
        work(line.strip() or None)
        os._exit(0)
    print("child", child, flush=True)
    print("over", os.waitpid(child, 0)[1], flush=True)
"""
KILLS = 20


def lives(nursery, directory, last=None, delay=0.0):
    """The lines of a child, killed a moment after that many, and how it ended."""
    nursery.stdin.write(f"{directory}\n")
    nursery.stdin.flush()
    pid, lines = 0, []
    for line in nursery.stdout:
        what, _, value = line.strip().partition(" ")
        if what == "over":
            return lines, int(value)
        if what == "child":
            pid = int(value)
        else:
            lines.append((time.perf_counter(), what, value))
        if pid and last is not None and len(lines) >= last:
            time.sleep(delay)
            os.kill(pid, signal.SIGKILL)
            last = None
    raise AssertionError("the nursery died")


@pytest.mark.slow
def test_killed_at_random_times_it_ends_with_the_scores_of_an_undisturbed_run(tmp_path):
    nursery = subprocess.Popen(
        [sys.executable, "-c", NURSERY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        whole, status = lives(nursery, "")
        assert status == 0
        fold = (whole[-1][0] - whole[3][0]) / 46
        rng = np.random.default_rng(time.time_ns())
        kept = set()
        for kill in range(KILLS + 1):
            # Some fall into the look at the architecture, others into a fold.
            at = None if kill == KILLS else int(rng.integers(1, 4))
            lines, status = lives(nursery, tmp_path, at, rng.uniform(0, 1.2 * fold))
            assert status == (0 if kill == KILLS else signal.SIGKILL)
            trained = [int(value) for _, what, value in lines if what == "build"]
            # The first one is the look at the architecture.
            assert not kept & {*trained[1:]}, "a finished fold was trained again"
            kept = {int(p.stem[-5:]) for p in tmp_path.glob("fold-*.json")}
        assert lines[-1][1:] == whole[-1][1:]
    finally:
        nursery.kill()
        nursery.communicate()
