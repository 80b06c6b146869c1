"""The parts of a model that a person would number: layers, and blocks of them."""

import collections
import dataclasses
import re
from typing import Any

import keras

from keras_tricks import _patterns
from keras_tricks.optimizers import _kinds

# A number at the end of a word, as in `block3_conv1` or `block2a_bn`; not `conv2d`.
_NUMBER = re.compile(r"\d+(?!(?<=conv\d)d)[a-z]?(?=[_.\-]|$)")


@dataclasses.dataclass
class Unit:
    """A layer that has one depth, with all that is below it."""

    path: str
    layer: Any
    kernels: int
    block: str | None = None


class Parts:
    """The units of a model by path, and the containers that were looked into.

    A container is any layer with layers inside that is not one of Keras's own.
    Several of one class (or models with one name but for the number) in a row are
    blocks. So are runs of layers that share the beginning of their names up to a
    number. A block has at least two layers with kernels, and no blocks inside.
    """

    def __init__(self, model: Any) -> None:
        self.units: dict[str, Unit] = {}
        self._look_into(model, "")
        self._name_blocks()
        kernels = sum(unit.kernels for unit in self.units.values())
        inside = sum(unit.kernels for unit in self.units.values() if unit.block)
        # A few numbered layers in a larger model do not make it one of blocks.
        self.in_blocks = 2 * inside >= kernels > 0

    def _look_into(self, container: Any, prefix: str) -> None:
        held = [c for c in _patterns.children(container) if c.trainable_variables]
        alike = collections.Counter(_kind(child) for child in held)
        for child in held:
            path = prefix + child.name
            if path in self.units:
                continue
            kernels = _kernels(child)
            series = _is_block(child) and alike[_kind(child)] > 1
            if _is_container(child) and _holds_blocks(child):
                _check_own_weights(child, path)
                self._look_into(child, f"{path}/")
            elif series:
                self.units[path] = Unit(path, child, kernels, path)
            elif _is_open(child):
                self._look_into(child, f"{path}/")
            else:
                self.units[path] = Unit(path, child, kernels)

    def _name_blocks(self) -> None:
        loose = [unit for unit in self.units.values() if unit.block is None]
        kernels: collections.Counter[str] = collections.Counter()
        for unit in loose:
            kernels.update(dict.fromkeys(_starts(unit), unit.kernels))
        whole = {
            max((b for b in _starts(unit) if kernels[b] > 1), key=len, default="")
            for unit in loose
        }
        # Where `conv2_block1` is one, `conv2` is not, and holds nothing else.
        inner = {b for b in whole if not any(_inside(other, b) for other in whole)}
        series = collections.Counter(_template(block) for block in inner)
        for unit in loose:
            for start in _starts(unit):
                # A member of a series may have one kernel only.
                if start and series[_template(start)] > 1:
                    unit.block = start


def _kind(layer: Any) -> Any:
    """What layers of one series have in common."""
    if type(layer).__module__.startswith("keras."):
        return _template(layer.name) if isinstance(layer, keras.Model) else layer.name
    return type(layer)


def _template(name: str) -> str:
    return re.sub(r"_?\d+[a-z]?(?=[_.\-/]|$)", "#", name).removesuffix("#")


def _starts(unit: Unit) -> list[str]:
    """The beginnings of the path that end with a number in the layer's own name."""
    own = unit.path.rpartition("/")[0]
    return [
        unit.path[: match.end()]
        for match in _NUMBER.finditer(unit.path)
        if match.start() > len(own)
    ]


def _inside(name: str, beginning: str) -> bool:
    return name != beginning and bool(re.match(re.escape(beginning) + r"[_.\-]", name))


def _is_container(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Wrapper):
        return _is_container(layer.layer)
    if isinstance(layer, keras.Model):
        return True
    own = type(layer).__module__.startswith("keras.")
    return not own and any(c.trainable_variables for c in _patterns.children(layer))


def _is_open(layer: Any) -> bool:
    """Whether the levels of a container, or of the one in a wrapper, are its own."""
    if isinstance(layer, keras.layers.Wrapper):
        return _is_open(layer.layer)
    return isinstance(layer, keras.Model) and not own_weights(layer)


def _is_block(layer: Any) -> bool:
    return _is_container(layer) and _kernels(layer) > 1


def _holds_blocks(layer: Any) -> bool:
    """Whether there is a series of blocks anywhere inside."""
    inner = [c for c in _patterns.children(layer) if _is_container(c)]
    kinds = collections.Counter(_kind(child) for child in inner if _is_block(child))
    return any(count > 1 for count in kinds.values()) or any(map(_holds_blocks, inner))


def own_weights(layer: Any) -> list[Any]:
    """The trainable weights that a layer holds beside its layers."""
    below = {id(v) for c in _patterns.children(layer) for v in c.trainable_variables}
    return [v for v in layer.trainable_variables if id(v) not in below]


def _check_own_weights(layer: Any, path: str) -> None:
    own = own_weights(layer)
    if own:
        raise ValueError(
            "`model` must hold its weights in layers that a pattern can name. "
            f"Received: {path!r} with {own[0].name!r} beside the layers inside; put "
            "that weight into a layer of its own"
        )


def _kernels(layer: Any) -> int:
    """How many layers with more than scales and biases there are inside."""
    if not layer.trainable_variables:
        return 0
    if _is_container(layer):
        inside = sum(map(_kernels, _patterns.children(layer)))
        return inside + sum(len(v.shape) > 1 for v in own_weights(layer))
    if isinstance(layer, _kinds.SCALES):
        return 0
    return int(any(len(v.shape) > 1 for v in layer.trainable_variables))
