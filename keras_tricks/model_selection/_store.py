"""A folder of finished folds: JSON and plain arrays, nothing that runs code."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_tricks import _atomic
from keras_tricks.model_selection._task import Outcome

_FORMAT = 1
# Bytes of a record: scores and histories are a few thousand numbers.
_LARGEST_RECORD = 2**26


class Store:
    """Keeps each finished fold; refuses the folds of another cross-validation."""

    def __init__(self, directory: Any, manifest: str = "cross_validation.json") -> None:
        self.folder = Path(directory)
        self._manifest = self.folder / manifest
        self._known: dict[str, Any] | None = None
        if self._manifest.exists():
            self._known = _object(self._manifest)

    @property
    def seed(self) -> int | None:
        """The seed that an earlier run went by."""
        if self._known is None:
            return None
        seed = self._known.get("seed")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise _damaged(self._manifest, "its seed is no number")
        return seed

    def open(self, described: dict[str, Any]) -> None:
        """Goes on with the folds of this very cross-validation, or starts.

        Raises:
            ValueError: If the folder belongs to another one.
        """
        described = {"format": _FORMAT, **described}
        if self._known is None:
            if any(self.folder.glob("fold-*.json")):
                # They may be those of anything.
                raise _damaged(self._manifest, "there are folds, and it is missing")
            text = json.dumps(described, indent=1, sort_keys=True)
            _atomic.write(self._manifest, lambda file: file.write(text.encode()))
            self._known = described
        for name, value in described.items():
            if self._known.get(name) != json.loads(json.dumps(value)):
                raise ValueError(
                    "`directory` must be new, or that of the same run. "
                    f"Received: {str(self.folder)!r}, made with another {name}; give "
                    "another directory, or delete this one to start afresh"
                )
        for path in self.folder.glob(".fold-*"):
            # Half written by a process that was killed.
            path.unlink(missing_ok=True)

    def write(self, outcome: Outcome) -> None:
        """Keeps a fold: the arrays first, for the record makes it count."""
        arrays = {"predictions": _plain(outcome.predictions)}
        for number, value in enumerate(outcome.weights or []):
            arrays[f"weight_{number}"] = _plain(value)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        content = buffer.getvalue()
        record = {
            "fold": outcome.fold,
            "scores": outcome.scores,
            "history": outcome.history,
            "kind": outcome.kind,
            "seconds": outcome.seconds,
            "weights": None if outcome.weights is None else len(outcome.weights),
            "arrays": hashlib.sha256(content).hexdigest(),
        }
        text = json.dumps(record, indent=1)
        _atomic.write(self._path(outcome.fold, "npz"), lambda file: file.write(content))
        path = self._path(outcome.fold, "json")
        _atomic.write(path, lambda file: file.write(text.encode()))

    def read(self, fold: int, count: int) -> Outcome | None:
        """A finished fold of so many rows, without its weights, or None.

        Raises:
            ValueError: If its files cannot be used.
        """
        path = self._path(fold, "json")
        if not path.exists():
            return None
        record = _object(path)
        try:
            scores = {str(k): float(v) for k, v in record["scores"].items()}
            history = {
                str(name): [float(value) for value in values]
                for name, values in record["history"].items()
            }
            kind, seconds = str(record["kind"]), float(record["seconds"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _damaged(path, repr(error)) from error
        predictions = self._arrays(fold, record, ["predictions"])[0]
        if record.get("fold") != fold or predictions.shape[:1] != (count,):
            raise _damaged(path, "it is that of another fold")
        return Outcome(fold, scores, history, predictions, None, kind, seconds)

    def weights(self, fold: int) -> list[np.ndarray] | None:
        """The weights of a fold's model."""
        record = _object(self._path(fold, "json"))
        count = record.get("weights")
        if not isinstance(count, int):
            return None
        return self._arrays(fold, record, [f"weight_{n}" for n in range(count)])

    def _arrays(self, fold: int, record: Any, names: list[str]) -> list[Any]:
        path = self._path(fold, "npz")
        try:
            with open(path, "rb") as file:
                # Not all in memory: for the predictions no weights are read.
                if hashlib.file_digest(file, "sha256").hexdigest() != record["arrays"]:
                    raise ValueError("its arrays are not those of its record")
                with zipfile.ZipFile(file) as archive:
                    # Compressed, a small file might fill the memory.
                    if any(item.compress_type for item in archive.infolist()):
                        raise ValueError("it is compressed")
                file.seek(0)
                with np.load(file, allow_pickle=False) as arrays:
                    found = [arrays[name] for name in names]
            if any(array.dtype.kind not in "biufc" for array in found):
                raise ValueError("it holds other things than numbers")
        except Exception as error:  # A damaged zip file may raise almost anything.
            raise _damaged(path, str(error)) from error
        return found

    def _path(self, fold: int, ending: str) -> Path:
        return self.folder / f"fold-{fold:05d}.{ending}"


def _plain(array: Any) -> Any:
    """Numbers of a type that NumPy's files know: bfloat16 is none."""
    array = np.asarray(array)
    return array if array.dtype.kind in "biufc" else array.astype("float32")


def _object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_RECORD:
            raise ValueError("it is too large")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    return content


def _damaged(path: Path, why: str) -> ValueError:
    return ValueError(
        "`directory` must hold what cross_validate wrote. Received: "
        f"{str(path)!r}, which cannot be used ({why}); delete the files of that name "
        "to train this fold again"
    )
