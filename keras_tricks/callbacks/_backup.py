"""Where Keras's BackupAndRestore will take up a training: read before it does."""

import json
from pathlib import Path
from typing import Any

_FILE = "training_metadata.json"


def start(backup_dir: Any) -> tuple[int, bool] | None:
    """The epoch that a backup resumes, and whether it was saved inside that epoch.

    None without a backup, or with one that Keras itself will complain about.
    """
    try:
        content = json.loads((Path(str(backup_dir)) / _FILE).read_text("utf-8"))
        return int(content["epoch"]), int(content["batch"]) > 0
    except (OSError, ValueError, KeyError, TypeError):
        return None
