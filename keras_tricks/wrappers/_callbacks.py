"""The callbacks of one fit."""

import copy
from typing import Any

import keras

from keras_tricks import _build


def fresh(given: Any) -> list[Any] | None:
    """Copies, because a callback remembers; those that a function gives, as is.

    Raises:
        TypeError: If they are no callbacks.
    """
    if given is None:
        return None
    if callable(given) and not isinstance(given, type | keras.callbacks.Callback):
        return _listed(_build.call(given, "callbacks"), "a function that returned ")
    return copy.deepcopy(_listed(given, ""))


def _listed(found: Any, source: str) -> list[Any]:
    if isinstance(found, keras.callbacks.Callback):
        return [found]
    if isinstance(found, list | tuple):
        wrong = [x for x in found if not isinstance(x, keras.callbacks.Callback)]
        if not wrong:
            return list(found)
        remedy = "; call the class" if isinstance(wrong[0], type) else ""
        received = f"{source}a list with {wrong[0]!r}{remedy}"
    else:
        remedy = "; call the class" if isinstance(found, type) else ""
        received = f"{source}{found!r}{remedy}"
    raise TypeError(
        "`callbacks` must be None, a keras.callbacks.Callback, a list of them, or a "
        f"function that returns one. Received: {received}"
    )
