"""Random numbers for one fit, given back after it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keras_tricks import _state

# The numbers are those of the whole process, not of a thread.
_ONE_AT_A_TIME = threading.RLock()


def alone() -> Any:
    """A block that no other thread's seeded block overlaps.

    For predictions too: Keras draws random numbers to read data on PyTorch.
    """
    return _ONE_AT_A_TIME


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Seeds the global random numbers, and gives them back however the block ends.

    Without a seed they are used, and not given back.
    """
    if seed is None:
        yield
        return
    with alone(), _state.seeded(seed):
        yield


def drawn(generator: Any) -> int:
    """A seed for everything that takes one."""
    return int(generator.randint(2**31 - 1))
