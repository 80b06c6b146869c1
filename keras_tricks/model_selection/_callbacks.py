"""Callbacks of a fold's own: they remember the training that they have seen."""

import copy
from typing import Any

import keras

from keras_tricks import _build


def check(callbacks: Any) -> None:
    """Refuses what is neither a list of callbacks nor a function that makes one.

    Raises:
        TypeError: If it is something else.
    """
    fine = callbacks is None or callable(callbacks)
    if isinstance(callbacks, list | tuple):
        fine = all(isinstance(item, keras.callbacks.Callback) for item in callbacks)
    if isinstance(callbacks, keras.callbacks.Callback):
        fine = True
    if not fine or isinstance(callbacks, keras.callbacks.CallbackList):
        raise TypeError(
            "`callbacks` must be a list of callbacks, or a function that returns one. "
            f"Received: callbacks={callbacks!r}"
        )


def is_made(callbacks: Any) -> bool:
    """Whether they are made by a function."""
    return callable(callbacks) and not isinstance(callbacks, keras.callbacks.Callback)


def listed(callbacks: Any) -> list[Any]:
    """A list of what is given as one, or as a single callback, or as None."""
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]


def own(callbacks: Any, **offered: Any) -> list[Any]:
    """New callbacks from the function, or copies of those in the list.

    Raises:
        TypeError: If one cannot be copied.
    """
    if is_made(callbacks):
        callbacks = _build.call(callbacks, "callbacks", **offered)
        check(callbacks)
        return listed(callbacks)
    return [_copied(callback) for callback in listed(callbacks)]


def _copied(callback: Any) -> Any:
    try:
        alone = copy.copy(callback)
        # The model of an earlier training is not copied with it.
        keras.callbacks.Callback.set_model(alone, None)
        return copy.deepcopy(alone)
    except Exception as error:
        raise TypeError(
            "`callbacks` must be a function that returns new ones where one cannot be "
            f"copied for every fold. Received: {callback!r} ({error})"
        ) from error


def described(callbacks: Any) -> list[str]:
    """Their kinds, for a file."""
    if is_made(callbacks):
        return [getattr(callbacks, "__qualname__", type(callbacks).__qualname__)]
    return [type(callback).__qualname__ for callback in listed(callbacks)]
