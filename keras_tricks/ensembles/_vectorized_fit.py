"""The `fit` of a vectorized ensemble."""

from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments
from keras_tricks.ensembles import (
    _vectorized_callbacks,
    _vectorized_data,
    _vectorized_memory,
    _vectorized_rows,
)
from keras_tricks.ensembles._vectorized_core import Core, host
from keras_tricks.ensembles._vectorized_stopping import MemberStopping
from keras_tricks.ensembles._vectorized_training import MemberRates, Training


class Plan:
    """Takes the arguments of `fit`, checks them all, and only then trains."""

    def __init__(
        self,
        ensemble: Any,
        core: Core,
        given: Any,
        *,
        batch_size: Any,
        epochs: tuple[int, int],
        shuffle: Any,
        validation_freq: Any,
    ) -> None:
        self._ensemble, self._core, self._given = ensemble, core, given
        size = 32 if batch_size is None else batch_size
        self._batch_size = _arguments.positive_integer("batch_size", size)
        self._epochs, self._shuffle = epochs, bool(shuffle)
        self._validation_freq = validation_freq
        self._validation: Any = None
        self._stopping: MemberStopping | None = None

    def refuse(self, **given: Any) -> None:
        """Refuses what has no meaning where every member has its own rows."""
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"`{name}` must be None: an epoch is all rows of a member. "
                    f"Received: {name}={value!r}; give `rows`"
                )

    def take_data(self, x: Any, y: Any, weight: Any, classes: Any, rows: Any) -> None:
        """Puts the data on the device; every member's rows are checked."""
        self._data = self._held_out = _vectorized_data.on_device(x, y, weight)
        if classes is not None:
            # For the training alone, as in Keras.
            own = _vectorized_data.class_weights(classes, y)
            own = own if weight is None else own * np.asarray(weight)
            self._data = (*self._data[:2], _vectorized_data.inputs_on_device(own))
        self._samples = _vectorized_data.samples(self._data)
        members = self._core.members
        self._rows = _vectorized_rows.checked("rows", rows, members, self._samples)
        self._all_rows = rows is None

    def take_validation(
        self, data: Any, rows: Any, split: float, batch_size: Any
    ) -> None:
        """Whose rows are evaluated after an epoch."""
        if batch_size is not None:
            _arguments.positive_integer("validation_batch_size", batch_size)
        given = [data is not None, rows is not None, bool(split)]
        if sum(given) > 1 or (split and not self._all_rows):
            raise ValueError(
                "`validation_data`, `validation_rows` and `validation_split` cannot be "
                "given together, nor the last one with `rows`. Received: more than one"
            )
        members = self._core.members
        if split:
            _arguments.within(
                "validation_split", split, 0, 1, open_low=True, open_high=True
            )
            first = int(np.floor(self._samples * (1.0 - split)))
            rows = [np.arange(first, self._samples)] * members
            self._rows = [np.arange(first, dtype="int32")] * members
        source, samples = self._held_out, self._samples
        if data is not None:
            if not isinstance(data, list | tuple) or len(data) not in (2, 3):
                raise TypeError(
                    "`validation_data` must be a tuple (x, y) or (x, y, sample_weight) "
                    f"of arrays. Received: a {type(data).__name__}; data sets and "
                    "generators have no rows that a member could be given"
                )
            x, y, *weight = data
            source = _vectorized_data.on_device(x, y, weight[0] if weight else None)
            samples = _vectorized_data.samples(source)
        elif rows is None:
            return
        name = "validation_rows"
        rows = _vectorized_rows.checked(name, rows, members, samples)
        self._validation = (rows, source, batch_size)

    def take_callbacks(self, callbacks: Any, verbose: Any, stopping: Any) -> None:
        """Who hears of the training."""
        if stopping is not None:
            self._stopping = MemberStopping(
                stopping, self._core.members, self._core.metrics(self._data)
            )
            monitor = self._stopping.monitor
            if monitor.startswith("val_") and self._validation is None:
                raise ValueError(
                    "`early_stopping` must watch a value that there is. Received: "
                    f"monitor={monitor!r}, and nothing to validate on; give "
                    "`validation_rows` or `validation_data`"
                )
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            longest = max(len(rows) for rows in self._rows)
            callbacks = keras.callbacks.CallbackList(
                callbacks,
                add_history=True,
                add_progbar=verbose != 0,
                verbose=1 if verbose == "auto" else verbose,
                epochs=self._epochs[1],
                steps=-(-longest // self._batch_size),
                model=self._ensemble,
            )
        self._callbacks = callbacks
        self._watched = _vectorized_callbacks.watches_epochs(callbacks)

    def run(self) -> Any:
        """Trains."""
        ensemble, core, callbacks = self._ensemble, self._core, self._callbacks
        training = self._training()
        rates = MemberRates(
            self._given.learning_rates,
            self._given.weight_decays,
            core.members,
            core.rate,
        )
        hooks = None
        if _vectorized_callbacks.watches_batches(callbacks):
            hooks = _vectorized_callbacks.Hooks(
                callbacks,
                lambda: core.store(training.whole()),
                lambda: training.load(core.load()),
                lambda: rates.now(ensemble.optimizer),
                lambda: ensemble.stop_training,
            )
        ensemble.stop_training, ensemble.best_epochs = False, None
        core.logged = {}
        logs: dict[str, float] = {}
        callbacks.on_train_begin()
        training.load(core.load())
        stored = True
        try:
            for epoch in range(*self._epochs):
                callbacks.on_epoch_begin(epoch)
                if self._watched:
                    training.load(core.load())
                left = self._epochs[1] - 1 - epoch
                stored = False
                active = np.array(self._active())
                now = rates.now(ensemble.optimizer)
                found = training.epoch(core.epochs, left, active, now, hooks)
                core.epochs += 1
                # Of a member at rest there is no value, and none in the mean.
                logs = _means(found, active)
                found = {k: np.where(active, v, np.nan) for k, v in found.items()}
                ensemble.strategy_report = training.report
                if self._watched or self._validation or self._stopping:
                    core.store(training.whole())
                    stored = True
                    ensemble.optimizer.iterations.assign(core.steps)
                if self._validation is not None and self._validates(epoch):
                    held_out = self._validated()
                    found.update(held_out)
                    logs.update(_means(held_out))
                ensemble.member_logs = found
                if self._stopping is not None:
                    self._observe(epoch, found)
                callbacks.on_epoch_end(epoch, logs)
                history = ensemble.history.history
                for name, value in found.items():
                    history.setdefault(f"member_{name}", []).append(value)
                    core.logged.setdefault(name, []).append(epoch)
                if ensemble.stop_training:
                    break
        finally:
            if not stored:
                core.store(training.whole())
                ensemble.optimizer.iterations.assign(core.steps)
        if self._stopping is not None:
            self._restore()
        callbacks.on_train_end(logs=logs)
        return ensemble.history

    def _training(self) -> Training:
        core = self._core
        size = _vectorized_memory.members_per_chunk(
            self._ensemble.members_per_chunk,
            core.members,
            [*core.variables, *core.slots],
            core.outputs_kept(self._data),
            max(len(rows) for rows in self._rows),
        )
        return Training(
            core.template.model,
            core.optimizer,
            core.metrics(self._data),
            self._rows,
            core.seeds,
            self._batch_size,
            self._shuffle,
            self._ensemble.strategy,
            [
                slice(start, min(start + size, core.members))
                for start in range(0, core.members, size)
            ],
            self._data,
        )

    def _active(self) -> Any:
        if self._stopping is None:
            return np.ones(self._core.members, bool)
        return self._stopping.active

    def _validates(self, epoch: int) -> bool:
        every = self._validation_freq
        return (
            (epoch + 1) % every == 0 if isinstance(every, int) else epoch + 1 in every
        )

    def _validated(self) -> dict[str, Any]:
        self._callbacks.on_test_begin()
        found = self._core.evaluate(*self._validation)
        logs = {name: float(np.mean(value)) for name, value in found.items()}
        self._callbacks.on_test_end(logs)
        return {f"val_{name}": value for name, value in found.items()}

    def _observe(self, epoch: int, found: Any) -> None:
        stopping = self._stopping
        assert stopping is not None
        if stopping.monitor not in found:
            if stopping.monitor.startswith("val_") and not self._validates(epoch):
                return
            raise ValueError(
                "`early_stopping` must watch a value that there is. Received: monitor="
                f"{stopping.monitor!r}, and there are {', '.join(found)}; correct it"
            )
        weights = [host(v.value) for v in self._core.variables]
        stopping.observe(epoch, found[stopping.monitor], weights)
        if not stopping.active.any():
            self._ensemble.stop_training = True

    def _restore(self) -> None:
        assert self._stopping is not None
        variables = self._core.variables
        weights = self._stopping.restored([host(v.value) for v in variables])
        if weights is not None:
            for variable, weight in zip(variables, weights, strict=True):
                variable.assign(weight)
        self._ensemble.best_epochs = self._stopping.best_epochs
        self._ensemble.stopped_epochs = self._stopping.stopped_epochs


def _means(found: Any, which: Any = slice(None)) -> dict[str, float]:
    return {name: float(np.mean(value[which])) for name, value in found.items()}
