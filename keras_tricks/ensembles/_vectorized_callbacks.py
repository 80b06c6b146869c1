"""Keras's callbacks around a training whose steps run many at a time."""

from typing import Any

import keras

_BATCH_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin")
_QUIET = (keras.callbacks.ProgbarLogger, keras.callbacks.History)
_SAVING = (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore)


def watches_batches(callbacks: Any) -> bool:
    """Whether a callback wants to hear of every batch: then steps run one by one."""
    return any(
        _overridden(callback, name)
        for callback in _each(callbacks)
        if not isinstance(callback, _QUIET) and not _saves_by_epoch(callback)
        for name in (*_BATCH_HOOKS, "on_batch_end")
    )


def watches_epochs(callbacks: Any) -> bool:
    """Whether a callback may read or change the model between the epochs."""
    return any(not isinstance(callback, _QUIET) for callback in _each(callbacks))


class Hooks:
    """Calls the batch hooks of callbacks around steps that run one by one."""

    def __init__(
        self, callbacks: Any, store: Any, load: Any, rates: Any, stopped: Any
    ) -> None:
        self._callbacks, self._stopped = callbacks, stopped
        self._store, self._load, self._rates = store, load, rates
        self.step = 0

    def begin(self) -> Any:
        """The rates and the decays for the step, or None if it may not run."""
        if self._stopped():
            return None
        self._callbacks.on_train_batch_begin(self.step)
        # What a callback has done to the weights and to the rate.
        self._load()
        return self._rates()

    def end(self, logs: dict[str, float]) -> None:
        """Shows the model as it is after the step, and the means so far."""
        self._store()
        self._callbacks.on_train_batch_end(self.step, logs)
        self._load()
        self.step += 1


def _each(callbacks: Any) -> Any:
    return callbacks.callbacks


def _saves_by_epoch(callback: Any) -> bool:
    """Whether a batch hook is there but does nothing."""
    return type(callback) in _SAVING and callback.save_freq == "epoch"


def _overridden(callback: Any, name: str) -> bool:
    own = getattr(callback, name)
    function = getattr(own, "__func__", own)
    return function is not getattr(keras.callbacks.Callback, name)
