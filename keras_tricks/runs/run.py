"""Run: a record as it is read back."""

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from keras_tricks.runs import _files, _flat, _folder
from keras_tricks.runs._direction import is_low_good

STATES = ("running", "finished", "stopped", "failed", "killed")
# What is a setting, in the order in which it is told.
SECTIONS = (
    "config",
    "fit",
    "optimizer",
    "compile",
    "model",
    "callbacks",
    "data",
    "seeds",
    "environment",
    "git",
)
_MOST_EXTRAS = 100
_OURS = re.compile(r"epoch|seconds|learning_rate(_\d+)?")


class Run:
    """What `RunRecorder` wrote of one `fit`.

    When: to look at a training of last week.
    Typical: got from `kt.runs.list()`; `Run("runs/20260102-030405")` for one.
    Costs: reads two small files; nothing in them is executed.
    Beware: a record is read once, and does not follow a training that goes on.

    Args:
        path: Folder of the run.

    Attributes:
        path: Path of the folder.
        name: String, the name of the folder.
        state: "running", "finished", "stopped" (before its last epoch, by a callback or
            Ctrl-C), "failed", or "killed": it says running, but its process is gone.
        error: Dict with `type` and `message`, or None.
        manifest: Dict, all of `run.json`.
        settings: Dict of what was set, from names like `optimizer.config.momentum`.
        history: Dict of float arrays, shape (epochs,), from the names `epoch`,
            `seconds`, `learning_rate` (that of the epoch's first step) and those of the
            metrics; NaN where an epoch has none.

    Raises:
        FileNotFoundError: If there is no record at `path`.
        ValueError: If what is there is not one, or a damaged one.

    Example:
    >>> import tempfile, keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> recorder = kt.callbacks.RunRecorder(tempfile.mkdtemp(), name="first")
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[recorder])
    >>> run = kt.runs.Run(recorder.path)
    >>> run.state, run.history["epoch"].tolist()
    ('finished', [0.0, 1.0])

    Reference: none.
    """

    def __init__(self, path: Any) -> None:
        self.path = Path(os.fspath(path))
        self.name = self.path.resolve().name
        try:
            manifest = _files.read_json(self.path / _files.MANIFEST)
            self.manifest: dict[str, Any] = _checked(manifest)
            self.history = self._table(_files.HISTORY)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                "`path` must be the folder of a run that RunRecorder wrote. Received: "
                f"path={str(path)!r}, where there is no {_files.MANIFEST}"
            ) from error
        except (OSError, ValueError) as error:
            raise ValueError(
                "`path` must be the folder of a run that RunRecorder wrote. Received: "
                f"path={str(path)!r}, which cannot be read ({error})"
            ) from error
        self.state: str = self.manifest["state"]
        if self.state == "running" and not _folder.is_alive(self.path):
            self.state = "killed"
        self.error: dict[str, str] | None = self.manifest["error"]
        sections = {name: self.manifest.get(name) for name in SECTIONS}
        given = {name: part for name, part in sections.items() if part is not None}
        self.settings = _flat.flat(given)

    @property
    def steps(self) -> dict[str, np.ndarray]:
        """The first steps: `epoch`, `batch`, mean `loss` of the epoch so far."""
        return self._table(_files.STEPS)

    @property
    def architecture(self) -> Any:
        """The config of the model, or None."""
        try:
            return _files.read_json(self.path / _files.MODEL)
        except (OSError, ValueError):
            return None

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics."""
        return [name for name in self.history if not _OURS.fullmatch(name)]

    def extra(self) -> dict[str, Any]:
        """What was added to the run, by its name; what cannot be read is left out."""
        found = {}
        folder = self.path / _files.EXTRA
        for path in sorted(folder.glob("*.json"))[:_MOST_EXTRAS]:
            try:
                found[path.stem] = _files.read_json(path)
            except (OSError, ValueError):
                continue
        return found

    def last(self, metric: str) -> float:
        """The last value of a metric that is there; NaN if there is none."""
        values = self.history.get(metric, np.empty(0))
        values = values[~np.isnan(values)]
        return float(values[-1]) if len(values) else math.nan

    def best(self, metric: str) -> float:
        """The best value of a metric: the lowest of a loss or error, else the highest.

        What has "loss" or "err" or "mse" and the like in its name, is low where good.
        """
        values = self.history.get(metric, np.empty(0))
        values = values[np.isfinite(values)]
        if not len(values):
            return math.nan
        return float(values.min() if is_low_good(metric) else values.max())

    def __repr__(self) -> str:
        name = next((m for m in ("val_loss", "loss") if m in self.history), None)
        value = f", {name} {self.last(name):.4g}" if name else ""
        error = f" ({self.error['type']})" if self.error else ""
        epochs = len(self.history.get("epoch", ()))
        return f"<Run {self.name!r} {self.state}{error}, {epochs} epochs{value}>"

    def _table(self, name: str) -> dict[str, np.ndarray]:
        path = self.path / name
        return _files.read_table(path) if path.exists() else {}


def _checked(manifest: Any) -> dict[str, Any]:
    """Refuses what no recorder wrote: readers rely on these types alone."""
    if not isinstance(manifest, dict):
        raise ValueError("its manifest is no object")
    if manifest.get("format") != 1:
        raise ValueError(f"its format is {manifest.get('format')!r:.50}, not 1")
    if manifest.get("state") not in STATES:
        raise ValueError(f"its state is {manifest.get('state')!r:.50}")
    error = manifest.setdefault("error", None)
    if error is not None:
        if not isinstance(error, dict):
            raise ValueError("its error is no object")
        told = {key: str(error.get(key, "")) for key in ("type", "message")}
        manifest["error"] = told
    for name in ("started", "updated", "ended"):
        if not isinstance(manifest.setdefault(name, None), str | None):
            raise ValueError(f"its {name!r} is no time")
    return manifest
