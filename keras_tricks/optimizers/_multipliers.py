"""From patterns and layer classes to one multiplier for each variable."""

import difflib
import re
import warnings
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from keras_tricks import _arguments, _patterns
from keras_tricks._errors import NoEffectWarning

_NUMBERS = re.compile(r"_\d+(?=/|$)")


def check(multipliers: Any, by_type: Any) -> None:
    """Refuses what can never become multipliers.

    Raises:
        TypeError: If an argument is no dict, or a key or value has the wrong type.
        ValueError: If a multiplier is negative or a pattern no regular expression.
    """
    for name, given in (("multipliers", multipliers), ("by_type", by_type)):
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(
                f"`{name}` must be a dict of multipliers, or None. "
                f"Received: {name}={given!r}"
            )
        for key, value in (given or {}).items():
            _arguments.not_negative(f"{name}[{key!r}]", value)
    _patterns.compiled("multipliers", multipliers or {})
    for key in by_type or {}:
        if not isinstance(key, type | str):
            raise TypeError(
                "`by_type` must have layer classes, or their names, as keys. "
                f"Received: {key!r}"
            )


def resolve(
    variables: Any,
    model: Any,
    multipliers: Mapping[str, float] | None,
    by_type: Mapping[Any, float] | None,
    default: float,
) -> list[float]:
    """The multiplier of each variable; `model` holds them, or is None.

    Raises:
        ValueError: If a pattern or class names nothing, or two patterns disagree.
    """
    paths, layers = _places(variables, model)
    known = [*layers, *(path for own in paths for path in own)]
    named = _patterns.values("multipliers", multipliers or {}, known)
    typed = _typed(layers, by_type or {})
    _warn_without_effect(multipliers or {}, known, paths)
    return [
        _one("multipliers", variable, own, named)
        if any(path in named for path in own)
        else _one("by_type", variable, own, typed)
        if any(path in typed for path in own)
        else float(default)
        for variable, own in zip(variables, paths, strict=True)
    ]


def _warn_without_effect(
    multipliers: Mapping[str, float], known: list[str], paths: list[list[str]]
) -> None:
    trained = {path for own in paths for path in own}
    for pattern, covered in _patterns.matching(
        "multipliers", multipliers, known
    ).items():
        if trained.isdisjoint(covered):
            warnings.warn(
                f"LayerwiseLearningRate has no effect on {pattern!r}: the layers that "
                "it names have no trainable weights (a frozen layer?).",
                NoEffectWarning,
                stacklevel=2,
            )


def places(variables: Any, model: Any) -> list[str]:
    """Where each variable is, but for the numbers that Keras gives automatically.

    By this a saved list of numbers, one for each variable, is recognised.
    """
    paths, _ = _places(variables, model)
    return [_NUMBERS.sub("", own[0]) if own else "" for own in paths]


def by_name(by_type: Mapping[Any, float]) -> dict[str, float]:
    """The same with the names of the classes, which JSON can hold."""
    return {k if isinstance(k, str) else k.__name__: v for k, v in by_type.items()}


def checked(resolved: Any) -> Any:
    """Refuses what no saved optimizer holds as its multipliers by variable.

    Raises:
        ValueError: If it is damaged.
    """
    if resolved is None:
        return None
    try:
        values, places = resolved["multipliers"], resolved["places"]
        for value in values:
            _arguments.not_negative("multiplier", value)
        if len(values) == len(places):
            return {**resolved, "multipliers": list(values), "places": list(places)}
        problem = f"{len(values)} multipliers for {len(places)} variables"
    except (TypeError, KeyError, ValueError) as error:
        problem = repr(error)
    raise ValueError(f"`resolved` must be what `get_config` gave. Received: {problem}")


def covered(
    name: str, patterns: Iterable[str], variables: Any, model: Any
) -> list[bool]:
    """Whether one of the patterns covers each variable.

    Raises:
        TypeError: If a pattern is not a string.
        ValueError: If one is not a regular expression, or covers no variable.
    """
    paths, layers = _places(variables, model)
    known = [path for own in paths for path in own]
    # First among all layers, whose names make the better hint.
    _patterns.matching(name, patterns, [*layers, *known])
    hit = set(chain(*_patterns.matching(name, patterns, known).values()))
    return [not hit.isdisjoint(own) for own in paths]


def _places(variables: Any, model: Any) -> tuple[list[list[str]], dict[str, Any]]:
    """The layer paths of each variable, and all layers by path."""
    if model is None:
        # Variables without a model: their own paths are all there is.
        return [[v.path.rpartition("/")[0]] for v in variables], {}
    owners = {id(v): paths for v, paths in _patterns.variable_paths(model)}
    return [owners[id(v)] for v in variables], dict(_patterns.layer_paths(model))


def _one(
    name: str, variable: Any, paths: list[str], values: Mapping[str, float]
) -> float:
    """The value that all places of a variable agree on."""
    found = {path: values[path] for path in paths if path in values}
    if len(set(found.values())) > 1:
        raise ValueError(
            f"`{name}` must give a shared layer one value. Received: {found} for "
            f"{variable.name!r}"
        )
    return float(next(iter(found.values())))


def _typed(layers: Mapping[str, Any], by_type: Mapping[Any, float]) -> dict[str, float]:
    """The value of each layer by its nearest class, or by that of a layer around it."""
    found: dict[str, float] = {}
    used = set()
    for path, layer in layers.items():
        parent = path.rpartition("/")[0]
        if parent in found:
            found[path] = found[parent]
        kinds = type(layer).__mro__
        keys = [kind if kind in by_type else kind.__name__ for kind in kinds]
        hits = [key for key in keys if key in by_type]
        used.update(hits)
        if hits:
            found[path] = by_type[hits[0]]
    for key in by_type:
        if key not in used:
            name = key if isinstance(key, str) else key.__name__
            classes = sorted({type(layer).__name__ for layer in layers.values()})
            near = difflib.get_close_matches(name, classes, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"`by_type` must name classes of the model's layers. Received: "
                f"{name!r}, which none of {', '.join(classes)} is.{hint}"
            )
    return found
