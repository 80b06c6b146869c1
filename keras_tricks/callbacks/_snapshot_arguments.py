"""Checks of the arguments of Snapshots."""

import os
from collections.abc import Iterator
from typing import Any

from keras_tricks import _arguments


def updates(at: Any) -> Any:
    """Checks for "cycle_end" or a list of the numbers of updates."""
    if isinstance(at, str):
        return _arguments.one_of("at", at, ("cycle_end",))
    try:
        # What can be read once would be empty at the next `fit`.
        listed = [] if isinstance(at, Iterator) else list(at)
    except TypeError:
        listed = []
    if not listed:
        raise ValueError(
            "`at` must be 'cycle_end' or a list of the numbers of updates. Received: "
            f"at={at!r}; for every so many updates give `every`"
        )
    for update in listed:
        _arguments.positive_integer("at", update)
    return at


def folder(name: str, folder: Any) -> Any:
    """Checks for a path that is not empty, or None."""
    if folder is None:
        return None
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(
            f"`{name}` must be a folder or None. Received: {name}={folder!r}"
        )
    if not str(folder):
        raise ValueError(
            f"`{name}` must be a folder or None. Received: {name}={folder!r}"
        )
    return folder
