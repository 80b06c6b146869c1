"""The memory of a callback that survives a kill."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from keras_tricks import _atomic

# Keras's backup may be one epoch behind (killed between two callbacks) or two
# (`double_checkpoint` after a damaged file).
_EPOCHS_KEPT = 4
_LARGEST_FILE = 16 * 2**20


class Resumable(keras.callbacks.Callback):
    """Base of callbacks with a state: saved beside Keras's backup, and taken up again.

    The file holds the state at the start of each of the last epochs. Which of them is
    right is known only when the resumed `fit` begins its first epoch, with the number
    that `BackupAndRestore` gave it; so the order of the callbacks does not matter, nor
    which of the two wrote last before the kill.

    A subclass gives `state()`, a dict for JSON, and `set_state(state)`, and calls
    `remember(epoch)` as soon as what it learns from an epoch is settled.
    """

    def __init__(self, backup_dir: str | None, file_name: str) -> None:
        super().__init__()
        if backup_dir is not None and not str(backup_dir):
            raise ValueError(
                "`backup_dir` must be the folder of BackupAndRestore, or None. "
                f"Received: backup_dir={backup_dir!r}"
            )
        self.backup_dir = backup_dir
        self._file_name = file_name
        self._states: dict[int, dict[str, Any]] = {}
        self._first_epoch = True

    def state(self) -> dict[str, Any]:
        raise NotImplementedError

    def set_state(self, state: dict[str, Any]) -> None:
        raise NotImplementedError

    def on_train_begin(self, logs: Any = None) -> None:
        self._first_epoch = True
        self._states = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._first_epoch and self.backup_dir is not None:
            self._resume(epoch)
        self._first_epoch = False

    def remember(self, epoch: int) -> None:
        """Saves the state with which the epoch after `epoch` starts."""
        if self.backup_dir is None:
            return
        self._states[epoch + 1] = self.state()
        for old in sorted(self._states)[:-_EPOCHS_KEPT]:
            del self._states[old]
        text = json.dumps({"version": 1, "states": self._states}, allow_nan=True)
        _atomic.write(self.path(), lambda file: file.write(text.encode()))

    def kept_states(self) -> list[dict[str, Any]]:
        """The states that a resumed training may start from."""
        return list(self._states.values())

    def path(self) -> Path:
        """Where the states are kept."""
        return Path(str(self.backup_dir)) / self._file_name

    def _resume(self, epoch: int) -> None:
        if epoch == 0:
            return
        states = self._read() if self.path().exists() else {}
        self._states = {number: s for number, s in states.items() if number <= epoch}
        if epoch in self._states:
            with self._naming_the_file():
                self.set_state(self._states[epoch])
        else:
            warnings.warn(
                f"{type(self).__name__} starts afresh at epoch {epoch}: "
                f"{str(self.path())!r} holds no state for it, only for epochs "
                f"{sorted(self._states)}. Give it the `backup_dir` of BackupAndRestore "
                "and put it before BackupAndRestore in the list of callbacks.",
                stacklevel=2,
            )

    def _read(self) -> dict[int, dict[str, Any]]:
        with self._naming_the_file():
            if self.path().stat().st_size > _LARGEST_FILE:
                raise ValueError("it is larger than any state")
            content = json.loads(self.path().read_text(encoding="utf-8"))
            return {int(number): dict(s) for number, s in content["states"].items()}

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        """Whatever a damaged file leads to is told with its path and the remedy."""
        try:
            yield
        except Exception as error:
            raise ValueError(
                f"`backup_dir` must hold a state that {type(self).__name__} wrote. "
                f"Received: {str(self.path())!r}, which cannot be used ({error!r}); "
                "delete the folder to start afresh"
            ) from error
