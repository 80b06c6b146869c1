"""What a run takes: the one-off cost apart from the cost of a step."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

# A machine is never quieter than this, nor a forecast surer.
_LEAST_SPREAD = 0.05
# Compilation varies more than steps do.
_ONE_OFF_SPREAD = 0.25
# Standard deviations that an 80 % interval of a normal distribution reaches.
_REACH = 1.2816


class Run(NamedTuple):
    """One pilot run: how many rows, what it took, and what it reached.

    `first` has the seconds of the first call of the step in each epoch, `compiled`
    whether the model was compiled for this run.
    """

    rows: int
    seconds: float
    epochs: list[float]
    first: list[float]
    evaluation: float
    compiled: bool
    metrics: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, which knows no NaN: None for a metric that is not finite."""
        finite = {n: v if np.isfinite(v) else None for n, v in self.metrics.items()}
        return {**self._asdict(), "metrics": finite}


class Clock(keras.callbacks.Callback):
    """The seconds of each epoch, and of the first call of the step in it."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.epochs: list[float] = []
        self.first: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start = time.perf_counter()
        self._batches = 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._batches += 1
        if self._batches == 2:
            self.first.append(time.perf_counter() - self._start)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(time.perf_counter() - self._start)
        if self._batches == 1:
            self.first.append(self.epochs[-1])


class Times(NamedTuple):
    """Seconds of a full run, and what they are made of."""

    low: float
    seconds: float
    high: float
    one_off: float
    step: float
    per_epoch: float


def forecast(
    runs: Sequence[Run],
    rows: int,
    *,
    epochs: int,
    batch_size: int,
    validates: bool,
) -> Times:
    """The seconds of one run over all rows.

    Epochs take some seconds each and some per step; two sizes tell the two apart. The
    first epoch of a run, in which steps are compiled, is left out where there are more.
    """
    sizes = sorted({run.rows for run in runs})
    groups = [[run for run in runs if run.rows == size] for size in sizes]
    steps = [_steps(size, batch_size) for size in sizes]
    epoch = [float(np.median(_usual_epochs(group))) for group in groups]
    step = epoch[-1] / steps[-1]
    if steps[-1] > steps[0]:
        slope = (epoch[-1] - epoch[0]) / (steps[-1] - steps[0])
        # Between half and all of the time is in the steps.
        step = float(np.clip(slope, 0.5 * step, step))
    per_epoch = max(epoch[-1] - step * steps[-1], 0.0)
    # The run that first has batches of both sizes, whole and last, pays as much as the
    # full one will.
    over = [run.seconds - epochs * epoch[sizes.index(run.rows)] for run in runs]
    one_off = max(*over, 0.0)
    main = epochs * (per_epoch + step * _steps(rows, batch_size))
    if validates:
        taken = [run.evaluation for run in runs]
        evaluation = float(np.median(taken))
        one_off += max(taken) - evaluation
        main += epochs * evaluation
    seen = np.concatenate(
        [_usual_epochs(g) / m for g, m in zip(groups, epoch, strict=True) if m > 0]
    )
    # Of the middle of all epochs, made robust against single slow ones.
    spread = 1.4826 * float(np.median(np.abs(seen - 1.0)))
    error = _REACH * np.hypot(
        max(spread, _LEAST_SPREAD) * main, _ONE_OFF_SPREAD * one_off
    )
    total = main + one_off
    return Times(
        max(total - error, 0.0), total, total + error, one_off, step, per_epoch
    )


def _steps(rows: int, batch_size: int) -> int:
    return -(-rows // batch_size)


def _usual_epochs(group: Sequence[Run]) -> Any:
    """Seconds of epochs in which nothing was compiled."""
    later = [seconds for run in group for seconds in run.epochs[1:]]
    if later:
        return np.array(later)
    found = []
    for run in group:
        for seconds, first in zip(run.epochs, run.first, strict=True):
            rest = seconds - first
            # One call of the step is missing in the rest.
            found.append(rest if run.compiled and rest > 0 else seconds)
    return np.array(found)
