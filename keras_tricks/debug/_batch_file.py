"""A batch as an `.npz` file: arrays and their places, nothing to be unpickled."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from keras_tricks import _atomic

_STRUCTURE = "structure"
_LARGEST_STRUCTURE = 1 << 20


def on_host(batch: Any) -> Any:
    """The batch with NumPy arrays for leaves."""
    if batch is None or isinstance(batch, np.ndarray):
        return batch
    if isinstance(batch, dict):
        return {key: on_host(value) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return tuple(on_host(value) for value in batch)
    try:
        return np.array(ops.convert_to_numpy(batch))
    except Exception:  # Strings, or things that are no tensors at all.
        return np.asarray(batch)


def write(path: Path, batch: Any) -> None:
    """Writes a batch whose leaves are NumPy arrays."""
    arrays: dict[str, np.ndarray] = {}
    structure = json.dumps(_outline(batch, arrays))
    arrays[_STRUCTURE] = np.array(structure)
    _atomic.write(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def _outline(part: Any, arrays: dict[str, np.ndarray]) -> Any:
    if part is None:
        return None
    if isinstance(part, dict):
        return {"dict": [[key, _outline(v, arrays)] for key, v in part.items()]}
    if isinstance(part, list | tuple):
        return {"tuple": [_outline(value, arrays) for value in part]}
    array = np.asarray(part)
    if array.dtype.kind == "O":
        # Only pickle could store it; what it says is what matters.
        array = array.astype(str)
    elif array.dtype.kind not in "biufcSU":
        # Formats that NumPy itself does not know, bfloat16 among them.
        array = array.astype("float32")
    name = f"array{len(arrays)}"
    arrays[name] = array
    return {"array": name}


def read(path: Path) -> Any:
    """The batch in a file, which is not trusted.

    Raises:
        ValueError: If it was not written by `write`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            if any(i.compress_type != zipfile.ZIP_STORED for i in infos):
                raise ValueError("it holds packed arrays")
            if sum(info.file_size for info in infos) > path.stat().st_size:
                raise ValueError("it says that it holds more than there is")
            sizes = {info.filename: info.file_size for info in infos}
        if sizes.get(f"{_STRUCTURE}.npy", 0) > _LARGEST_STRUCTURE:
            raise ValueError("its structure is too large")
        with np.load(path, allow_pickle=False) as arrays:
            return _filled(json.loads(str(arrays[_STRUCTURE])), arrays)
    except Exception as error:  # A damaged file may raise almost anything.
        raise ValueError(
            f"`batch` must be a file that `rerun_on_cpu` wrote. Received: "
            f"{str(path)!r}, which cannot be used ({error}); write it again"
        ) from error


def _filled(outline: Any, arrays: Any) -> Any:
    if outline is None:
        return None
    if "dict" in outline:
        return {key: _filled(value, arrays) for key, value in outline["dict"]}
    if "tuple" in outline:
        return tuple(_filled(value, arrays) for value in outline["tuple"])
    return arrays[outline["array"]]
