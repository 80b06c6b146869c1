"""One wording for every argument error.

Each check returns the value exactly as given, so that a constructor can store it.
"""

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any, TypeVar

import keras

T = TypeVar("T")


def _fail(error: type[Exception], name: str, expected: str, value: Any) -> Exception:
    return error(f"`{name}` must be {expected}. Received: {name}={value!r}")


def _check_number(name: str, expected: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise _fail(TypeError, name, expected, value)
    if not math.isfinite(value):
        raise _fail(ValueError, name, expected, value)
    return value


def _check_integer(name: str, expected: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise _fail(TypeError, name, expected, value)
    return value


def positive(name: str, value: T, remedy: str = "") -> T:
    """Checks for a finite number above zero."""
    if _check_number(name, "a positive number" + remedy, value) <= 0:
        raise _fail(ValueError, name, "a positive number" + remedy, value)
    return value


def positive_integer(name: str, value: T, remedy: str = "") -> T:
    """Checks for an integer of at least one."""
    if _check_integer(name, "a positive integer" + remedy, value) < 1:
        raise _fail(ValueError, name, "a positive integer" + remedy, value)
    return value


def integer(name: str, value: T, low: int, high: int) -> T:
    """Checks for an integer in a closed range."""
    expected = f"an integer from {low} to {high}"
    if not low <= _check_integer(name, expected, value) <= high:
        raise _fail(ValueError, name, expected, value)
    return value


def not_negative(name: str, value: T) -> T:
    """Checks for a finite number of at least zero."""
    if _check_number(name, "a number of at least 0", value) < 0:
        raise _fail(ValueError, name, "a number of at least 0", value)
    return value


def below(name: str, value: T, bound_name: str, bound: Any) -> T:
    """Checks that one number, already known to be one, lies below another."""
    if not value < bound:
        raise _fail(ValueError, name, f"below `{bound_name}`, {bound!r}", value)
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
    number = _check_number(name, expected, value)
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


def text(name: str, value: T) -> T:
    """Checks for a string that is not empty."""
    if not isinstance(value, str):
        raise _fail(TypeError, name, "a string", value)
    if not value:
        raise _fail(ValueError, name, "a string that is not empty", value)
    return value


def compiled_model(name: str, value: Any) -> Any:
    """Checks for a Keras model that has an optimizer."""
    if not isinstance(value, keras.Model):
        raise _fail(TypeError, name, "a compiled keras.Model", value)
    if not value.compiled or value.optimizer is None:
        raise ValueError(
            f"`{name}` must be compiled with an optimizer. Received: {name} "
            f"{value.name!r}, not compiled; call model.compile(optimizer, loss) first"
        )
    return value


def built_model(name: str, value: Any) -> Any:
    """Checks for a Keras model that has its weights."""
    if not isinstance(value, keras.Model):
        raise _fail(TypeError, name, "a built keras.Model", value)
    if not value.built:
        raise ValueError(
            f"`{name}` must be built. Received: {name} {value.name!r}, not built; call "
            "it on a batch of data, or model.build(input_shape), first"
        )
    return value
