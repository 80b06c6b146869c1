"""One run as it is written: a manifest, tables of epochs and steps, things added."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_tricks.runs import _files, _folder, _plain
from keras_tricks.runs._steps import Steps

FORMAT = 1
_LONGEST_ERROR = 10_000


class Recording:
    """Writes the folder of one run, from its beginning to its end.

    Args:
        directory: Folder of all runs.
        name: Name of this one, or None.
        steps: Integer, so many steps are kept.
    """

    def __init__(self, directory: Path, name: str | None, steps: int) -> None:
        self.path = _folder.claim(directory, name)
        self._release = _folder.lock(self.path)
        self._pace, self._warned = _folder.Pace(), False
        self._started = time.monotonic()
        self.steps = Steps(steps)
        self._columns: list[str] = []
        self._rows: list[dict[str, Any]] = []
        self._steps_written = 0
        self.over = False
        self.manifest: dict[str, Any] = {
            "format": FORMAT,
            "state": "running",
            "error": None,
            "started": _folder.stamp(),
            "updated": None,
            "ended": None,
            "seconds": 0.0,
            "epochs": 0,
        }

    def begin(self, sections: dict[str, Any], model: Any = None) -> None:
        """Writes what is known before the first step; errors are the caller's."""
        self.manifest |= sections
        if model is not None:
            _files.write_json(self.path / _files.MODEL, model)
        self._write()

    def epoch(self, row: dict[str, Any]) -> None:
        """Takes the values of an epoch."""
        known = set(self._columns)
        self._columns += [name for name in row if name not in known]
        self._rows.append(row)
        self.manifest["epochs"] = len(self._rows)
        self._guarded(lambda: self._pace.do(self._write))

    def add(self, name: str, content: Any) -> None:
        """Writes something that belongs to the run, as a JSON file of its own."""
        folder = self.path / _files.EXTRA
        _files.write_json(folder / f"{name}.json", _plain.plain(content))

    def end(self, state: str, error: BaseException | None = None) -> None:
        """Closes the record; may be called at any moment, also as Python ends."""
        if self.over:
            return
        self.over = True
        self.manifest |= {
            "state": state,
            "error": _told(error) if state != "finished" else None,
            "ended": _folder.stamp(),
        }
        self._guarded(lambda: self._pace.do(self._write, must=True))
        self._guarded(self._release)

    def _write(self) -> None:
        self.steps.read()
        if self._rows:
            names = self._columns
            rows = ([row.get(name) for name in names] for row in self._rows)
            _files.write_table(self.path / _files.HISTORY, names, rows)
        kept = self.steps.kept
        if len(kept) > self._steps_written:
            names = ["epoch", "batch", "loss"]
            _files.write_table(self.path / _files.STEPS, names, kept)
            self._steps_written = len(kept)
        self.manifest["updated"] = _folder.stamp()
        self.manifest["seconds"] = round(time.monotonic() - self._started, 3)
        # Last: it says how many epochs there are.
        _files.write_json(self.path / _files.MANIFEST, self.manifest)

    def _guarded(self, work: Callable[[], Any]) -> None:
        """A full disk ends the record, not the training."""
        try:
            work()
        except OSError as error:
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"The run {str(self.path)!r} cannot be recorded further, the "
                    f"training goes on: {error}",
                    stacklevel=5,
                )


def _told(error: BaseException | None) -> dict[str, str] | None:
    if error is None:
        return None
    try:
        message = str(error)[:_LONGEST_ERROR]
    except Exception:
        message = ""
    return {"type": type(error).__qualname__, "message": message}
