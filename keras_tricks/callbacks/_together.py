"""Which callbacks are in the same `fit`: Keras does not tell one of the others."""

import weakref
from typing import Any

_JOINED: weakref.WeakSet[Any] = weakref.WeakSet()


def join(callback: Any) -> list[Any]:
    """The callbacks that have joined before in the `fit` that begins just now."""
    before = others(callback)
    _JOINED.add(callback)
    return before


def others(callback: Any) -> list[Any]:
    """The other callbacks of the `fit` that the callback is in, in no order.

    A `fit` gives all of its callbacks the same dict; a loop of one's own may give none.
    """
    params = callback.params
    return [
        other
        for other in _JOINED
        if other is not callback and params is not None and other.params is params
    ]
