"""The one place that calls a user's `build`."""

import inspect
from collections.abc import Callable
from typing import Any

import keras

_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


def call(build: Any, name: str = "build", **offered: Any) -> Any:
    """Calls a function with those of the keyword arguments that it accepts.

    Raises:
        TypeError: If it cannot be called, or asks for an argument that is not offered.
    """
    if not callable(build) or isinstance(build, keras.Model):
        raise TypeError(
            f"`{name}` must be a function that returns a new one at each call. "
            f"Received: {name}={build!r}"
        )
    return build(**_accepted(build, name, offered))


def model(build: Callable[..., Any], **offered: Any) -> Any:
    """Calls `build` and checks what it returns.

    Raises:
        TypeError: If it cannot be called, or returns no model.
        ValueError: If the model is not compiled.
    """
    made = call(build, **offered)
    if not isinstance(made, keras.Model):
        raise TypeError(
            "`build` must return a compiled keras.Model. Received: a function that "
            f"returned {made!r}"
        )
    if not made.compiled or made.optimizer is None:
        raise ValueError(
            "`build` must return a model that is compiled with an optimizer. Received: "
            f"the model {made.name!r}, not compiled; call model.compile(optimizer, "
            "loss) in it"
        )
    return made


def _accepted(build: Any, name: str, offered: dict[str, Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(build).parameters
    except ValueError:
        # Some functions written in C do not tell.
        return {}
    kinds = {parameter.kind for parameter in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        taken = set(offered)
    else:
        taken = {
            key
            for key, parameter in parameters.items()
            if parameter.kind is not inspect.Parameter.POSITIONAL_ONLY
        }
    # A positional-only one may share its name with a keyword that `**` takes.
    missing = [
        key
        for key, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and (parameter.kind in _POSITIONAL or parameter.kind.name == "KEYWORD_ONLY")
        and (key not in offered or parameter.kind is parameter.POSITIONAL_ONLY)
    ]
    if missing:
        may = ", ".join(f"`{key}`" for key in offered) or "none"
        raise TypeError(
            f"`{name}` must not need other arguments than those that it is called "
            f"with ({may}, by name). Received: a function that asks for "
            f"`{missing[0]}`; give that one a default value, or use functools.partial"
        )
    return {key: value for key, value in offered.items() if key in taken}
