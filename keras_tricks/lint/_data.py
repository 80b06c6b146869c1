"""A bounded look at the data of a training, which it leaves as it is."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

ROWS = 2048
# So many numbers are looked at in detail, and so many only for NaN.
NUMBERS = 4_000_000
SCANNED = 100_000_000
_BATCHES = 16


@dataclasses.dataclass(frozen=True)
class Part:
    """One array of the data.

    `values` are some of its rows, in their order. `rows` is how many there are, or None
    if nobody knows. `finite` is None where that was not looked at. `low` and `high` are
    the smallest and the largest number, if all are finite. Of what is in memory all
    rows are searched for these, of files and data sets those that were read.
    """

    name: str
    values: np.ndarray
    rows: int | None
    finite: bool | None = None
    low: float | None = None
    high: float | None = None

    @property
    def is_numeric(self) -> bool:
        """Whether it holds numbers, booleans among them."""
        return self.values.dtype.kind in "fiub"


@dataclasses.dataclass
class Data:
    """What is known of the inputs and of the labels.

    `kind` is "arrays", "dataset" or "" (nothing). `batch_size` is that of a data set.
    """

    kind: str = ""
    x: list[Part] = dataclasses.field(default_factory=list)
    y: list[Part] = dataclasses.field(default_factory=list)
    rows: int | None = None
    batch_size: int | None = None
    weighted: bool = False
    notes: list[str] = dataclasses.field(default_factory=list)


def look(x: Any, y: Any) -> Data:
    """Reads some rows, never from what can be read only once."""
    data = Data()
    if x is None and y is None:
        return data
    if _is_once(x) or _is_once(y):
        data.notes.append(
            "the data are not looked at: reading a generator or an iterator would "
            "consume it; give arrays, or a data set that can be read again"
        )
        return data
    batches = _batches(x)
    if batches is None:
        _from_arrays(data, x, y)
    else:
        _from_batches(data, x, batches)
    return data


def _is_once(data: Any) -> bool:
    return hasattr(data, "__next__")


# Arrays -------------------------------------------------------------------------------


def _from_arrays(data: Data, x: Any, y: Any) -> None:
    data.kind = "arrays"
    data.x, data.y = _parts("x", x, data.notes), _parts("y", y, data.notes)
    counts = [part.rows for part in [*data.x, *data.y] if part.rows is not None]
    data.rows = counts[0] if counts else None


def _parts(name: str, value: Any, notes: list[str]) -> list[Part]:
    found = []
    for path, leaf in _named(name, value):
        try:
            part = _part(path, leaf)
        except Exception as error:  # A foreign array may raise anything.
            notes.append(f"{path} is not looked at: {type(error).__name__}: {error}")
            continue
        if part is None:
            notes.append(f"{path} is not looked at: {type(leaf).__name__} has no rows")
        else:
            found.append(part)
    return found


def _named(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The arrays of a structure, each with the name that it has in it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _named(f"{name}[{key!r}]", item)
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            # A list of many numbers is no structure, and Keras refuses it.
            if position >= 1000:
                break
            yield from _named(f"{name}[{position}]", item)
    elif value is not None:
        yield name, value


def _part(name: str, leaf: Any) -> Part | None:
    shape = getattr(leaf, "shape", None)
    if shape is None or len(shape) == 0:
        return None
    rows = int(shape[0])
    per_row = max(int(np.prod([int(size) for size in shape[1:]])), 1)
    # Labels are looked at in full: the order of a few says little.
    most = NUMBERS if per_row == 1 else ROWS
    count = min(rows, most, max(NUMBERS // per_row, 16))
    index = np.unique(np.linspace(0, rows - 1, count).astype("int64"))
    values = leaf.iloc[index] if hasattr(leaf, "iloc") else _rows(leaf, index, rows)
    array = _array(values)
    if not array.ndim:
        raise TypeError("its rows cannot be read")
    return Part(name, array, rows, *_scanned(leaf, array))


def _rows(leaf: Any, index: np.ndarray, rows: int) -> Any:
    if keras.ops.is_tensor(leaf):
        return keras.ops.take(leaf, index, axis=0)
    if len(index) == rows:
        return leaf[:]
    # What is not NumPy's (a file of HDF5) reads a sorted list of rows.
    return leaf[index if isinstance(leaf, np.ndarray) else index.tolist()]


def _array(values: Any) -> np.ndarray:
    if keras.ops.is_tensor(values):
        values = keras.ops.convert_to_numpy(values)
    array = np.asarray(values)
    # The small floats, such as bfloat16, which NumPy itself does not know.
    small = array.dtype.kind == "V" and not array.dtype.names
    return array.astype("float32") if small and "float" in array.dtype.name else array


def _scanned(leaf: Any, sample: np.ndarray) -> tuple[bool | None, Any, Any]:
    """Whether all numbers are finite, the smallest one and the largest."""
    numbers = _whole(leaf, sample)
    if sample.dtype.kind not in "iuf" or not sample.size:
        return None, None, None
    if keras.ops.is_tensor(numbers):
        # Where it lies: it need not come from a GPU.
        if not bool(keras.ops.all(keras.ops.isfinite(numbers))):
            return False, None, None
        ends = keras.ops.min(numbers), keras.ops.max(numbers)
        low, high = (_array(end).item() for end in ends)
        return True, low, high
    with np.errstate(all="ignore"):
        low, high = numbers.min().item(), numbers.max().item()
    finite = bool(np.isfinite(low) and np.isfinite(high))
    return finite, (low if finite else None), (high if finite else None)


def _whole(leaf: Any, sample: np.ndarray) -> Any:
    """All numbers of what is in memory and not too large; else the sample."""
    if leaf is None or np.prod([int(size) for size in leaf.shape]) > SCANNED:
        return sample
    if type(leaf) is np.ndarray or keras.ops.is_tensor(leaf):
        return leaf
    in_memory = hasattr(leaf, "to_numpy") or hasattr(leaf, "__dlpack__")
    if not in_memory or isinstance(leaf, np.ndarray):
        return sample
    try:
        numbers = leaf.to_numpy() if hasattr(leaf, "to_numpy") else np.asarray(leaf)
    except Exception:  # Another backend's tensor, on a GPU.
        return sample
    return numbers if numbers.dtype == sample.dtype else sample


# Data sets ----------------------------------------------------------------------------


def _batches(x: Any) -> Callable[[], Iterator[Any]] | None:
    """A function that reads a data set anew; None for arrays."""
    if isinstance(x, keras.utils.PyDataset):
        return lambda: (x[index] for index in range(_length(x) or _BATCHES))
    if hasattr(x, "element_spec") and hasattr(x, "take"):
        return lambda: iter(x.take(_BATCHES))
    if hasattr(x, "dataset") and hasattr(x, "batch_sampler"):
        # A torch DataLoader; its workers would be started for a few rows.
        return lambda: iter(() if getattr(x, "num_workers", 0) else x)
    return None


def _from_batches(data: Data, x: Any, batches: Callable[[], Iterator[Any]]) -> None:
    data.kind = "dataset"
    gathered: dict[str, list[np.ndarray]] = {}
    rows = 0
    try:
        for batch in itertools.islice(batches(), _BATCHES):
            # As Keras takes it: a list is no list of inputs here.
            x_y_w = batch if isinstance(batch, tuple | list) else (batch,)
            data.weighted = data.weighted or len(x_y_w) > 2
            count = 0
            for name, value in zip("xy", x_y_w, strict=False):
                for path, leaf in _named(name, value):
                    array = _array(leaf)
                    gathered.setdefault(path, []).append(array)
                    count = len(array) if array.ndim else 0
            data.batch_size = data.batch_size or count
            rows += count
            if rows >= ROWS or _size(gathered) >= NUMBERS:
                break
    except Exception as error:  # The data set is the user's.
        data.notes.append(
            f"the data set is not looked at: {type(error).__name__}: {error}"
        )
        return
    if not gathered:
        data.notes.append("the data set is not looked at: it gave no batch")
    length = _length(x)
    data.rows = length * (data.batch_size or 0) if length else None
    for path, arrays in gathered.items():
        same = [array for array in arrays if array.shape[1:] == arrays[0].shape[1:]]
        values = np.concatenate(same) if same[0].ndim else np.asarray(same)
        part = Part(path, values, data.rows, *_scanned(None, values))
        (data.x if path[0] == "x" else data.y).append(part)


def _size(gathered: dict[str, list[np.ndarray]]) -> int:
    return sum(array.size for arrays in gathered.values() for array in arrays)


def _length(x: Any) -> int | None:
    """How many batches there are, if that is known."""
    try:
        count = int(x.cardinality()) if hasattr(x, "cardinality") else len(x)
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        return None
    return count if count > 0 else None
