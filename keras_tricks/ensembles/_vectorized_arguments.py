"""What a vectorized ensemble is given for each member."""

from typing import Any, NamedTuple

import numpy as np
from keras import ops


class Given(NamedTuple):
    """What was given for each member."""

    seeds: Any
    learning_rates: Any
    weight_decays: Any


class Value:
    """An initializer that gives a known array."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return ops.convert_to_tensor(np.array(self._value), dtype)


def per_member(name: str, values: Any, members: int, integers: bool = False) -> Any:
    """Checks for None or one number per member."""
    if values is None:
        return None
    kind = "integer" if integers else "number of at least 0"
    expected = f"None or {members} values, one {kind} per member"
    array = np.asarray(values)
    if array.dtype.kind not in ("iu" if integers else "iuf"):
        raise TypeError(f"`{name}` must be {expected}. Received: {name}={values!r}")
    if array.shape != (members,) or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={values!r}")
    return values


def plain(values: Any) -> Any:
    """As a configuration holds it."""
    return None if values is None else [float(value) for value in values]
