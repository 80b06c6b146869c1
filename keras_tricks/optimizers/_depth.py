"""How far below the output each layer is, as a person would count."""

import graphlib
import re
from collections.abc import Callable
from typing import Any

import keras

from keras_tricks import _patterns
from keras_tricks.optimizers._blocks import Parts, Unit, own_weights

_SHOWN = 5


def multipliers(
    model: Any, groups: Any, of_distance: Callable[[int], float]
) -> dict[str, float]:
    """Patterns, from the lowest layers up, with the number of their distance.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the model is not built, or a layer is in no group or in two.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: model={model!r}")
    if groups is not None:
        _patterns.check_groups("groups", groups)
    if not model.built:
        raise ValueError(
            f"`model` must be built. Received: model {model.name!r}, not built; begin "
            "it with keras.Input, or call it on a batch first"
        )
    if not model.trainable_variables:
        raise ValueError(
            f"`model` must have weights to train. Received: model {model.name!r}, "
            "without any; set `trainable = True` on what is to learn"
        )
    if groups is not None:
        return _by_groups(model, groups, of_distance)
    found = distances(model)
    order = sorted(found, key=lambda path: -found[path])
    return {re.escape(path): float(of_distance(found[path])) for path in order}


def _by_groups(
    model: Any, groups: Any, of_distance: Callable[[int], float]
) -> dict[str, float]:
    paths = ["", *(path for path, _ in _patterns.layer_paths(model))]
    positions = _patterns.grouped("groups", groups, paths)
    trainable = {id(variable) for variable in model.trainable_variables}
    missing = dict.fromkeys(
        repr(owners[0] if owners else "")
        for variable, owners in _patterns.variable_paths(model)
        if id(variable) in trainable and not any(path in positions for path in owners)
    )
    if missing:
        names = list(missing)
        more = ", ..." if len(names) > _SHOWN else ""
        raise ValueError(
            "`groups` must name every layer that can be trained. Received: groups "
            f"without {', '.join(names[:_SHOWN])}{more}; add them to a group"
        )
    lists = _patterns.check_groups("groups", groups)
    return {
        pattern: float(of_distance(len(lists) - 1 - position))
        for position, patterns in enumerate(lists)
        for pattern in patterns
    }


def distances(model: Any) -> dict[str, int]:
    """Each trainable part of the model by path: 0 for the head, n + 1 for the stem."""
    parts = Parts(model)
    graph = _Graph(model, parts)
    found = graph.by_block() if parts.in_blocks else graph.by_layer()
    for one, other in _sharing(parts.units):
        found[one] = found[other] = max(found[one], found[other])
    if own_weights(model):
        found[""] = max(found.values(), default=0)
    return found


def _sharing(units: dict[str, Unit]) -> list[tuple[str, str]]:
    """Pairs of parts that hold the same weight: it can have one rate only."""
    first: dict[int, str] = {}
    return [
        (path, first[id(variable)])
        for path, unit in units.items()
        for variable in unit.layer.trainable_variables
        if first.setdefault(id(variable), path) != path
    ]


class _Graph:
    """Every use of a unit, from the input to the output, with the uses that feed it."""

    def __init__(self, model: Any, parts: Parts) -> None:
        self.uses: list[Unit] = []
        self.fed_by: list[set[int]] = []
        self._units = parts.units
        self._walk(model, "", set())
        self.feeds: list[set[int]] = [set() for _ in self.uses]
        for use, sources in enumerate(self.fed_by):
            for source in sources:
                self.feeds[source].add(use)
        # A layer that the model holds, but not in its graph.
        used = {unit.path for unit in self.uses}
        self._unused = [path for path in self._units if path not in used]

    def _walk(self, container: Any, prefix: str, sources: set[int]) -> set[int]:
        # There is no public way to the edges of a model's graph.
        nodes_by_depth = getattr(container, "_nodes_by_depth", None)
        if nodes_by_depth is None:
            for child in _patterns.children(container):
                sources = self._use(child, prefix + child.name, sources)
            return sources
        order = sorted(nodes_by_depth, reverse=True)
        nodes = [node for depth in order for node in nodes_by_depth[depth]]
        ends: dict[int, set[int]] = {}
        for node in nodes:
            come = [ends.get(id(parent), set()) for parent in node.parent_nodes]
            fed = set().union(*come) if come else sources
            layer = node.operation
            ends[id(node)] = self._use(layer, prefix + layer.name, fed)
        inner = {id(parent) for node in nodes for parent in node.parent_nodes}
        return set().union(*(end for node, end in ends.items() if node not in inner))

    def _use(self, layer: Any, path: str, sources: set[int]) -> set[int]:
        if not getattr(layer, "trainable_variables", None):
            return sources
        if path not in self._units:
            return self._walk(layer, f"{path}/", sources)
        self.uses.append(self._units[path])
        self.fed_by.append(sources)
        return {len(self.uses) - 1}

    def by_layer(self) -> dict[str, int]:
        """Layers with kernels count; one without belongs to the one before it."""
        count = len(self.uses)
        above = [False] * count
        for use in range(count):
            above[use] = any(self.uses[s].kernels or above[s] for s in self.fed_by[use])
        far = [0] * count
        for use in reversed(range(count)):
            steps = [far[t] + bool(self.uses[t].kernels) for t in self.feeds[use]]
            far[use] = max(steps, default=0)
            # A normalization of the inputs has none before it.
            if steps and not self.uses[use].kernels and not above[use]:
                far[use] -= 1
        return self._by_path(far)

    def by_block(self) -> dict[str, int]:
        """Blocks count; what is before all of them is the stem, after all the head."""
        count = len(self.uses)
        block = [unit.block for unit in self.uses]
        before = self._nearest(range(count), self.fed_by, block)
        after = self._nearest(range(count - 1, -1, -1), self.feeds, block)
        for use in range(count):
            around = before[use] & after[use]
            if block[use] is None and around:
                block[use] = min(around)
        if not _in_order(self.feeds, block):
            # The names promise blocks that the graph does not have.
            return self.by_layer()
        up = self._nearest(range(count), self.fed_by, block)
        down = self._nearest(range(count - 1, -1, -1), self.feeds, block)
        place = [self._place(*around) for around in zip(block, up, down, strict=True)]
        far = [0] * count
        for use in reversed(range(count)):
            for target in self.feeds[use]:
                # What is between two blocks belongs to the upper one.
                joins = place[use][0] == "between" and place[target][0] != "head"
                same = place[use] == place[target] or joins
                far[use] = max(far[use], far[target] + (not same))
        whole: dict[str, int] = {}
        for use, name in enumerate(block):
            if name is not None:
                whole[name] = max(whole.get(name, 0), far[use])
        far = [far[u] if (b := block[u]) is None else whole[b] for u in range(count)]
        return self._by_path(far)

    @staticmethod
    def _place(block: str | None, up: set[str], down: set[str]) -> tuple[str, str]:
        if block is not None:
            return ("block", block)
        if not down:
            return ("head", "")
        return ("between", "") if up else ("stem", "")

    def _nearest(
        self, order: Any, neighbours: list[set[int]], block: list[str | None]
    ) -> list[set[str]]:
        """The blocks that are met first in one direction."""
        found: list[set[str]] = [set() for _ in self.uses]
        for use in order:
            for other in neighbours[use]:
                name = block[other]
                found[use] |= found[other] if name is None else {name}
        return found

    def _by_path(self, far: list[int]) -> dict[str, int]:
        found = dict.fromkeys(self._unused, 0)
        for unit, distance in zip(self.uses, far, strict=True):
            found[unit.path] = max(found.get(unit.path, 0), distance)
        return found


def _in_order(feeds: list[set[int]], block: list[str | None]) -> bool:
    """Whether no way through the graph leaves a block and comes back to it."""
    after: dict[Any, set[Any]] = {}
    for use, targets in enumerate(feeds):
        name = block[use] or use
        after.setdefault(name, set()).update(block[t] or t for t in targets)
        after[name].discard(name)
    try:
        graphlib.TopologicalSorter(after).prepare()
    except graphlib.CycleError:
        return False
    return True
