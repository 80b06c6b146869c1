"""The training of a range test: one compiled step whose rate grows."""

import time
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks import _backend, _state
from keras_tricks.probes import _suggestion
from keras_tricks.schedules import _rates

# Records are read this many steps late, when the device has long finished them:
# waiting for the newest one would stop the device at every look.
_LAG = 32
# Epochs of `fit`; the run ends itself.
_MANY = 1_000_000_000


class Geometric(LearningRateSchedule):
    """The rates of the test, looked up: exact where a power in float32 is not."""

    def __init__(self, learning_rates: np.ndarray, updates_every: int) -> None:
        self.updates_every = updates_every
        # PyTorch evaluates the schedule at every step: a list would be slow to convert.
        self._table = learning_rates.astype("float32")

    def __call__(self, step: Any) -> Any:
        table = ops.convert_to_tensor(self._table)
        update = ops.convert_to_tensor(step)
        if self.updates_every > 1:
            update = update // self.updates_every
        return ops.take(table, update)


class RangeRun:
    """Changes a borrowed model into the test; each call is one run of it.

    Each step leaves a record on the device: its batch's loss, and the number of
    updates made before. Batches with the same number saw the same weights (gradients
    are being accumulated, or loss scaling skipped the update): one point of the curve.
    """

    def __init__(
        self,
        model: Any,
        learning_rates: np.ndarray,
        smoothing: float,
        stop_at: float,
        *,
        verbose: bool,
    ) -> None:
        inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        updates_every = inner.gradient_accumulation_steps or 1
        model.optimizer = _rates.with_schedule(
            model.optimizer,
            Geometric(learning_rates, updates_every),
            model.trainable_variables,
        )
        model.steps_per_execution = 1
        model.train_step = _backend.batch_step(model, _only_loss)
        model.make_train_function(force=True)
        model.train_function = _backend.tap(model.train_function, self._after_step)
        self.model = model
        self.learning_rates = learning_rates
        self.points = len(learning_rates)
        self.planned_steps = self.points * updates_every
        self.smoothing = smoothing
        self.stop_at = stop_at
        self.verbose = verbose
        self.seconds = self.first_step_seconds = 0.0
        self.ended = ""

    def __call__(self, data: dict[str, Any], seed: int | None) -> np.ndarray:
        """The loss at each rate, as far as the run came."""
        self.steps = 0
        self.waiting: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.batches: list[int] = []
        self.updates = -1
        self.checked = 0
        self.end: int | None = None
        self.diverged = False
        self.ended = "the data ended"
        self.progress = keras.utils.Progbar(
            self.planned_steps, verbose=int(self.verbose), stateful_metrics=_SHOWN
        )
        self.started = time.perf_counter()
        with warnings.catch_warnings():
            # The curve says both in its own words.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            warnings.filterwarnings("ignore", ".*not have any trainable weights")
            # TensorFlow takes the order of the data from the seed before `fit`, the
            # others when the epoch begins.
            if seed is not None:
                _state.seed(seed)
            self.model.fit(
                **data,
                epochs=_MANY,
                verbose=0,
                callbacks=[_Epochs(self, seed, once=hasattr(data["x"], "__next__"))],
            )
        self._look(0)
        self.progress.update(min(self.steps, self.planned_steps), finalize=True)
        self.seconds += time.perf_counter() - self.started
        return np.array(self.losses[: self.points])[: self.end]

    def _after_step(self, record: dict[str, Any]) -> None:
        self.waiting.append(record)
        self.steps += 1
        if self.steps == 1 and not self.first_step_seconds:
            self._look(0)
            self.first_step_seconds = time.perf_counter() - self.started
        elif len(self.waiting) == 2 * _LAG:
            self._look(_LAG)
        if self.steps >= self.planned_steps:
            self._look(0)
            if self.end is None and len(self.losses) >= self.points:
                self._stop(self.points, "the highest rate was reached")
            # Skipped updates are made up for, but not for ever.
            if self.steps >= 2 * self.planned_steps:
                self.model.stop_training = True
        if self.end is not None:
            self.model.stop_training = True

    def _look(self, lag: int) -> None:
        """Reads all records but the last `lag`, and decides whether to go on."""
        ready = self.waiting[: len(self.waiting) - lag]
        self.waiting = self.waiting[len(ready) :]
        for record in ready:
            loss, updates = (
                ops.convert_to_numpy(record[name]).item() for name in _RECORD
            )
            # Without trainable weights no step is an update: each batch counts.
            if updates == self.updates and self.model.trainable_variables:
                self.batches[-1] += 1
                self.losses[-1] += (loss - self.losses[-1]) / self.batches[-1]
            else:
                self.batches.append(1)
                self.losses.append(loss)
            self.updates = updates
        losses = np.array(self.losses[: self.points])
        smoothed = _suggestion.smooth(losses, self.smoothing)
        while self.end is None and self.checked < len(losses):
            self.checked += 1
            seen = slice(self.checked)
            if not np.isfinite(losses[seen][-1]):
                self.diverged = True
                self._stop(self.checked - 1, "the loss was no longer finite")
            elif _suggestion.should_stop(losses[seen], smoothed[seen], self.stop_at):
                why = f"the smoothed loss rose above {self.stop_at:g} x its best"
                self._stop(self.checked, why)
        if len(losses) and self.steps < self.planned_steps:
            rate = self.learning_rates[len(losses) - 1]
            values = [("loss", smoothed[-1]), ("learning_rate", rate)]
            self.progress.update(self.steps, values)

    def _stop(self, end: int, why: str) -> None:
        self.end, self.ended = end, why


_RECORD = ("loss", "iterations")
_SHOWN = ("loss", "learning_rate")


def _only_loss(logs: Any) -> dict[str, Any]:
    if not isinstance(logs, dict) or "loss" not in logs:
        found = sorted(logs) if isinstance(logs, dict) else type(logs).__name__
        raise ValueError(
            "`model.train_step` must return a dict of logs with the key 'loss'. "
            f"Received: {found}; add the loss to what your train_step returns"
        )
    return {"loss": logs["loss"]}


class _Epochs(keras.callbacks.Callback):
    """Seeds the first epoch, and ends `fit` when there is no other.

    Keras would feed the first batch of a generator over and over.
    """

    def __init__(self, run: RangeRun, seed: int | None, *, once: bool) -> None:
        super().__init__()
        self.run = run
        self.seed = seed
        self.once = once

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.before = self.run.steps
        if self.before == 0 and self.seed is not None:
            _state.seed(self.seed)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.once or self.run.steps == self.before:
            self.model.stop_training = True
