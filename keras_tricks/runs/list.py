"""List: the runs of a folder."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_tricks.runs import _given
from keras_tricks.runs.run import Run


def list(directory: Any = "runs") -> Sequence[Run]:  # noqa: A001
    """Reads the runs of a folder, oldest first.

    When: to find a training again.
    Typical: `kt.runs.list()[-1]`, the newest.
    Costs: reads two small files per run.
    Beware: a run whose files are damaged is left out with a warning.

    Args:
        directory: Folder that `RunRecorder` was given. Defaults to "runs".

    Returns:
        List of `kt.runs.Run`, empty where nothing was recorded.

    Raises:
        NotADirectoryError: If `directory` is a file.

    Example:
    >>> import tempfile, keras_tricks as kt
    >>> kt.runs.list(tempfile.mkdtemp())
    []

    Reference: none.
    """
    path = Path(os.fspath(directory))
    if not path.exists():
        return []
    if not path.is_dir():
        raise NotADirectoryError(
            f"`directory` must be a folder. Received: directory={str(directory)!r}, "
            "which is a file"
        )
    found, ailing = _given.in_folder(path)
    for reason in ailing:
        warnings.warn(f"A run is left out. {reason}", stacklevel=2)
    return found
