"""Which value of a source belongs to which weight of a model, by names and shapes."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

_NUMBER = re.compile(r"_\d+\Z")
_DIRECTION = re.compile(r"\A(forward|backward)_")


@dataclass(frozen=True)
class Slot:
    """One weight, of a model or of a file.

    Attributes:
        paths: The layers that hold it itself, from the model down, joined by `/`.
        index: Its place among the layer's own weights.
        shape: Its shape.
        dtype: Its type, by the name that Keras gives it.
        name: Its own name, or None where the source gives weights numbers only.
        kind: The class of the first layer of its path in snake case, or None where
            the source does not say.
        loose: Whether layers may be left out of the path, but for the first.
        read: Returns the value as an array of its own.
    """

    paths: tuple[str, ...]
    index: int
    shape: tuple[int, ...]
    dtype: str
    name: str | None
    kind: str | None
    loose: bool
    read: Callable[[], Any]

    def __str__(self) -> str:
        name = str(self.index) if self.name is None else self.name
        return f"{self.paths[0]}/{name}".lstrip("/")


Pairs = dict[int, int]


def by_path(wanted: Sequence[Slot], given: Sequence[Slot]) -> Pairs:
    """The given slot that has the place of each wanted one, whatever its shape.

    The names that Keras makes (`dense_3`) count up within a process. Where neither
    side has all of those of the other, the first `Dense` of a layer is taken for the
    first, and so on.
    """
    ours, theirs = _automatic_paths(wanted), _automatic_paths(given)
    if not (ours <= theirs or theirs <= ours):
        wanted, given = _renumbered(wanted), _renumbered(given)
    places: dict[tuple[str, str | int], int] = {}
    for position, slot in enumerate(wanted):
        for path in slot.paths:
            places.setdefault((path, slot.index), position)
            if slot.name is not None:
                places.setdefault((path, slot.name), position)
    pairs: Pairs = {}
    for source, slot in enumerate(given):
        key = slot.index if slot.name is None else slot.name
        for path in slot.paths:
            if (path, key) in places:
                pairs.setdefault(places[path, key], source)
    used = set(pairs.values())
    for source, slot in enumerate(given):
        if slot.loose and source not in used:
            for position in _loosely(slot, wanted, pairs):
                pairs[position] = source
    return pairs


def _loosely(slot: Slot, wanted: Sequence[Slot], taken: Pairs) -> list[int]:
    """The first free place below the same layer, one of the same shape if any."""
    (path,) = slot.paths
    fitting = [
        position
        for position, other in enumerate(wanted)
        if position not in taken
        and slot.name == other.name
        and any(_leaves_out(path, whole) for whole in other.paths)
    ]
    same = [position for position in fitting if wanted[position].shape == slot.shape]
    return (same or fitting)[:1]


def _leaves_out(short: str, whole: str) -> bool:
    first, *rest = short.split("/")
    there, *layers = whole.split("/")
    remaining = iter(layers)
    return first == there and all(name in remaining for name in rest)


def by_shape(wanted: Sequence[Slot], given: Sequence[Slot], taken: Pairs) -> Pairs:
    """The pairs of equal shape among the slots that are still free, in their order.

    Whole layers first, those whose weights all have the same shapes. Among them those
    of one class first, and with the same names below their first layer: a file has
    classes, and the parts of a layer, in an order of its own.
    """
    pairs = dict(taken)
    for key in (_alike, _named_alike, _shapes):
        layers = (
            _free_layers(wanted, pairs, key),
            _free_layers(given, _by(pairs), key),
        )
        for places, sources in _in_order(*layers):
            pairs.update(zip(places, sources, strict=True))
    numbered = any(slot.name is None for slot in given)
    singles = (_free(wanted, pairs, numbered), _free(given, _by(pairs), numbered))
    pairs.update(_in_order(*singles))
    return pairs


def _by(pairs: Pairs) -> Pairs:
    return {source: position for position, source in pairs.items()}


def _shapes(layer: Sequence[Slot]) -> Any:
    return tuple(slot.shape for slot in layer)


def _named_alike(layer: Sequence[Slot]) -> Any:
    below = layer[0].paths[0].split("/")[1:]
    return _shapes(layer), tuple(_base(name) or name for name in below)


def _alike(layer: Sequence[Slot]) -> Any:
    return _named_alike(layer), layer[0].kind


def _free_layers(
    slots: Sequence[Slot], taken: Pairs, key: Callable[[Sequence[Slot]], Any]
) -> list[tuple[Any, list[int]]]:
    """The positions of the weights of each layer of which none is taken."""
    layers: dict[str, list[int]] = defaultdict(list)
    for position, slot in enumerate(slots):
        layers[slot.paths[0]].append(position)
    return [
        (key([slots[position] for position in layer]), layer)
        for layer in layers.values()
        if not any(position in taken for position in layer)
    ]


def _free(slots: Sequence[Slot], taken: Pairs, numbered: bool) -> list[tuple[Any, int]]:
    return [
        ((slot.shape, slot.index if numbered else slot.name), position)
        for position, slot in enumerate(slots)
        if position not in taken
    ]


def _in_order(ours: Iterable[Any], theirs: Iterable[Any]) -> list[Any]:
    """Pairs of what has the same key, the first with the first, and so on."""
    waiting: dict[Any, list[Any]] = defaultdict(list)
    for key, thing in theirs:
        waiting[key].append(thing)
    queues = {key: iter(things) for key, things in waiting.items()}
    pairs = []
    for key, thing in ours:
        match = next(queues.get(key, iter(())), None)
        if match is not None:
            pairs.append((thing, match))
    return pairs


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", name).lower()


_AUTOMATIC = {
    snake_case(name)
    for name in [*dir(keras.layers), "Functional", "Sequential"]
    if name[:1].isupper()
}


def _base(name: str) -> str | None:
    """What Keras has numbered to make the name, or None for a name of the user's."""
    base = _NUMBER.sub("", name)
    return base if _DIRECTION.sub("", base) in _AUTOMATIC else None


def _automatic_paths(slots: Sequence[Slot]) -> set[str]:
    paths = {path for slot in slots for path in slot.paths}
    return {path for path in paths if any(_base(n) for n in path.split("/") if n)}


def _renumbered(slots: Sequence[Slot]) -> list[Slot]:
    """The slots with the automatic names counted from 0 within their parents."""
    known = {"": ""}
    counts: dict[tuple[str, str], int] = defaultdict(int)

    def renamed(path: str) -> str:
        if path not in known:
            above, _, name = path.rpartition("/")
            parent, base = renamed(above), _base(name)
            if base is not None:
                counts[parent, base] += 1
                name = f"{base}#{counts[parent, base]}"
            known[path] = f"{parent}/{name}" if above else name
        return known[path]

    return [replace(slot, paths=tuple(map(renamed, slot.paths))) for slot in slots]
