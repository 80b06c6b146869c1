"""The equal-weight mean of weights that come one after the other."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from keras_tricks import _atomic


def add(mean: np.ndarray, count: int, value: np.ndarray) -> np.ndarray:
    """The mean of `count + 1` arrays, from that of the first `count` and the next."""
    return (count * mean + value.astype("float64")) / (count + 1)


class RunningMean:
    """A mean of lists of arrays, in float64 and in host memory.

    It is changed once an epoch or less, so the way over the host costs little, while
    the device keeps its memory, the model and the optimizer get no variables, and half
    precision or hundreds of models lose nothing: the mean of equal weights is them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.arrays: list[np.ndarray] = []

    def add(self, values: Sequence[np.ndarray]) -> None:
        """Takes in one more list of arrays."""
        if not self.count:
            self.arrays = [np.zeros(value.shape) for value in values]
        pairs = zip(self.arrays, values, strict=True)
        self.arrays = [add(mean, self.count, value) for mean, value in pairs]
        self.count += 1

    def save(self, state_path: Path) -> None:
        """Writes the mean beside a state file, unless it is there already."""
        path = _path(state_path, self.count)
        if not self.count or path.exists():
            return

        def fill(file: IO[bytes]) -> None:
            with zipfile.ZipFile(file, "w") as archive:
                for index, array in enumerate(self.arrays):
                    archive.writestr(str(index), array.tobytes())

        _atomic.write(path, fill)

    def load(self, state_path: Path, count: int, variables: Sequence[Any]) -> None:
        """Reads what an earlier process saved.

        Raises:
            ValueError: If the file does not hold such arrays.
        """
        self.count, self.arrays = count, []
        if not count:
            return
        with zipfile.ZipFile(_path(state_path, count)) as archive:
            if len(archive.namelist()) != len(variables):
                raise ValueError("its arrays are not those of the model")
            for index, variable in enumerate(variables):
                raw = np.frombuffer(archive.read(str(index)), "float64")
                self.arrays.append(raw.reshape(tuple(variable.shape)).copy())


def remove_all_but(state_path: Path, counts: set[int]) -> None:
    """Deletes the means that no state refers to."""
    kept = {_path(state_path, count) for count in counts}
    for path in state_path.parent.glob(f"{state_path.stem}.mean*.zip"):
        if path not in kept:
            path.unlink(missing_ok=True)


def _path(state_path: Path, count: int) -> Path:
    return state_path.with_name(f"{state_path.stem}.mean{count}.zip")
