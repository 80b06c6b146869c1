"""The classes and functions of a user that a configuration only names."""

import types
from collections.abc import Mapping
from typing import Any

import keras

# What `fit` compiles from the class of the model.
_COMPILED = ("train_function", "test_function", "predict_function")


def named(thing: Any) -> dict[str, Any]:
    """All that Keras objects inside `thing` use and Keras itself does not have."""
    found: dict[str, Any] = {}
    _search(thing, found, set())
    return found


def _search(thing: Any, found: dict[str, Any], seen: set[int]) -> None:
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Mapping):
        for part in thing.values():
            _search(part, found, seen)
    elif isinstance(thing, list | tuple | set):
        for part in thing:
            _search(part, found, seen)
    elif isinstance(thing, types.FunctionType):
        # Keras saves the code of a lambda itself.
        if thing.__name__ != "<lambda>":
            _note(thing, found)
    elif isinstance(thing, type):
        if hasattr(thing, "from_config"):
            _note(thing, found)
    elif hasattr(thing, "get_config") and hasattr(thing, "__dict__"):
        _note(type(thing), found)
        for name, part in vars(thing).items():
            # Keras puts wrapped methods on the object.
            method = isinstance(part, types.FunctionType) and hasattr(type(thing), name)
            if name not in _COMPILED and not method:
                _search(part, found, seen)


def _note(thing: Any, found: dict[str, Any]) -> None:
    if thing.__module__.partition(".")[0] in ("keras", "keras_tricks", "builtins"):
        return
    registered = keras.saving.get_registered_name(thing)
    if registered != thing.__name__ and "<locals>" in thing.__qualname__:
        # Pickle could not find it, while Keras can.
        return
    found[registered] = found[thing.__name__] = thing
