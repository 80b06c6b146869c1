"""A line that says how far a run is, and how long it will take."""

import sys
import time
from typing import Any

import keras

from keras_tricks import _arguments


def check(verbose: Any) -> int:
    """The level: 0 nothing, 1 one line that is rewritten, 2 a line per fold.

    Raises:
        ValueError: If it is another one.
    """
    if verbose == "auto":
        # A rewritten line would fill a file.
        return 1 if sys.stdout.isatty() else 2
    if isinstance(verbose, bool):
        return int(verbose)
    return _arguments.one_of("verbose", verbose, (0, 1, 2))


def text(seconds: float) -> str:
    """A length of time in words as short as its precision."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def left(elapsed: float, done: int, remaining: int) -> float:
    """How long the rest will take, if it goes on as so far."""
    return elapsed / done * remaining


class Progress:
    """Counts finished folds; those of an earlier run took no time now."""

    def __init__(self, total: int, verbose: int, unit: str = "folds") -> None:
        self._total, self._verbose, self._unit = total, verbose, unit
        self._started = time.perf_counter()
        self._found = 0
        self._done = 0

    def resumed(self, count: int) -> None:
        """Some were finished before."""
        self._found = count
        if count:
            self._show(f"{count} of them from an earlier run")

    def finished(self, note: str) -> None:
        """One more is finished."""
        self._done += 1
        remaining = self._total - self._found - self._done
        elapsed = time.perf_counter() - self._started
        rest = text(left(elapsed, self._done, remaining))
        self._show(
            f"{rest} left - {note}" if remaining else f"{text(elapsed)} - {note}"
        )

    def epochs(self, count: int, models: int) -> list[Any]:
        """Callbacks that say how far many models are that are trained together."""
        if self._verbose != 1:
            return []
        started = time.perf_counter()

        def tell(epoch: int, logs: Any) -> None:
            elapsed = time.perf_counter() - started
            rest = text(left(elapsed, epoch + 1, count - epoch - 1))
            note = f"{models} models at once, epoch {epoch + 1}/{count}"
            self._show(f"{note}, {rest} left")

        return [keras.callbacks.LambdaCallback(on_epoch_end=tell)]

    def _show(self, note: str) -> None:
        if not self._verbose:
            return
        count = self._found + self._done
        line = f"{count}/{self._total} {self._unit} - {note}"
        if self._verbose == 2:
            print(line, flush=True)
            return
        end = "\n" if count == self._total else ""
        print(f"\r{line:<79}", end=end, flush=True)
