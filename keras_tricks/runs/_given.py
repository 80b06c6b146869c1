"""Runs as users give them: paths, records, folders of several."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_tricks.runs import _files
from keras_tricks.runs.run import Run


def one(name: str, given: Any) -> Run:
    """The run that is meant.

    Raises:
        TypeError: If it is neither a path nor a run.
    """
    if isinstance(given, Run):
        return given
    if not isinstance(given, str | os.PathLike):
        raise TypeError(
            f"`{name}` must be the folder of a run, or one of kt.runs.list(). "
            f"Received: {name}={given!r}"
        )
    return Run(given)


def several(name: str, given: Any) -> list[Run]:
    """The runs that are meant, at least one.

    Raises:
        TypeError: If what is given is of another kind.
        ValueError: If there is none.
    """
    if isinstance(given, Run):
        found = [given]
    elif isinstance(given, str | os.PathLike):
        path = Path(os.fspath(given))
        single = (path / _files.MANIFEST).exists() or not path.is_dir()
        found = [Run(path)] if single else in_folder(path)[0]
    elif isinstance(given, Iterable):
        found = [one(name, each) for each in given]
    else:
        found = [one(name, given)]
    if not found:
        raise ValueError(
            f"`{name}` must hold at least one run. Received: {name}={given!r}"
        )
    return found


def in_folder(directory: Path) -> tuple[list[Run], list[str]]:
    """The runs right inside a folder, oldest first, and what ails the others."""
    found, ailing = [], []
    for path in sorted(directory.iterdir()):
        if not (path / _files.MANIFEST).exists():
            continue
        try:
            found.append(Run(path))
        except (OSError, ValueError) as error:
            ailing.append(str(error))
    found.sort(key=lambda run: (run.manifest["started"] or "", _natural(run.name)))
    return found, ailing


def _natural(name: str) -> tuple[str, int, str]:
    """`fold-2` before `fold-10`."""
    stem, _, number = name.rpartition("-")
    short = number.isascii() and number.isdigit() and len(number) < 10
    return (stem, int(number), "") if short else (name, 0, "")


def labels(runs: list[Run]) -> list[str]:
    """A name for each run; runs of one name in several folders are numbered."""
    counts: dict[str, int] = {}
    made = []
    for run in runs:
        counts[run.name] = counts.get(run.name, 0) + 1
        count = counts[run.name]
        made.append(run.name if count == 1 else f"{run.name} ({count})")
    return made
