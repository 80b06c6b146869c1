"""Folds in other processes, of this machine or of others, through joblib."""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import joblib

from keras_tricks import _backend
from keras_tricks.model_selection import _fold
from keras_tricks.model_selection._data import Data
from keras_tricks.model_selection._reuse import Reused
from keras_tricks.model_selection._task import Outcome, Task

try:
    import cloudpickle
except ImportError:
    # joblib before 1.6 has a copy of its own.
    from joblib.externals import cloudpickle

# How often in a row the workers may die before a fold is finished.
_DEATHS = 3
# What each backend reads when it is imported.
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "NPROC",
)
# Of a worker's process: its folds share compiled steps.
_OF_THREAD = threading.local()


def count(n_jobs: int | None) -> int:
    """How many processes joblib would use, by its own rules."""
    return int(joblib.effective_n_jobs(n_jobs))


def run(
    task: Task,
    data: Data,
    splits: list[Any],
    pending: Iterable[int],
    n_jobs: int | None,
) -> Iterator[Outcome]:
    """Trains folds in parallel, and gives each as it is finished.

    Raises:
        RuntimeError: If workers die again and again.
    """
    left = sorted(pending)
    threads = max(1, (joblib.cpu_count() or 1) // max(1, count(n_jobs)))
    environment = {
        "KERAS_BACKEND": _backend.NAME,
        **dict.fromkeys(_THREADS, str(threads)),
    }
    payload = cloudpickle.dumps(task)
    work, deaths = _worker(), 0
    while left:
        parallel = joblib.Parallel(
            n_jobs=n_jobs, return_as="generator_unordered", batch_size=1
        )
        calls = [
            # Nothing whose class would be imported before the backend is chosen.
            joblib.delayed(work)(environment, payload, tuple(data), splits[fold], fold)
            for fold in left
        ]
        try:
            for outcome in parallel(calls):
                left.remove(outcome.fold)
                deaths = 0
                yield outcome
        except _of_dead_workers() as error:
            deaths += 1
            if deaths == _DEATHS:
                raise RuntimeError(
                    f"`n_jobs` workers died {deaths} times in a row, with the folds "
                    f"{left} left: there may be too little memory for n_jobs="
                    f"{n_jobs!r} at a time. Give fewer"
                ) from error


def _of_dead_workers() -> tuple[type[Exception], ...]:
    """What tells of workers that died: joblib's own, and that of Dask where it runs."""
    dask = sys.modules.get("distributed")
    return (BrokenProcessPool, *([dask.KilledWorker] if dask else []))


def _worker() -> Callable[..., Any]:
    # A function in a function travels by its code, and so imports nothing on arrival.
    def work(
        environment: dict[str, str], payload: bytes, data: Any, split: Any, fold: int
    ) -> Any:
        import importlib
        import os
        import sys

        if "keras" not in sys.modules:
            for name, value in environment.items():
                if name == "KERAS_BACKEND":
                    os.environ[name] = value
                else:
                    os.environ.setdefault(name, value)
        jobs = importlib.import_module("keras_tricks.model_selection._jobs")
        return jobs.done(environment["KERAS_BACKEND"], payload, data, split, fold)

    return work


def done(backend: str, payload: bytes, data: Any, split: Any, fold: int) -> Outcome:
    """Trains one fold in a worker.

    Raises:
        RuntimeError: If Keras runs on another backend here.
    """
    if backend != _backend.NAME:
        raise RuntimeError(
            f"`n_jobs` workers must run Keras on {backend!r}. Received: one that has "
            f"loaded Keras on {_backend.NAME!r} before; start new workers, or set "
            "KERAS_BACKEND for them"
        )
    if not hasattr(_OF_THREAD, "reused"):
        _OF_THREAD.reused = Reused()
    task = cloudpickle.loads(payload)
    return _fold.run(task, Data(*data), split, fold, _OF_THREAD.reused)
