import os

import joblib
import keras
import numpy as np
import pytest

from keras_tricks.model_selection import _jobs, cross_validate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 3)).astype("float32")
Y = X.sum(axis=1)


def builder(deadly=None, always=False):
    # A function in a function: the workers cannot import this file.
    def build(fold):
        import os
        import signal

        import keras
        from keras import layers

        dies = deadly is not None and fold == 1 and os.getpid() != home
        if dies and (always or not os.path.exists(deadly)):
            open(deadly, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        model = keras.Sequential(
            [
                keras.Input((3,)),
                layers.Dense(4, "relu"),
                layers.Dropout(0.5),
                layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        return model

    home = os.getpid()
    return build


def run(build=None, **arguments):
    defaults = {"cv": 4, "epochs": 2, "batch_size": 4, "seed": 1, "verbose": 0}
    defaults["vectorized"] = False
    build = builder() if build is None else build
    return cross_validate(build, X, Y, **(defaults | arguments))


def agree(one, other):
    np.testing.assert_allclose(one.out_of_fold, other.out_of_fold, rtol=1e-5)
    for name, score in one.scores.items():
        np.testing.assert_allclose(score.folds, other.scores[name].folds, rtol=1e-5)
    for a, b in zip(one.models, other.models, strict=True):
        for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_a_worker_that_dies_in_a_fold_is_replaced(tmp_path):
    deadly = str(tmp_path / "died")
    result = run(builder(deadly), n_jobs=2)
    assert os.path.exists(deadly)
    agree(result, run())


@pytest.mark.slow
def test_workers_that_die_again_and_again_are_an_error(tmp_path):
    build = builder(str(tmp_path / "died"), always=True)
    with pytest.raises(RuntimeError, match="`n_jobs` workers died 3 times in a row"):
        run(build, n_jobs=2)


@pytest.mark.needs("distributed")
def test_dask_workers_that_die_again_and_again_are_an_error_too(monkeypatch):
    from distributed import KilledWorker

    def dying(calls):
        raise KilledWorker("fold", None, 3)

    monkeypatch.setattr(joblib, "Parallel", lambda **given: dying)
    with pytest.raises(RuntimeError, match="`n_jobs` workers died 3 times in a row"):
        run(n_jobs=2)


def test_threads_take_turns():
    with joblib.parallel_config(backend="threading", n_jobs=2):
        result = run()
    agree(result, run())


def test_a_worker_of_another_backend_says_so():
    with pytest.raises(RuntimeError, match="`n_jobs` workers must run Keras on 'mlx'"):
        _jobs.done("mlx", b"", (), (), 0)


@pytest.mark.slow
def test_two_processes_give_the_results_of_one(tmp_path):
    path = str(tmp_path)

    def callbacks(fold):
        import os

        with open(f"{path}/{fold}", "w") as file:
            names = ["KERAS_BACKEND", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"]
            file.write("|".join(os.environ[name] for name in names))
        return []

    folder = tmp_path / "folds"
    result = run(n_jobs=2, callbacks=callbacks, directory=folder)
    assert result.how == "2 jobs"
    # Finished folds are kept as they come.
    assert len([*folder.glob("fold-*.json")]) == 4
    agree(result, run())
    for fold in range(4):
        backend, *threads = (tmp_path / str(fold)).read_text().split("|")
        assert backend == keras.backend.backend()
        assert all(1 <= int(number) <= os.cpu_count() for number in threads)


@pytest.mark.slow
@pytest.mark.needs("distributed")
def test_dask_workers_give_the_results_of_one_process(tmp_path):
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            local_directory=str(tmp_path),
        ) as cluster,
        Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
    ):
        assert len(client.scheduler_info()["workers"]) == 2
        result = run()
        assert result.how == "2 jobs"
        deadly = str(tmp_path / "died")
        survived = run(builder(deadly))
        assert os.path.exists(deadly)
    alone = run()
    agree(result, alone)
    agree(survived, alone)
