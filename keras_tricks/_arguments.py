"""One wording for every argument error.

Each check returns the value exactly as given, so that a constructor can store it.
"""

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def _fail(error: type[Exception], name: str, expected: str, value: Any) -> Exception:
    return error(f"`{name}` must be {expected}. Received: {name}={value!r}")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, numbers.Real):
        return math.isfinite(value)
    return False


def positive(name: str, value: T, remedy: str = "") -> T:
    """Checks for a finite number above zero."""
    if not _is_number(value):
        raise _fail(TypeError, name, "a positive number" + remedy, value)
    if value <= 0:  # type: ignore[operator]
        raise _fail(ValueError, name, "a positive number" + remedy, value)
    return value


def positive_integer(name: str, value: T, remedy: str = "") -> T:
    """Checks for an integer of at least one."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise _fail(TypeError, name, "a positive integer" + remedy, value)
    if value < 1:
        raise _fail(ValueError, name, "a positive integer" + remedy, value)
    return value


def within(
    name: str,
    value: T,
    low: float,
    high: float,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> T:
    """Checks for a number in an interval whose ends may be left out."""
    left, right = "[("[open_low], "])"[open_high]
    expected = f"a number in {left}{low:g}, {high:g}{right}"
    if not _is_number(value):
        raise _fail(TypeError, name, expected, value)
    number: Any = value
    above = number > low if open_low else number >= low
    below = number < high if open_high else number <= high
    if not (above and below):
        raise _fail(ValueError, name, expected, value)
    return value


def one_of(name: str, value: T, choices: Iterable[Any]) -> T:
    """Checks for one of a few words, and guesses which one was meant."""
    choices = tuple(choices)
    if value in choices:
        return value
    words = ", ".join(repr(choice) for choice in choices)
    near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], 1)
    hint = f". Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"`{name}` must be one of {words}. Received: {name}={value!r}{hint}"
    )
