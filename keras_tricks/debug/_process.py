"""The repetition of a step in a process of its own, which sees only the CPU.

After a failure a device may answer every call with the same error, and only a new
process is sure to be free of it. That gets the model as its configuration and weights.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_tricks import _backend, _patterns
from keras_tricks.debug import _batch_file, _explain
from keras_tricks.debug._finding import Finding

_SECONDS = 900
_CPU_ONLY = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}


class NotPossibleError(Exception):
    """The model cannot go to another process; the text says why."""


def find(
    model: Any, weights: list[np.ndarray], batch: Any, training: bool
) -> Finding | None:
    """What is found in a new process.

    Args:
        model: Compiled model.
        weights: The values of `model.variables`, from the host.
        batch: Batch of NumPy arrays.
        training: Whether the step is one of training.

    Raises:
        NotPossibleError: If the model cannot be made anew from its configuration.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            config = json.dumps(keras.saving.serialize_keras_object(model))
        except Exception as error:
            raise NotPossibleError(f"it has no complete config ({error})") from error
        (folder / "model.json").write_text(config)
        _batch_file.write(folder / "batch.npz", batch)
        _batch_file.write(folder / "weights.npz", tuple(weights))
        modules = {type(layer).__module__ for _, layer in _patterns.layer_paths(model)}
        modules |= {type(model).__module__}
        task = {"training": training, "modules": sorted(modules - {"__main__"})}
        (folder / "task.json").write_text(json.dumps(task))
        finished = subprocess.run(
            [sys.executable, "-m", "keras_tricks.debug._process", name],
            env={**os.environ, **_CPU_ONLY, "KERAS_BACKEND": _backend.NAME},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        answer = folder / "answer.json"
        if finished.returncode or not answer.exists():
            last = finished.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise NotPossibleError(f"the new process failed ({last[0]})")
        found = json.loads(answer.read_text())
        return None if found is None else Finding(*found)


def _answer(folder: Path) -> None:
    """The task of the new process."""
    task = json.loads((folder / "task.json").read_text())
    for module in task["modules"]:
        # Where its classes are registered with Keras.
        __import__(module)
    config = json.loads((folder / "model.json").read_text())
    model = keras.saving.deserialize_keras_object(config)
    weights = _batch_file.read(folder / "weights.npz")
    if not model.built:
        x, _, _ = _explain.parts_of(_batch_file.read(folder / "batch.npz"))
        model(x)
    for variable, value in zip(model.variables, weights, strict=True):
        variable.assign(value)
    batch = _batch_file.read(folder / "batch.npz")
    found = _explain.here(model, batch, task["training"])
    (folder / "answer.json").write_text(json.dumps(found))


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
