"""Any value as something that JSON can hold, within bounds."""

import dataclasses
import inspect
import math
import numbers
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import keras
import numpy as np

MOST_VALUES, DEEPEST, LONGEST = 200_000, 60, 20_000
# An array of a setting is small; a longer one is described.
_LONGEST_ARRAY = 10_000
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def plain(value: Any) -> Any:
    """The value as dicts, lists, strings and numbers.

    A number that is not finite becomes "nan", "inf" or "-inf"; a function its name; an
    object with a config that config; and what nobody can describe its `repr`.
    """
    return _Walk().of(value, 0)


class _Walk:
    def __init__(self) -> None:
        self.left = MOST_VALUES
        self.above: set[int] = set()

    def of(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > DEEPEST:
            return "..."
        simple = _simple(value)
        if simple is not _NOT:
            return simple
        if id(value) in self.above:
            return "... itself"
        self.above.add(id(value))
        try:
            return self._container(value, depth + 1)
        finally:
            self.above.discard(id(value))

    def _container(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self._dict(value, depth)
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            return self._dict(value._asdict(), depth)
        if isinstance(value, set | frozenset):
            value = sorted(value, key=str)
        if isinstance(value, list | tuple | range):
            held = []
            for item in value:
                if self.left < 0:
                    held.append("...")
                    break
                held.append(self.of(item, depth))
            return held
        for give in (_fields, _own_dict, _rows, _config):
            found = give(value)
            if found is not _NOT:
                return self.of(found, depth)
        return described(value)

    def _dict(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        held: dict[str, Any] = {}
        for key, item in value.items():
            if self.left < 0:
                held["..."] = "..."
                break
            held[_text(key if isinstance(key, str) else str(key))] = self.of(
                item, depth
            )
        return held


_NOT = object()


def _simple(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        # More digits than Python reads back.
        return int(value) if abs(int(value)) < 10**300 else described(value)
    if isinstance(value, numbers.Real):
        return number(float(value))
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, PurePath):
        return _text(str(value))
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, type) or inspect.isroutine(value):
        return _text(f"{value.__module__}.{value.__qualname__}")
    if isinstance(value, np.ndarray) or hasattr(value, "__array__"):
        return _array(value)
    return _NOT


def number(value: float) -> float | str:
    """A float, or its name where JSON has none for it."""
    return value if math.isfinite(value) else str(value)


def _array(value: Any) -> Any:
    shape = tuple(getattr(value, "shape", None) or ())
    size = math.prod(shape)
    if not hasattr(value, "shape") or size > _LONGEST_ARRAY:
        return described(value)
    try:
        array = np.asarray(keras.ops.convert_to_numpy(value))
        return plain(array.tolist()) if array.dtype != object else described(value)
    except Exception:
        return described(value)


def _fields(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: getattr(value, name, None) for name in names}
    return _NOT


def _own_dict(value: Any) -> Any:
    return _called(value, "to_dict")


def _rows(value: Any) -> Any:
    """The rows of a report, such as `probes` and `lint` return."""
    rows, summary = getattr(value, "rows", None), getattr(value, "summary", None)
    if isinstance(rows, list) and isinstance(summary, str):
        return {"summary": summary, "rows": rows}
    return _NOT


def _config(value: Any) -> Any:
    config = _called(value, "get_config")
    if isinstance(config, dict):
        return {"class_name": type(value).__name__, "config": config}
    return _NOT


def _called(value: Any, name: str) -> Any:
    try:
        return getattr(value, name)()
    except Exception:
        # Code of the user's, which may do anything: then it is described.
        return _NOT


def described(value: Any) -> str:
    """A `repr` that is the same in another process, if the object has one."""
    kind = type(value).__name__
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"<{kind} of shape {shape}, {getattr(value, 'dtype', '')}>"
    try:
        return _text(_ADDRESS.sub("", repr(value))[:1000])
    except Exception:
        return f"<{kind}>"


def _text(value: str) -> str:
    return value if len(value) <= LONGEST else value[:LONGEST] + "..."
