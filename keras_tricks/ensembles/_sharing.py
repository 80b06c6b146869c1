"""Layers that several members hold: noted when saving, joined again when loading.

Keras writes such a layer once, under the first member. A member that comes back with a
layer of its own in its place would look for weights that are not there.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from keras_tricks import _patterns

# The number of a member, then the number of the child at each level.
Path = list[int]


def find(members: Mapping[int, Any]) -> list[tuple[Path, Path]]:
    """Every layer that an earlier member holds too: its place here, and there.

    Raises:
        ValueError: If such a layer could not be put back into its place.
    """
    first: dict[int, Path] = {}
    found: list[tuple[Path, Path]] = []

    def visit(layer: Any, path: Path, holder: Any) -> None:
        known = first.setdefault(id(layer), path)
        if known is path:
            for position, child in enumerate(_patterns.children(layer)):
                if not isinstance(child, keras.layers.InputLayer):
                    visit(child, [*path, position], layer)
        elif known[0] != path[0]:
            # Twice within one member is Keras's own matter.
            if not (
                holder is None
                or _is_graph(holder)
                or _names(holder, layer)
                or _is_member(holder, layer)
            ):
                raise ValueError(
                    "`models` must hold the layers that they share as attributes to "
                    f"be saved. Received: the layer {layer.name!r}, which "
                    f"{type(holder).__name__} {holder.name!r} holds in a list or "
                    "dictionary; set it as an attribute too"
                )
            found.append((path, known))

    for index, model in members.items():
        visit(model, [index], None)
    return found


def join(members: Mapping[int, Any], shared: list[tuple[Path, Path]]) -> dict[int, Any]:
    """The members with the first one's layer in all places where `find` saw it."""
    if not shared:
        return dict(members)
    # By its id, with the layer itself: an id is not used again while that lives.
    same = {
        id(old): (old, _at(members, known))
        for old, known in ((_at(members, path), known) for path, known in shared)
    }
    done: dict[int, tuple[Any, Any]] = {}

    def renewed(layer: Any) -> Any:
        layer = same[id(layer)][1] if id(layer) in same else layer
        if id(layer) not in done:
            done[id(layer)] = (layer, rebuilt(layer))
        return done[id(layer)][1]

    def holds(layer: Any) -> bool:
        return any(id(c) in same or holds(c) for c in _patterns.children(layer))

    def rebuilt(layer: Any) -> Any:
        if not isinstance(layer, keras.Layer) or not holds(layer):
            return layer
        if not _is_graph(layer):
            for child in _patterns.children(layer):
                _replace(layer, child, renewed(child))
            return layer
        new = keras.models.clone_model(layer, clone_function=renewed)
        if not layer.trainable:
            new.trainable = False
        return new

    return {index: renewed(model) for index, model in members.items()}


def _at(members: Mapping[int, Any], path: Path) -> Any:
    layer = members[path[0]]
    for position in path[1:]:
        layer = _patterns.children(layer)[position]
    return layer


def _is_graph(layer: Any) -> bool:
    return isinstance(layer, keras.Sequential | keras.Function)


def _replace(holder: Any, old: Any, new: Any) -> None:
    if new is old:
        return
    with _open(holder):
        for name in _names(holder, old):
            setattr(holder, name, new)
        if _is_member(holder, old):
            members = holder.models
            holder.models = [new if model is old else model for model in members]
    # Keras goes on holding what an attribute held before. Each layer once, in order.
    held = [new if layer is old else layer for layer in holder._layers]
    holder._layers[:] = {id(layer): layer for layer in held}.values()


@contextlib.contextmanager
def _open(holder: Any) -> Iterator[None]:
    """Keras takes no other layer in a layer that is built."""
    tracker = holder._tracker
    locked = tracker.locked
    tracker.unlock()
    try:
        yield
    finally:
        if locked:
            tracker.lock()


def _is_member(holder: Any, layer: Any) -> bool:
    """Whether the holder is an ensemble, inside a member, that asks this model."""
    is_ensemble = hasattr(holder, "_answer_kind")
    return is_ensemble and any(model is layer for model in holder.models)


def _names(holder: Any, layer: Any) -> list[str]:
    """The attributes that hold a layer."""
    found = []
    for name in dir(holder):
        # Some properties raise before a layer is called.
        with contextlib.suppress(Exception):
            if getattr(holder, name) is layer:
                found.append(name)
    return found
