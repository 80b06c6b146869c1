"""The one place that matches patterns to layers and variables.

A pattern is a regular expression that must match a layer's whole path: the names of
the layers from the model down, joined by `/`, without the model's own name. It covers
everything below what it names.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import keras

T = TypeVar("T")

_SHOWN = 20


def layer_paths(model: Any) -> list[tuple[str, Any]]:
    """Every layer below the model with its path, parents first.

    A layer that the model holds in two places has two paths. Input layers have none:
    they hold nothing, and Keras gives them other names when it loads a model.
    """
    return list(_below(model, "", ()))


def children(layer: Any) -> list[Any]:
    """The layers that a layer holds itself: a model's in the order of running them."""
    # `layers` is public, but only models have it: a Bidirectional holds layers too.
    held = layer._flatten_layers(include_self=False, recursive=False)
    ordered = {id(child): child for child in getattr(layer, "layers", ())}
    for child in held:
        ordered.setdefault(id(child), child)
    return list(ordered.values())


def _below(layer: Any, prefix: str, above: tuple[Any, ...]) -> Iterator[Any]:
    for child in children(layer):
        recursive = any(child is parent for parent in above)
        if recursive or isinstance(child, keras.layers.InputLayer):
            continue
        path = prefix + child.name
        yield path, child
        yield from _below(child, f"{path}/", (*above, child))


def variable_paths(model: Any) -> list[tuple[Any, list[str]]]:
    """Every variable of the model with the paths of the layers that hold it itself.

    The path of a variable that the model holds without a layer is empty.
    """
    owners: dict[int, tuple[Any, list[str]]] = {
        id(variable): (variable, []) for variable in model.variables
    }
    for path, layer in [("", model), *layer_paths(model)]:
        below = [
            id(variable)
            for child in layer._flatten_layers(include_self=False, recursive=False)
            for variable in child.variables
        ]
        for variable in layer.variables:
            if id(variable) not in below and id(variable) in owners:
                owners[id(variable)][1].append(path)
    return list(owners.values())


def compiled(name: str, patterns: Iterable[str]) -> dict[str, re.Pattern[str]]:
    """The patterns as regular expressions.

    Raises:
        TypeError: If one is not a string.
        ValueError: If one is not a regular expression.
    """
    found = {}
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(
                f"`{name}` must name layers by regular expressions. "
                f"Received: {pattern!r}"
            )
        try:
            found[pattern] = re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"`{name}` must name layers by regular expressions. Received: "
                f"{pattern!r}, which is none ({error}); escape special characters "
                "with re.escape"
            ) from error
    return found


def covers(pattern: re.Pattern[str], path: str) -> bool:
    """Whether the pattern names the layer at `path`, or one above it."""
    parts = path.split("/")
    return any(
        pattern.fullmatch("/".join(parts[: end + 1])) for end in range(len(parts))
    )


def matching(
    name: str, patterns: Iterable[str], paths: Iterable[str]
) -> dict[str, list[str]]:
    """The paths that each pattern covers.

    Raises:
        TypeError: If a pattern is not a string.
        ValueError: If a pattern is not a regular expression, or covers no path.
    """
    paths = list(dict.fromkeys(paths))
    found = {}
    for text, pattern in compiled(name, patterns).items():
        found[text] = [path for path in paths if covers(pattern, path)]
        if not found[text]:
            raise ValueError(_unmatched(name, text, paths))
    return found


def _unmatched(name: str, pattern: str, paths: list[str]) -> str:
    known = paths + [path.rsplit("/", 1)[-1] for path in paths]
    near = difflib.get_close_matches(pattern, known, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    nested = [path for path in paths if path.endswith(f"/{pattern}")]
    if nested:
        hint = f" Did you mean {nested[0]!r}?"
    shown = ", ".join(paths[:_SHOWN]) + (", ..." if len(paths) > _SHOWN else "")
    return (
        f"`{name}` must name layers of the model. Received: {pattern!r}, which matches "
        f"none of {shown}.{hint}"
    )


def values(name: str, patterns: Mapping[str, T], paths: Iterable[str]) -> dict[str, T]:
    """The value that the patterns give to each path, where they give one.

    Raises:
        ValueError: If a pattern covers no path, or two give one path different values.
    """
    return _agreed(
        patterns,
        matching(name, patterns, paths),
        lambda one, other, path: (
            f"`{name}` must give each layer one value. Received: "
            f"{one!r}: {patterns[one]} and {other!r}: {patterns[other]}, "
            f"which both cover {path!r}; narrow one of them"
        ),
    )


def _agreed(
    given: Mapping[str, T],
    covered: Mapping[str, list[str]],
    conflict: Callable[[str, str, str], str],
) -> dict[str, T]:
    """What the patterns give to each path that they cover, if they all agree."""
    first: dict[str, str] = {}
    for pattern, paths in covered.items():
        for path in paths:
            one = first.setdefault(path, pattern)
            if given[one] != given[pattern]:
                raise ValueError(conflict(one, pattern, path))
    return {path: given[pattern] for path, pattern in first.items()}


def layers(name: str, patterns: str | Iterable[str], model: Any) -> dict[str, Any]:
    """The layers that the patterns cover, by path.

    Raises:
        TypeError: If a pattern is not a string.
        ValueError: If a pattern is not a regular expression, or covers no layer.
    """
    patterns = [patterns] if isinstance(patterns, str) else patterns
    by_path = dict(layer_paths(model))
    given = list(patterns) if isinstance(patterns, Iterable) else None
    if not given:
        raise (TypeError if given is None else ValueError)(
            f"`{name}` must be a pattern of layer names, or a list of such. "
            f"Received: {name}={patterns!r}; "
            + (
                f"give its path, {_path_of(patterns, by_path)!r}"
                if isinstance(patterns, keras.Layer)
                else '".*" names all'
            )
        )
    patterns = given
    covered = matching(name, patterns, by_path).values()
    chosen = {path for paths in covered for path in paths}
    return {path: layer for path, layer in by_path.items() if path in chosen}


def _path_of(layer: Any, by_path: Mapping[str, Any]) -> str:
    found = [path for path, other in by_path.items() if other is layer]
    return found[0] if found else str(layer.name)


def check_groups(name: str, groups: Any) -> list[list[str]]:
    """The groups as lists of patterns; one pattern may stand for a list of one.

    Raises:
        TypeError: If it is not a list of patterns, or of lists of patterns.
        ValueError: If it is empty, names a pattern twice, or one is none.
    """
    expected = "a list of patterns, or of lists of patterns, from the lowest layers up"
    if not isinstance(groups, list | tuple):
        raise TypeError(f"`{name}` must be {expected}. Received: {name}={groups!r}")
    found = [[group] if isinstance(group, str) else group for group in groups]
    for group in found:
        if not isinstance(group, list | tuple):
            raise TypeError(f"`{name}` must be {expected}. Received: {group!r} in it")
        compiled(name, group)
    if not found or not all(found):
        raise ValueError(
            f"`{name}` must be {expected}, none of them empty. "
            f"Received: {name}={groups!r}"
        )
    everything = [pattern for group in found for pattern in group]
    twice = [pattern for pattern in everything if everything.count(pattern) > 1]
    if twice:
        raise ValueError(
            f"`{name}` must name each pattern once. Received: {twice[0]!r} "
            f"{len(twice)} times"
        )
    return [list(group) for group in found]


def grouped(name: str, groups: Any, paths: Iterable[str]) -> dict[str, int]:
    """The position of the group that covers each path, where one does.

    Raises:
        TypeError: If it is not a list of patterns, or of lists of patterns.
        ValueError: If a pattern covers no path, or two groups cover one path.
    """
    positions = {
        pattern: position
        for position, group in enumerate(check_groups(name, groups))
        for pattern in group
    }
    return _agreed(
        positions,
        matching(name, positions, paths),
        lambda one, other, path: (
            f"`{name}` must put each layer into one group. Received: {one!r} "
            f"in group {positions[one] + 1} and {other!r} in group "
            f"{positions[other] + 1}, which both cover {path!r}; narrow one of them"
        ),
    )
