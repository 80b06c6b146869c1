"""Where a run takes place: software, machine, git, random numbers.

No path, host name, user name or address is noted.
"""

import hashlib
import importlib.metadata
import os
import platform
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_tricks import _backend
from keras_tricks._version import __version__
from keras_tricks.runs import _fingerprint

_SECONDS = 10.0
_LONGEST_DIFF = 64 * 2**20
# What the last `reproducible` was called with, in this process.
SEED: list[int] = []


def environment() -> dict[str, Any]:
    """The software and the machine, as far as results may depend on them."""
    return {
        "backend": _backend.NAME,
        "keras_tricks": __version__,
        "keras": keras.__version__,
        **{name: _version(name) for name in (_backend.NAME, "numpy")},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "accelerators": _accelerators(),
        "dtype_policy": keras.config.dtype_policy().name,
    }


def _accelerators() -> list[str]:
    try:
        return list(_backend.accelerators())
    except Exception:
        # A broken driver must not end a training that does without it.
        return []


def _version(name: str) -> str | None:
    for package in (name, f"{name}-cpu"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return getattr(sys.modules.get(name), "__version__", None)


def seeds(model: Any) -> dict[str, Any]:
    """What is known of the random numbers as a training begins."""
    generators = [v for v in model.variables if v.name == "seed_generator_state"]
    held: Any = np.random.get_state(legacy=False)
    numpy_state = f"{held['state']['pos']}".encode() + held["state"]["key"].tobytes()
    return {
        "reproducible": SEED[-1] if SEED else None,
        "PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED"),
        "python_state": _fingerprint.digest(repr(random.getstate()).encode()),
        "numpy_state": _fingerprint.digest(numpy_state),
        "backend_state": _backend_state(),
        "seed_generators": _fingerprint.of_variables(generators),
    }


def _backend_state() -> str | None:
    state = _backend.random_state()
    return None if state is None else _fingerprint.digest(state)


def git() -> dict[str, Any] | None:
    """The commit that the program is run from, and whether files differ from it.

    None where there is no git, or no repository around the current folder or that of
    the main script.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folders = [Path.cwd(), *([Path(script).parent] if script else [])]
    for folder in folders:
        try:
            return _git(folder)
        except (OSError, ValueError, subprocess.SubprocessError):
            continue
    return None


def _git(folder: Path) -> dict[str, Any]:
    commit = _output(folder, "rev-parse", "--verify", "HEAD").decode("ascii").strip()
    status = _output(folder, "status", "--porcelain=v1", "-z", "--no-renames")
    entries = [entry for entry in status.split(b"\0") if entry]
    untracked = sum(entry.startswith(b"??") for entry in entries)
    changed = len(entries) - untracked
    return {
        "commit": commit,
        "changed_files": changed,
        "untracked_files": untracked,
        "diff": _diff(folder) if changed else None,
    }


def _command(folder: Path, *words: str) -> list[str]:
    # The repository's own settings must not start programs.
    quiet = ["--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(folder)]
    return ["git", *quiet, *words]


def _output(folder: Path, *words: str) -> bytes:
    done = subprocess.run(
        _command(folder, *words),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_SECONDS,
        check=True,
    )
    return done.stdout


def _diff(folder: Path) -> str | None:
    """The digest of the changes, not the changes: they may hold secrets."""
    words = ("diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color")
    made, left, until = hashlib.sha256(), _LONGEST_DIFF, time.monotonic() + _SECONDS
    with subprocess.Popen(
        _command(folder, *words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        while block := process.stdout.read(2**16):
            made.update(block)
            left -= len(block)
            if left < 0 or time.monotonic() > until:
                process.kill()
                return None
    return made.hexdigest()[:16] if process.returncode == 0 else None
