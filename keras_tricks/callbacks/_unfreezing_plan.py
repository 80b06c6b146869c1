"""Which layers and weights of a model belong to which group."""

import dataclasses
import warnings
from typing import Any

from keras_tricks import _patterns
from keras_tricks._errors import NoEffectWarning
from keras_tricks.callbacks._freezing import SELF_CHANGING

_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Plan:
    """The groups from the lowest up, as positions of variables and layers."""

    groups: list[list[str]]
    variables: list[tuple[Any, int]]
    layers: list[tuple[Any, int]]

    def frozen(self, lowest: int) -> tuple[list[Any], list[Any]]:
        """The layers and the variables of the groups below `lowest`."""
        layers = [layer for layer, position in self.layers if position < lowest]
        return layers, [v for v, position in self.variables if position < lowest]


def read(groups: Any, model: Any) -> Plan:
    """Puts each weight of the model into its group.

    Raises:
        ValueError: If the model is not built, a weight is in no group or in two, a
            pattern names no layer, or the last group has nothing to train.
    """
    if not model.built:
        raise ValueError(
            "GradualUnfreezing needs a built model, to know its weights. Received: "
            f"{model.name!r}, not built; begin it with keras.Input, or call it on a "
            "batch first"
        )
    by_path = _patterns.layer_paths(model)
    owners = _patterns.variable_paths(model)
    # The path of what the model holds without a layer is empty.
    paths = ["", *(path for path, _ in by_path)]
    positions = _patterns.grouped("groups", groups, paths)
    trainable = {id(variable) for variable in model.trainable_variables}
    owned = [(v, held) for v, held in owners if id(v) in trainable]
    changing = [
        path
        for path, layer in by_path
        if isinstance(layer, SELF_CHANGING) and layer.trainable
    ]
    needed = [held for _, held in owned] + [[path] for path in changing]
    _check_covered(needed, positions)
    variables = [(v, _position(held, positions)) for v, held in owned]
    layers = [(layer, positions[path]) for path, layer in by_path if path in positions]
    plan = Plan(_patterns.check_groups("groups", groups), variables, layers)
    _check_effect(plan)
    return plan


def _check_covered(needed: list[list[str]], positions: dict[str, int]) -> None:
    missing = [held for held in needed if not any(path in positions for path in held)]
    if missing:
        names = dict.fromkeys(repr(held[0] if held else "") for held in missing)
        shown = ", ".join(list(names)[:_SHOWN]) + (
            ", ..." if len(names) > _SHOWN else ""
        )
        raise ValueError(
            "`groups` must name every layer that can be trained. Received: groups "
            f"without {shown}; add them to a group (to the last one if they should "
            "train from the start), or set `layer.trainable = False` before `compile` "
            "if they should never train"
        )


def _position(held: list[str], positions: dict[str, int]) -> int:
    found = {positions[path]: path for path in held if path in positions}
    if len(found) > 1:
        (low, first), (high, second) = sorted(found.items())[:2]
        raise ValueError(
            "`groups` must put each weight into one group. Received: "
            f"{first!r} in group {low + 1} and {second!r} in group {high + 1}, which "
            "share a weight; put both into one"
        )
    return next(iter(found))


def _check_effect(plan: Plan) -> None:
    held = {position for _, position in plan.variables}
    last = len(plan.groups) - 1
    if last not in held:
        raise ValueError(
            "`groups` must end with a group to begin with. Received: "
            f"{plan.groups[last]!r} as the last, which has no trainable weights; put "
            "the layers nearest to the output there"
        )
    for position, group in enumerate(plan.groups):
        if position not in held:
            warnings.warn(
                f"GradualUnfreezing: group {position + 1} of `groups`, {group!r}, has "
                "no effect: it has no trainable weights. Remove it from `groups`, or "
                "make its layers trainable before `compile`.",
                NoEffectWarning,
                stacklevel=2,
            )
