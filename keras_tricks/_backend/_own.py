"""Attributes of an object for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NONE = object()


@contextmanager
def attributes(thing: Any, **values: Any) -> Iterator[None]:
    """Gives the object other attributes, and its own back however the block ends."""
    # Not by `setattr`: Keras would look for variables in them, or refuse.
    own = vars(thing)
    before = {name: own.get(name, _NONE) for name in values}
    own.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is _NONE:
                own.pop(name, None)
            else:
                own[name] = value
