"""RunRecorder: every training leaves a record that others can read."""

import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import keras

from keras_tricks import _arguments
from keras_tricks.callbacks import _run_loggers
from keras_tricks.runs import (
    _fingerprint,
    _folder,
    _model,
    _plain,
    _steps,
    _surroundings,
)
from keras_tricks.runs._fit_watch import FitWatch
from keras_tricks.runs._recording import Recording
from keras_tricks.schedules import _rates


class RunRecorder(keras.callbacks.Callback):
    """Writes a record of each `fit`: what it was, how it went, how it ended.

    When: always; a result that cannot be repeated is an anecdote.
    Typical: `callbacks=[..., RunRecorder(config={"width": 64})]`, the last of the list;
        then `kt.runs.list()`, `kt.runs.compare(a, b)`, `kt.runs.report("runs")`.
    Costs: at the start a hash of the weights and of up to 8 MB per array of the data;
        then writes of some ms, at the ends of epochs; where they would take more than a
        twentieth of the time, some are left out, but for no longer than a second.
    Beware: the message of an error is kept as it is, and may name files. What is not in
        the arguments of Keras, such as how data were made, is known only by `config`.

    One folder per `fit`, named by the time (UTC) or by `name`, with a number where that
    is taken. In it:

    - `run.json`: state (running, finished, stopped, failed) and error; times; the
      settings of `fit`, optimizer, schedules, loss, metrics and callbacks; parameter
      count, and digests of architecture and initial weights; digests of the data;
      `config`; seeds as far as they are known, and digests of the random states;
      versions of Python, Keras, NumPy and the backend; operating system, number of
      processors, names of accelerators; git commit, numbers of changed and of untracked
      files, and a digest of the changes. No path, host or user name.
    - `history.csv`: a line per epoch, with its seconds, the learning rate of its first
      step (the highest of several groups, and each by number) and its metrics
    - `steps.csv`: the running mean loss after each of the first steps
    - `model.json`: the model's config, if it has one
    - `extra/NAME.json`: what `add` was given

    Every file is replaced as a whole, so the record of a killed process can be read; a
    lock tells such a run from a running one (not on Windows). How a `fit` fails is
    noted too, though Keras does not tell, from the first callback on; Ctrl-C makes a
    run "stopped". To be sure of it between two steps, too, train in a block
    `with RunRecorder() as recorder:`. If the disk is full, the record ends with a
    warning, and the training goes on; so it does where one of `also` fails.

    Args:
        directory: Folder of all runs. Defaults to "runs".
        name: String or None. Name of the run's folder, or None for the time.
        config: Dict or None. Settings of your own, such as the arguments of `build`, as
            plain values; of what is none, the config, name or `repr` is kept.
        data: Arrays, or nested tuples and dicts of them, that stand for the data; None
            for those that `fit` trains on. Data sets and generators are named, but not
            read.
        also: "tensorboard", "mlflow", or a list of both: where the epochs are logged
            too, if these libraries are installed. MLflow's active run is used, if there
            is one.
        steps: Integer from 0 to 1000000. So many steps are kept, for `kt.runs.repeat`.

    Attributes:
        path: Path of the folder of the last run, or None.

    Raises:
        ImportError: If the library of one of `also` is not installed.
        OSError: As a training begins, if nothing can be written.
        TypeError: If `config` is not a dict, or `directory` no path.
        ValueError: If `name` is not that of a file, or `also` is unknown.

    Example:
    >>> import tempfile, keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.5), "mse")
    >>> recorder = kt.callbacks.RunRecorder(tempfile.mkdtemp(), config={"width": 1})
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[recorder])
    >>> run = kt.runs.Run(recorder.path)
    >>> run.state, run.settings["config.width"], run.history["learning_rate"].tolist()
    ('finished', 1, [0.5, 0.5])

    Reference: none.
    """

    def __init__(
        self,
        directory: Any = "runs",
        name: str | None = None,
        config: dict[str, Any] | None = None,
        data: Any = None,
        *,
        also: Any = (),
        steps: int = 1000,
    ) -> None:
        super().__init__()
        if name is not None:
            _folder.checked_name("name", _arguments.text("name", name))
        if config is not None and not isinstance(config, dict):
            raise TypeError(
                "`config` must be a dict of settings, or None. Received: "
                f"config={config!r}; for a namespace give vars(namespace)"
            )
        self.directory = directory
        self.name = name
        self.config = config
        self.data = data
        self.also = also
        self.steps = _arguments.integer("steps", steps, 0, 1_000_000)
        self._directory = Path(os.fspath(directory))
        self._tools = _run_loggers.checked(also)
        self._loggers: list[Any] = []
        self._recording: Recording | None = None
        self._watch: FitWatch | None = None
        self._waiting: dict[str, Any] = {}
        self._git: list[Any] = []

    @property
    def path(self) -> Path | None:
        return self._recording.path if self._recording else None

    def add(self, name: str, content: Any) -> None:
        """Adds something to the record, which `kt.runs.report` shows.

        Before the first `fit` it is kept for the run that begins next; later it goes to
        the run of now, or to the last one.

        Args:
            name: String, the name of a file. "range_test" is drawn as one, and whatever
                has an entry `plot`: `{"x_label", "y_label", "log_x", "log_y", "curves":
                [{"name", "x", "y", "kind"}, ...]}`, kind "points" or "curve". The rest
                is shown as tables. "lint", "range_test", "forecast" come first.
            content: Plain values, or what has a `to_dict()`, such as a
                `LearningRateCurve`, or rows, such as a report.
        """
        _folder.checked_name("name", _arguments.text("name", name))
        if self._recording is None:
            self._waiting[name] = _plain.plain(content)
        else:
            self._recording.add(name, content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._ended(error)

    def on_train_begin(self, logs: Any = None) -> None:
        # Of a `fit` that never told its end.
        self._ended(None)
        recording = Recording(self._directory, self.name, int(self.steps))
        watch = FitWatch(self.model, self._ended, self._sink)
        self._recording, self._watch = recording, watch
        self._epoch, self._batch, self._last = 0, 0, -1
        try:
            sections = self._sections(watch)
            recording.begin(sections, _model.config(self.model))
            self._loggers = _run_loggers.started(self._tools, recording.path, sections)
            for name, content in self._waiting.items():
                recording.add(name, content)
        except BaseException as error:
            self._ended(error)
            raise
        self._waiting = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._watch is None or self._recording is None:
            return
        # Again, because other callbacks may have made the training step anew.
        self._watch.hook()
        if self._last < 0:
            fit = self._recording.manifest["fit"] or {}
            self._recording.manifest["fit"] = {**fit, "first_epoch": epoch}
        self._epoch, self._started = epoch, time.monotonic()
        self._rate: dict[str, float] | None = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._batch = batch
        if self._rate is None:
            if self._watch is not None:
                # Another callback may have made the step anew as the epoch began.
                self._watch.hook()
            # Before the first step, when every callback has set what it sets.
            self._rate = _rate(self.model.optimizer)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._recording is None or self._recording.over:
            return
        self._last = epoch
        row = {"epoch": epoch, "seconds": round(time.monotonic() - self._started, 6)}
        row |= self._rate or {}
        row |= _steps.values(logs)
        self._recording.epoch(row)
        values = {name: float(v) for name, v in row.items() if name != "epoch"}
        for logger in self._loggers:
            logger.epoch(epoch, values)

    def on_train_end(self, logs: Any = None) -> None:
        planned = (self.params or {}).get("epochs") or 0
        done = self._last < 0 or self._last + 1 >= planned
        self._close("finished" if done else "stopped", None)

    def _ended(self, error: BaseException | None) -> None:
        """To be called when `fit` ends in another way than by its end."""
        by_hand = isinstance(error, KeyboardInterrupt)
        self._close("stopped" if by_hand else "failed", error or _Unknown(_UNKNOWN))

    def _close(self, state: str, error: BaseException | None) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
        if self._recording is not None and not self._recording.over:
            self._recording.end(state, error)
            loggers, self._loggers = self._loggers, []
            for logger in loggers:
                logger.end(state)

    def _sink(self, logs: dict[str, Any]) -> None:
        if self._recording is not None:
            self._recording.steps.note(self._epoch, self._batch, logs)

    def _sections(self, watch: FitWatch) -> dict[str, Any]:
        given, watch.arguments = watch.arguments, {}
        data = self.data
        if data is None and given:
            data = (given["x"], given["y"], given["sample_weight"])
        if not self._git:
            # Once: what was imported does not change with the files.
            self._git = [_surroundings.git()]
        model = self.model
        work: dict[str, Callable[[], Any]] = {
            "config": lambda: _plain.plain(self.config or {}),
            "fit": lambda: _fit_settings(given, self.params or {}),
            "optimizer": lambda: _model.optimizer(model.optimizer),
            "compile": lambda: _model.compiled(model),
            "model": lambda: _model.model(model),
            "callbacks": lambda: _model.callbacks(watch.callbacks or [self]),
            "data": lambda: _fingerprint.of_data(data),
            "seeds": lambda: _surroundings.seeds(model),
            "environment": _surroundings.environment,
            "git": lambda: self._git[0],
        }
        return {name: _described(name, tell) for name, tell in work.items()}


def _described(name: str, tell: Callable[[], Any]) -> Any:
    """What is not known of a run must not end it."""
    try:
        return tell()
    except Exception as error:
        warnings.warn(
            f"The record of the run goes without {name!r}, the training goes on: "
            f"{type(error).__name__}: {error}",
            stacklevel=4,
        )
        return None


class _Unknown(Exception):  # noqa: N818
    """Stands for an error that nobody told of."""


_UNKNOWN = "fit ended early, perhaps by Ctrl-C; a `with` block would tell"
_Unknown.__qualname__ = "unknown"


def _fit_settings(given: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    arrays = ("x", "y", "sample_weight", "validation_data")
    settings = {n: _plain.plain(v) for n, v in given.items() if n not in arrays}
    settings["validation_data"] = given.get("validation_data") is not None
    settings["epochs"] = params.get("epochs")
    settings["steps"] = params.get("steps")
    return settings


def _rate(optimizer: Any) -> dict[str, float]:
    try:
        rates = _rates.now(optimizer)
    except Exception:
        # A foreign optimizer may keep its rate in any way: then there is no column.
        return {}
    found = {"learning_rate": max(rates)} if rates else {}
    if len(rates) > 1:
        found |= {f"learning_rate_{i}": rate for i, rate in enumerate(rates, 1)}
    return found
