"""The plain files of a run: written whole or not at all, read with suspicion."""

import csv
import io
import json
import math
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_tricks import _atomic

MANIFEST, HISTORY, STEPS, MODEL = "run.json", "history.csv", "steps.csv", "model.json"
EXTRA = "extra"
LARGEST = 32 * 2**20
DEEPEST = 100
MOST_COLUMNS, MOST_ROWS = 2_000, 1_000_000


def read_text(path: Path, largest: int = LARGEST) -> str:
    """The text of an ordinary file that is not too large.

    Raises:
        ValueError: If it is too large, or not text.
        OSError: If it cannot be read.
    """
    # Not blocking: what stands there may be a pipe that nobody writes to.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no ordinary file")
        raw = file.read(largest + 1)
    if len(raw) > largest:
        raise ValueError(f"it is larger than {largest} bytes")
    return raw.decode("utf-8")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: If it holds none, or more than a program can hold.
        OSError: If it cannot be read.
    """
    try:
        content = json.loads(read_text(path))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    level, depth = [content], 0
    while level:
        # So that whoever reads it may walk through it by recursion.
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        depth += 1
        level = [
            item
            for part in level
            if isinstance(part, dict | list)
            for item in (part.values() if isinstance(part, dict) else part)
        ]
    return content


def write_json(path: Path, content: Any) -> None:
    """Writes plain values, as `_plain.plain` gives them."""
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=True)
    _atomic.write(path, lambda file: file.write(text.encode("ascii")))


def write_table(
    path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Writes a CSV file; numbers in full, so that they read back bit for bit."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(value) for value in row] for row in rows)
    # A name may hold half a surrogate pair, which UTF-8 has no bytes for.
    raw = text.getvalue().encode("utf-8", "backslashreplace")
    _atomic.write(path, lambda file: file.write(raw))


def _cell(value: Any) -> str:
    return (
        "" if value is None else repr(value) if isinstance(value, float) else str(value)
    )


def read_table(path: Path) -> dict[str, np.ndarray]:
    """The columns of a CSV file as numbers; what is none is NaN.

    Raises:
        ValueError: If it is no table, or too large a one.
        OSError: If it cannot be read.
    """
    try:
        lines = csv.reader(io.StringIO(read_text(path), newline=""))
        names = next(lines, [])
        if len(names) > MOST_COLUMNS or len(set(names)) != len(names):
            raise ValueError("its first line names no columns, or too many")
        rows: list[list[float]] = []
        for row in lines:
            if len(rows) >= MOST_ROWS:
                raise ValueError(f"it has more than {MOST_ROWS} rows")
            if len(row) != len(names):
                raise ValueError(f"its row {len(rows) + 1} has {len(row)} cells")
            rows.append([_number(cell) for cell in row])
    except csv.Error as error:
        raise ValueError(str(error)) from error
    values = np.array(rows, "float64").reshape(len(rows), len(names))
    return {name: values[:, index] for index, name in enumerate(names)}


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
