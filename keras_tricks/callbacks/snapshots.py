"""Snapshots: several models out of one training."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_tricks import _arguments, _state
from keras_tricks._errors import NoEffectWarning
from keras_tricks.callbacks import (
    _cycles,
    _snapshot_arguments,
    _snapshot_models,
    _together,
    _update_watch,
)
from keras_tricks.callbacks._snapshot_store import Files, Memory
from keras_tricks.callbacks._update_watch import UpdateWatch
from keras_tricks.schedules import _rates


class Snapshots(keras.callbacks.Callback):
    """Keeps the weights at the end of each cycle of the learning rate.

    When: an ensemble is wanted and several trainings are too dear.
    Typical: `CosineRestarts` with `t_mul=1` and the training divided into 3 to 6
        cycles; the last half of the snapshots is often enough.
    Costs: a copy of the weights in host memory, or a file, per snapshot. Nothing is
        read from the device between two snapshots but a counter, once an epoch.
    Beware: snapshots of one training are more alike than models from several; too
        short cycles give bad members.

    A snapshot holds all weights, the moments of `BatchNormalization` too, just after
    update number s, in the middle of an epoch if need be. Updates are counted from 1
    by `optimizer.iterations`: under gradient accumulation, or where loss scaling skips
    one, that is not the number of batches. If another optimizer takes over
    (`SwitchOptimizer`) the count goes on. The training itself is not changed: the
    optimizer keeps its state.

    At the end of an epoch the weights are taken after the validation. Callbacks that
    change them there (a rollback, `SwapEMAWeights(swap_on_epoch=True)`) come later in
    the list; with `use_ema`, those that stop the training come before.

    A `fit` that goes on with the model keeps the snapshots of the updates that the
    model has made, and forgets others; compiled anew, it counts on.

    Args:
        schedule: Schedule whose cycles count, or None for that of the optimizer, also
            inside `Warmup` and `Scaled`. `CosineRestarts`, `Cyclical`, Keras's
            `CosineDecayRestarts`, and any other with a method `cycle_ends(steps)`.
        at: "cycle_end", the default: after the last update of each cycle, and at the
            end of the training if that cuts a cycle short. Or a list of positive
            integers, the numbers of updates.
        every: Positive integer or None. Instead of `at`: after each so many updates.
        keep: Positive integer or None. The newest so many are kept, None keeps all.
        directory: Folder for `update-*.weights.h5` files, which `model.load_weights`
            reads, or None for memory. They hold no optimizer state, as Keras will warn
            when a compiled model reads one. `snapshots.json` there lists those of the
            training; other files are left over from an earlier one. A file is whole or
            not there, even if the process is killed. A training that `BackupAndRestore`
            resumes finds its snapshots again. Each training needs a folder of its own.
        backup_dir: Folder of the `keras.callbacks.BackupAndRestore` in the same `fit`,
            or None. Gives snapshots in memory, too, a place to outlive a kill. Not
            needed with `directory`.
        build: Function without arguments that returns a model of the same structure,
            or None. Only needed for subclassed models without a config.
        verbose: 0 or 1; 1 prints each snapshot.

    `updates` lists the numbers of the updates after which snapshots were taken. To use
    the files in another process, call `set_model(model)` first.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range or two contradict each other; at
            the start of `fit` if no schedule with cycles is found, a wanted update
            lies inside one call of a compiled `steps_per_execution`, two of these
            callbacks have one folder, or the index in it is damaged.

    Warns:
        NoEffectWarning: If a `fit` ends without any snapshot.
        UserWarning: If earlier snapshots are missing or of another training, perhaps,
            or the last weights are gone (`use_ema`).

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> schedule = kt.schedules.CosineRestarts(0.1, first_decay_steps=3, t_mul=1.0)
    >>> model.compile(keras.optimizers.SGD(schedule), "mse")
    >>> x = np.zeros((8, 1))
    >>> snapshots = kt.callbacks.Snapshots()
    >>> history = model.fit(
    ...     x, x, batch_size=2, epochs=2, verbose=0, callbacks=[snapshots]
    ... )
    >>> snapshots.updates
    [3, 6, 8]
    >>> len(snapshots.models())
    3

    Reference: Huang et al. 2017, Snapshot Ensembles, arXiv 1704.00109.
    """

    def __init__(
        self,
        schedule: Any = None,
        at: str | Sequence[int] = "cycle_end",
        every: int | None = None,
        keep: int | None = None,
        directory: Any = None,
        *,
        backup_dir: Any = None,
        build: Callable[[], Any] | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        self.schedule = _cycles.checked(schedule)
        self.at = _snapshot_arguments.updates(at)
        self.every = every
        by_cycles = isinstance(at, str) and every is None
        if every is not None:
            _arguments.positive_integer("every", every)
            if not isinstance(at, str):
                raise ValueError(
                    "`every` must be None where `at` lists the updates. Received: "
                    f"every={every!r}, at={at!r}"
                )
        if schedule is not None and not by_cycles:
            raise ValueError(
                "`schedule` must be None where `at` or `every` names the updates. "
                f"Received: schedule={schedule!r}"
            )
        self.keep = keep
        if keep is not None:
            _arguments.positive_integer("keep", keep)
        self.directory = _snapshot_arguments.folder("directory", directory)
        self.backup_dir = _snapshot_arguments.folder("backup_dir", backup_dir)
        if build is not None and not callable(build):
            raise TypeError(
                "`build` must be a function that returns a model, or None. Received: "
                f"build={build!r}"
            )
        self.build = build
        self.verbose = _arguments.one_of("verbose", verbose, (0, 1))
        self._by_cycles = by_cycles
        self._watch = UpdateWatch(_update_watch.wanted(schedule, at, every))
        self._store: Memory | Files = (
            Memory(backup_dir) if directory is None else Files(directory)
        )

    @property
    def updates(self) -> list[int]:
        """The updates after which the snapshots were taken, oldest first."""
        return self._store.updates

    def models(self) -> list[Any]:
        """Returns a new model, not compiled, for each snapshot, oldest first."""
        self._check_any()
        return [self._model_of(update) for update in self.updates]

    def ensemble(self, fusion: Any = "probabilities", weights: Any = None) -> Any:
        """Returns a `keras_tricks.ensembles.Ensemble` of all snapshots.

        Args:
            fusion: How it fuses the predictions, as there. Defaults to the mean of
                the probabilities, as in the paper.
            weights: List with a number for each of `updates`, or None for equal ones.
        """
        from keras_tricks.ensembles.ensemble import Ensemble

        return Ensemble(self.models(), fusion=fusion, weights=weights)

    def best(
        self,
        x: Any,
        y: Any = None,
        metric: str | Callable[[Any, Any], float] | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Returns a new model, not compiled, of the snapshot that does best on data.

        Args:
            x: Inputs, or a dataset, as `evaluate` takes them.
            y: Targets, or None for a dataset without `metric`.
            metric: Function of `y` and the predictions, greater is better, or one of
                "accuracy", "log_loss" and "squared_error", of which the lowest loss is
                best; None for the loss that the model was compiled with.
            batch_size: Positive integer or None, as in `evaluate`.
        """
        self._check_any()
        _snapshot_models.check_metric(self.model, y, metric)
        if batch_size is not None:
            _arguments.positive_integer("batch_size", batch_size)
        scores = {}
        with _state.borrowed(self.model):
            for update in self.updates:
                self._store.put(update, self.model)
                scores[update] = _snapshot_models.score(
                    self.model, x, y, metric, batch_size
                )
        # The newest of equals.
        return self._model_of(max(self.updates, key=lambda u: (scores[u], u)))

    def _model_of(self, update: int) -> Any:
        new = _snapshot_models.like(self.model, self.build)
        self._store.put(update, new)
        return new

    def _check_any(self) -> None:
        if self.model is None or not self.updates:
            raise ValueError(
                "Snapshots must have taken one before it can give models. Received: "
                "none so far; call `fit` with it, or `set_model(model)` for those of "
                "an earlier process in `directory`"
            )

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self._store.open(self.model)

    def on_train_begin(self, logs: Any = None) -> None:
        for other in _together.join(self):
            if isinstance(other, Snapshots):
                self._store.check_apart(other._store)
        self._watch.begin(self.model)
        self._first_epoch, self._ended = True, False
        self._epoch, self._start = 0, self._watch.updates

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        if self._first_epoch:
            self._first_epoch = False
            self._resume(epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        # Not `on_train_batch_end`, which slows down all steps on JAX.
        optimizer = self._watch.optimizer
        if self._watch.at_batch_begin(batch, self.params):
            self._take()
        index = self._store.index
        if self._watch.optimizer is not optimizer and index is not None:
            index.changes.append((self._epoch, self._watch.before))
            index.save()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._watch.at_epoch_end():
            self._take()
        last = epoch + 1 == (self.params or {}).get("epochs")
        if self.model.stop_training or last:
            # Now, before averages or the best weights come into the model.
            self._end()

    def before_average(self) -> None:
        """Called by another callback that is going to change the weights."""
        self._end(ended=True)

    def on_train_end(self, logs: Any = None) -> None:
        self._end(ended=True)
        if not self.updates:
            wanted = f"every={self.every}" if self.every else f"at={self.at!r}"
            warnings.warn(
                f"Snapshots has no effect: {wanted} asks for no update of this "
                f"training, which ended after update {self._watch.updates}",
                NoEffectWarning,
                stacklevel=2,
            )

    def _resume(self, epoch: int) -> None:
        """Keeps what belongs to the updates that the model has made."""
        watch, index, known = self._watch, self._store.index, None
        if index is not None:
            known = index.resume(epoch, watch.updates_of_this, watch.fresh)
        watch.start(epoch, known)
        if index is not None and not watch.fresh and epoch == 0:
            # Another `fit`, which counts its epochs anew.
            index.changes = [(0, watch.before)] if watch.before else []
        update = self._start = watch.updates
        self._store.resume(self.model, update)
        if index is None and watch.fresh and epoch > 0 and watch.has_missed():
            warnings.warn(
                f"Snapshots starts afresh at epoch {epoch}: it holds none from before. "
                "Give it the `backup_dir` of BackupAndRestore, or `directory`",
                stacklevel=3,
            )
        # Killed after the backup, and before the snapshot of the same moment.
        if watch.is_due():
            self._take()

    def _take(self, *, ended: bool = False) -> None:
        update = self._watch.updates
        if update in self.updates:
            return
        self._store.take(self.model, update, ended=ended)
        if self.keep is not None:
            self._store.forget(self.updates[: -self.keep], ended=ended)
        if self.verbose:
            print(f"Snapshot after update {update}.")

    def _end(self, *, ended: bool = False) -> None:
        """Takes the end of a cycle that the training cuts short."""
        if self._ended:
            return
        self._ended = True
        update = self._watch.updates
        if not self._by_cycles or update <= self._start or update in self.updates:
            return
        groups = _rates.groups(self.model.optimizer)
        if ended and any(getattr(group, "use_ema", False) for group in groups):
            # Keras has put the averages into the model.
            warnings.warn(
                f"Snapshots leaves out the last weights, after update {update}: the "
                "training was stopped after its turn, and `use_ema` has replaced them. "
                "Put the stopping callback before Snapshots",
                stacklevel=3,
            )
            return
        self._take(ended=ended)
