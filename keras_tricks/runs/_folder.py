"""The folder of a run that is being written, and a lock for as long as it lives."""

import contextlib
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has none: there a killed run reads as running.
    fcntl = None  # type: ignore[assignment]

_LOCK = ".lock"
_LONGEST_NAME = 100
_MOST = 100_000


def checked_name(argument: str, name: str) -> str:
    """A name for a file or folder that leads nowhere else.

    Raises:
        ValueError: If it does not do.
    """
    plain = name.isprintable() and not set(name) & set('/\\:*?"<>|')
    if not plain or name.startswith((".", " ")) or len(name) > _LONGEST_NAME:
        raise ValueError(
            f"`{argument}` must be the name of a file, of {_LONGEST_NAME} characters "
            'at most, without any of / \\ : * ? " < > | and without a dot or space in '
            f"front. Received: {argument}={name!r}"
        )
    return name


def claim(directory: Path, name: str | None) -> Path:
    """Makes the folder of a new run: by its name, or by the time if it has none.

    Where there is one already, also of another process, a number is added.
    """
    name = name or now().strftime("%Y%m%d-%H%M%S")
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(1, _MOST):
        path = directory / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise ValueError(
        f"`name` must be a new one. Received: name={name!r}, of which there are "
        f"{_MOST} runs in {str(directory)!r}"
    )


def now() -> datetime:
    return datetime.now(UTC)


def stamp() -> str:
    """The time, as all tools read it."""
    return now().isoformat(timespec="seconds")


def lock(path: Path) -> Callable[[], None]:
    """Holds a lock that ends with the process, however that ends."""
    if fcntl is None:
        return lambda: None
    file = open(path / _LOCK, "wb")  # noqa: SIM115
    # Some file systems have no locks.
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release() -> None:
        file.close()
        (path / _LOCK).unlink(missing_ok=True)

    return release


def is_alive(path: Path) -> bool:
    """Whether the process that writes a run may still do so."""
    if fcntl is None:
        return True
    try:
        descriptor = os.open(path / _LOCK, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


class Pace:
    """Lets something be done so often that it takes a twentieth of the time.

    However long it takes, it may be done again after `LONGEST` seconds.
    """

    LONGEST = 1.0

    def __init__(self) -> None:
        self._next = 0.0

    def do(self, work: Callable[[], Any], *, must: bool = False) -> bool:
        started = time.monotonic()
        if not must and started < self._next:
            return False
        work()
        ended = time.monotonic()
        self._next = ended + min(20 * (ended - started), self.LONGEST)
        return True
