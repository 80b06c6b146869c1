"""The list of the snapshots that a folder holds.

An index lists the valid files. A file is renamed into its place when it is whole, and
listed after that; what is not listed is not part of this training.
"""

import json
import uuid
import warnings
from pathlib import Path
from typing import Any

from keras_tricks import _arguments, _atomic

_INDEX = "snapshots.json"
_LARGEST_INDEX = 16 * 2**20


class Index:
    """The list of a folder's snapshots, by update.

    `changes` are the epochs in which another optimizer took over, each with the updates
    made before. `run` names the training that the list is of.
    """

    def __init__(self, name: str, folder: Any, ending: str) -> None:
        self.name, self.folder, self._ending = name, Path(str(folder)), ending
        self._path = self.folder / _INDEX
        self.files: dict[int, str] = {}
        self.changes: list[tuple[int, int]] = []
        self.run = self._mine = ""

    def path(self, update: int) -> Path:
        return self.folder / self.files.get(update, f"update-{update}{self._ending}")

    def add(self, update: int) -> None:
        self.files[update] = self.path(update).name
        self.save()

    def forget(self, updates: list[int], *, delete: bool) -> None:
        """Takes snapshots off the list; with `delete` their files go too."""
        paths = [self.folder / self.files.pop(update) for update in updates]
        self.save()
        for path in paths if delete else ():
            path.unlink(missing_ok=True)

    def save(self) -> None:
        files = sorted(self.files.items())
        snapshots = [{"update": update, "file": file} for update, file in files]
        content = {
            "version": 1,
            "run": self.run,
            "snapshots": snapshots,
            "changes": self.changes,
        }
        text = json.dumps(content, indent=1)
        _atomic.write(self._path, lambda file: file.write(text.encode()))

    def read(self) -> None:
        self.files, self.changes, self.run = {}, [], ""
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(
                f"`{self.name}` must be a folder. Received: {str(self.folder)!r}, "
                "which is a file"
            )
        if not self._path.exists():
            return
        try:
            if self._path.stat().st_size > _LARGEST_INDEX:
                raise ValueError("it is larger than any index")
            content = json.loads(self._path.read_text(encoding="utf-8"))
            files = {
                _whole(entry["update"]): self._plain(entry["file"])
                for entry in content["snapshots"]
            }
            changes = [(_whole(epoch), _whole(n)) for epoch, n in content["changes"]]
            run = str(content["run"])
        except Exception as error:
            raise ValueError(
                f"`{self.name}` must hold an index that Snapshots wrote, or none. "
                f"Received: {str(self._path)!r}, which cannot be used ({error!r}); "
                "delete it to start afresh"
            ) from error
        self.files, self.changes, self.run = files, changes, run

    def _plain(self, name: Any) -> str:
        """Refuses a name that leads out of the folder."""
        if Path(name).name != name or not name.endswith(self._ending):
            raise ValueError(f"{name!r} is no file of this folder")
        return str(name)

    def resume(self, epoch: int, steps: int, fresh: bool) -> tuple[int, bool] | None:
        """Reads the list as a training starts, and tidies up.

        Args:
            epoch: Integer, the first epoch.
            steps: Integer, the updates that the optimizer of now has made.
            fresh: Whether the callback knows nothing of the model yet.

        Returns:
            The updates that other optimizers made before, and whether the one of now
            took over; None if the list does not tell.
        """
        missing = not self._path.exists()
        if epoch > 0 and self.name == "backup_dir" and missing:
            warnings.warn(
                f"Snapshots starts afresh at epoch {epoch}: {str(self.folder)!r} holds "
                "no list of snapshots. Give it the `backup_dir` of BackupAndRestore",
                stacklevel=4,
            )
        self.read()
        for pattern in (f".*update-*{self._ending}*", f".{_INDEX}.*"):
            for path in self.folder.glob(pattern):
                # Half written by a process that was killed.
                path.unlink(missing_ok=True)
        known = not fresh and self.run in ("", self._mine)
        if not known and epoch == 0:
            self._warn_of(steps)
        if known:
            self.run = self._mine or uuid.uuid4().hex
        elif missing or (epoch == 0 and not steps):
            self.run, self.changes = uuid.uuid4().hex, []
        self._mine = self.run
        self.changes = [
            (number, made)
            for number, made in self.changes
            # A change is made as an epoch begins: a backup may be from just before.
            if number < epoch or (number == epoch and steps < made)
        ]
        if missing or not fresh:
            return None
        return (self.changes[-1][1], True) if self.changes else (0, False)

    def _warn_of(self, steps: int) -> None:
        taken = sorted(update for update in self.files if update <= steps)
        if taken:
            warnings.warn(
                f"Snapshots goes on with those after the updates {taken} that "
                f"{str(self.folder)!r} lists. If they are of another training, give "
                f"`{self.name}` a folder of its own",
                stacklevel=4,
            )


def _whole(value: Any) -> int:
    number: int = _arguments.integer("number", value, 0, 2**62)
    return number
