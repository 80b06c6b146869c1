"""Where snapshots are kept: in host memory, or as files."""

import os
import uuid
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_tricks import _state
from keras_tricks._backend import _own
from keras_tricks.callbacks._snapshot_index import Index


class Memory:
    """Copies in host memory; written beside a backup too, to be there after a kill."""

    def __init__(self, backup_dir: Any = None) -> None:
        self._held: dict[int, list[np.ndarray]] = {}
        self._model: Callable[[], Any] = lambda: None
        self.index: Index | None = None
        if backup_dir is not None:
            self.index = Index("backup_dir", backup_dir, ".zip")

    @property
    def updates(self) -> list[int]:
        return sorted(self._held)

    def check_apart(self, other: Any) -> None:
        """Refuses another store in the same folder."""
        _check_apart(self.index, other.index)

    def open(self, model: Any) -> None:
        """Forgets the snapshots of another model."""
        if self._model() is not model:
            self._held, self._model = {}, weakref.ref(model)

    def resume(self, model: Any, update: int) -> None:
        """Keeps the snapshots that a model after so many updates has left."""
        self._held = {n: held for n, held in self._held.items() if n <= update}
        if self.index is None:
            return
        gone = [number for number in self.index.files if number > update]
        self.index.forget(gone, delete=True)
        for number in self.index.files.keys() - self._held.keys():
            copies = _state.read_copies(self.index.path(number), _of(model))
            self._held[number] = _values(copies)

    def take(self, model: Any, update: int, *, ended: bool) -> None:
        copies = _state.copy_variables(_of(model))
        self._held[update] = _values(copies)
        # After the training the backup is gone.
        if self.index is not None and not ended:
            _state.write_copies(self.index.path(update), copies)
            self.index.add(update)

    def forget(self, updates: list[int], *, ended: bool) -> None:
        for update in updates:
            del self._held[update]
        if self.index is not None and not ended:
            listed = [update for update in updates if update in self.index.files]
            self.index.forget(listed, delete=True)

    def put(self, update: int, model: Any) -> None:
        """Gives the weights to a model of the same structure."""
        for variable, value in zip(_of(model), self._held[update], strict=True):
            variable.assign(value)


def _of(model: Any) -> list[Any]:
    return list(model.weights)


def _values(copies: _state.Copies) -> list[np.ndarray]:
    return [value for _, value in copies]


class Files:
    """One `.weights.h5` file per snapshot."""

    def __init__(self, directory: Any) -> None:
        self.index = Index("directory", directory, ".weights.h5")

    @property
    def updates(self) -> list[int]:
        return sorted(self.index.files)

    def check_apart(self, other: Any) -> None:
        """Refuses another store in the same folder."""
        _check_apart(self.index, other.index)

    def open(self, model: Any) -> None:
        """Reads the index, if there is one."""
        self.index.read()

    def resume(self, model: Any, update: int) -> None:
        """Keeps the snapshots that a model after so many updates has left."""
        # The files stay: they may be all that is left of another training.
        gone = [number for number in self.updates if number > update]
        self.index.forget(gone, delete=False)

    def take(self, model: Any, update: int, *, ended: bool) -> None:
        _save_weights(model, self.index.path(update))
        self.index.add(update)

    def forget(self, updates: list[int], *, ended: bool) -> None:
        self.index.forget(updates, delete=True)

    def put(self, update: int, model: Any) -> None:
        """Gives the weights to a model of the same structure."""
        path = self.index.path(update)
        try:
            with _own.attributes(model, optimizer=None):
                model.load_weights(path)
        except Exception as error:
            raise ValueError(
                "`directory` must hold snapshots of this model. Received: "
                f"{str(path)!r}, which cannot be used ({error})"
            ) from error


def _check_apart(one: Index | None, other: Index | None) -> None:
    if one is None or other is None or one.folder.resolve() != other.folder.resolve():
        return
    raise ValueError(
        f"`{one.name}` must be another folder for each Snapshots of a `fit`. Received: "
        f"{str(one.folder)!r} for two of them; give each a `directory` of its own"
    )


def _save_weights(model: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Keras writes to a path with this ending only, so `_atomic` cannot be used.
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        # The optimizer's slots, twice the weights with Adam, belong to the training.
        with _own.attributes(model, optimizer=None):
            model.save_weights(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
