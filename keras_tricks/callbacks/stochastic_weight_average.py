"""Stochastic weight averaging: the mean of the weights along the end of a training."""

import warnings
from typing import Any

import numpy as np

from keras_tricks import _arguments, _state
from keras_tricks._errors import NoEffectWarning
from keras_tricks.callbacks import (
    _cycles,
    _running_mean,
    _together,
    _update_watch,
    _validation_guard,
    _weight_swap,
)
from keras_tricks.callbacks._resumable import Resumable
from keras_tricks.callbacks._running_mean import RunningMean
from keras_tricks.callbacks._update_watch import UpdateWatch
from keras_tricks.callbacks._weight_swap import WeightSwap
from keras_tricks.ensembles import _moments
from keras_tricks.schedules import _rates


class StochasticWeightAverage(Resumable):
    """Averages the weights of the last epochs, and ends with the average.

    When: at the end of a long training, for a flatter minimum: often better on unseen
        data than the last weights, at no cost in prediction.
    Typical: the last 25 % of the epochs, with a constant rate that is high for that
        time (half of the first one or more), or a cyclical one (`at="cycle_end"`).
    Costs: a copy of the weights in float64 in host memory, and one more while they are
        swapped for a validation; `recalibrate` costs a pass over its data per
        validation with a new average, and one at the end.
    Beware: with a rate that has decayed to zero the weights no longer move, and
        neither does their average. Put it before callbacks that act on the validation
        (`HalveOnPlateau`) or at the end of the training. Checkpoints made at the end
        of an epoch hold the raw weights. Not together with `use_ema`.

    The average of n weights w becomes (n average + w) / (n + 1). The validation inside
    `fit` sees the averaged weights, as soon as there are some; the raw ones are back
    after it, bit for bit, also if it fails. The optimizer goes on from the raw weights,
    which all other callbacks see too. After a `fit` that ends, the model holds the
    average; after one that fails, the raw weights.

    Trainable weights are averaged. For the moments of `BatchNormalization` an average
    is only a stand-in: give `recalibrate`, which recomputes them exactly (see
    `keras_tricks.ensembles.recalibrate`).

    Args:
        start_epoch: Integer, the first epoch whose weights count, from 0 as Keras's
            callbacks count.
        every: Positive integer, epochs (or cycles) from one average to the next.
            Defaults to 1.
        recalibrate: Training data for the moments of `BatchNormalization`: array,
            tuple (x, y), or any dataset that `predict` takes and that can be read more
            than once; a batch is read at the start, as a test. None leaves the mean of
            the moments.
        at: "epoch_end", or "cycle_end" for the weights after the last update of each
            whole cycle of the learning rate from `start_epoch` on, in the middle of an
            epoch if need be (fast geometric ensembling's moments, averaged).
        schedule: Schedule whose cycles count, with `at="cycle_end"`. None, the
            default, stands for that of the optimizer.
        restore: Boolean, whether the model gets the average at the end. Defaults to
            True. With False it keeps the raw weights; `averaged_weights` has the
            others.
        verbose: 0 or 1; 1 prints each average.
        backup_dir: Folder of the `keras.callbacks.BackupAndRestore` in the same `fit`,
            or None. With it a training that was killed and is resumed has the average
            of one that was not. Put this callback before that one.

    `averages` is the number of weights averaged so far.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range or two contradict each other; at
            the start of `fit` if no schedule with cycles is found, two of these
            callbacks are in it, the optimizer has `use_ema`, or `recalibrate` cannot be
            read (one batch is) or does not suit; later if it gives moments that are not
            finite; on resuming if the state in `backup_dir` is damaged.

    Warns:
        NoEffectWarning: If a `fit` ends without any average, or the model has no
            `BatchNormalization` to recalibrate, or one that only training uses.
        UserWarning: If the model has `BatchNormalization` and `recalibrate` is None.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.1), "mse")
    >>> x = np.ones((4, 1))
    >>> swa = kt.callbacks.StochasticWeightAverage(start_epoch=2)
    >>> history = model.fit(x, 3 * x, epochs=5, verbose=0, callbacks=[swa])
    >>> swa.averages
    3

    Reference: Izmailov et al. 2018, arXiv 1803.05407; Garipov et al. 2018,
    arXiv 1802.10026, for the cycles.
    """

    def __init__(
        self,
        start_epoch: int,
        every: int = 1,
        recalibrate: Any = None,
        *,
        at: str = "epoch_end",
        schedule: Any = None,
        restore: bool = True,
        verbose: int = 0,
        backup_dir: str | None = None,
    ) -> None:
        self.start_epoch = _arguments.integer("start_epoch", start_epoch, 0, 2**31)
        self.every = _arguments.positive_integer("every", every)
        name = f"stochastic_weight_average.{start_epoch}.{every}.json"
        super().__init__(backup_dir, name)
        self.recalibrate = _weight_swap.checked_data(recalibrate)
        self.at = _arguments.one_of("at", at, ("epoch_end", "cycle_end"))
        self.schedule = _cycles.checked(schedule)
        if schedule is not None and at != "cycle_end":
            raise ValueError(
                "`schedule` must be None unless at='cycle_end'. Received: "
                f"schedule={schedule!r}, at={at!r}"
            )
        self.restore = _arguments.one_of("restore", restore, (True, False))
        self.verbose = _arguments.one_of("verbose", verbose, (0, 1))
        self._watch = UpdateWatch(_update_watch.wanted(schedule, at, None))
        self._mean = RunningMean()
        self._swap: WeightSwap | None = None
        self._pending = False

    @property
    def lint_traits(self) -> dict[str, bool]:
        """What `keras_tricks.lint` has to know."""
        refreshes = self.recalibrate is not None
        return {"averages_weights": True, "refreshes_batch_norm": refreshes}

    @property
    def averages(self) -> int:
        """How many weights were averaged."""
        return self._mean.count

    @property
    def swapped(self) -> bool:
        """Whether the model holds the average just now, for a validation."""
        return self._swap is not None and self._swap.swapped

    @property
    def averaged_weights(self) -> list[np.ndarray]:
        """The average, as `model.set_weights` takes it, but not recalibrated."""
        if not self.averages:
            raise ValueError(
                "StochasticWeightAverage must have averaged before it has weights. "
                "Received: no average so far"
            )
        pairs = zip(self._averaged(), self._mean.arrays, strict=True)
        means = {id(variable): mean for variable, mean in pairs}
        return [
            means.get(id(variable), value).astype(value.dtype)
            for variable, value in _state.copy_variables(self.model.weights)
        ]

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        # An earlier `fit` may have failed.
        self._pending, self._swap = False, None
        _validation_guard.take(self.model)

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        self._check_alone(_together.join(self))
        self._mean, self._seen, self._epoch = RunningMean(), 0, 0
        self._checked = False
        self._known: tuple[int, bool] | None = None
        self._swap = WeightSwap(self.recalibrate)
        if self.at == "cycle_end":
            self._watch.begin(self.model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        first = self._first_epoch
        super().on_epoch_begin(epoch, logs)
        if first and self.at == "cycle_end":
            self._watch.start(epoch, self._known)
        if first and self.model.built:
            self._check_data()
        self._epoch, self._pending = epoch, True

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        # Not `on_train_batch_end`, which slows down all steps on JAX.
        if self.at == "cycle_end" and self._watch.at_batch_begin(batch, self.params):
            self._offer()
        if batch == 0 and self._epoch >= self.start_epoch:
            _validation_guard.put(self.model, self, self._swap_back)

    def on_test_begin(self, logs: Any = None) -> None:
        # The validation inside `fit`; the epoch is over, but `on_epoch_end` comes late.
        if self._pending:
            self._settle()
            if self.averages and self._swap is not None:
                self._swap.begin(self._averaged(), self._mean, self.model)

    def on_test_end(self, logs: Any = None) -> None:
        self._swap_back()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._settle()
        _validation_guard.take(self.model)

    def on_train_end(self, logs: Any = None) -> None:
        self._pending = False
        if not self.averages:
            what = "no cycle" if self.at == "cycle_end" else "no epoch that counts"
            warnings.warn(
                f"StochasticWeightAverage has no effect: {what} ended from epoch "
                f"{self.start_epoch} on; `fit` ended in epoch {self._epoch}",
                NoEffectWarning,
                stacklevel=2,
            )
        elif self.restore and self._swap is not None:
            for other in _together.others(self):
                if hasattr(other, "before_average"):
                    other.before_average()
            self._swap.begin(self._averaged(), self._mean, self.model)
        # No compiled function is kept alive, and nothing is swapped back.
        self._swap = None

    def state(self) -> dict[str, Any]:
        watch, by_cycles = self._watch, self.at == "cycle_end"
        return {
            "averages": self.averages,
            "seen": self._seen,
            "updates": watch.updates if by_cycles else 0,
            "updates_before": watch.before,
            "taken_over": watch.taken_over,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        count, self._seen, updates, before = (
            _arguments.integer(name, state[name], 0, 2**62)
            for name in ("averages", "seen", "updates", "updates_before")
        )
        if self.at == "cycle_end":
            self._known = before, bool(state["taken_over"])
            if before + self._watch.updates_of_this < updates:
                # A backup from inside the epoch in which another one took over.
                self._known = updates, True
        self._mean.load(self.path(), count, self._averaged())

    def remember(self, epoch: int) -> None:
        """Saves the average, and then the state that refers to it."""
        if self.backup_dir is None:
            return
        self._mean.save(self.path())
        super().remember(epoch)
        counts = {int(state["averages"]) for state in self.kept_states()}
        _running_mean.remove_all_but(self.path(), counts)

    def _settle(self) -> None:
        """Learns from an epoch once, at the first hook after its last batch."""
        if not self._pending:
            return
        self._pending = False
        if not self._checked:
            # TensorFlow builds a subclassed model with the first batch.
            self._check_data()
        if self.at == "epoch_end" or self._watch.at_epoch_end():
            self._offer()
        self.remember(self._epoch)

    def _offer(self) -> None:
        """Averages the weights of now, unless it is too early or not their turn."""
        if self._epoch < self.start_epoch:
            return
        turn, self._seen = self._seen % self.every == 0, self._seen + 1
        if turn:
            copies = _state.copy_variables(self._averaged())
            self._mean.add([value for _, value in copies])
            if self.verbose:
                print(f"Epoch {self._epoch + 1}: averaged {self.averages} weights.")

    def _averaged(self) -> list[Any]:
        """The variables that have a mean: of all others the newest value is right."""
        layers = _moments.layers_of(self.model)
        moments = [v for layer in layers for v in layer.non_trainable_variables]
        return [*self.model.trainable_variables, *moments]

    def _swap_back(self) -> None:
        if self._swap is not None:
            self._swap.end()

    def _check_alone(self, others: list[Any]) -> None:
        if any(isinstance(other, StochasticWeightAverage) for other in others):
            raise ValueError(
                "StochasticWeightAverage must be alone: a model holds one average at a "
                "time. Received: two of them in one `fit`"
            )
        groups = _rates.groups(self.model.optimizer)
        if any(getattr(group, "use_ema", False) for group in groups):
            raise ValueError(
                "StochasticWeightAverage must be the only average, but the optimizer "
                "puts its own into the model at the end. Received: use_ema=True; "
                "compile with an optimizer without it"
            )

    def _check_data(self) -> None:
        self._checked = True
        if self._swap is not None:
            self._swap.check(self.model)
