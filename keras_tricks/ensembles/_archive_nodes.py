"""An ensemble and all below it as a table of plain values, and back, distrusting it."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_tricks.ensembles import _estimators, _outputs

_DEEPEST = 32
_HUGE = 1e38
_KINDS = ("probabilities", "logits", "values", *_outputs.MULTILABEL)


def distinct(root: Any) -> list[Any]:
    """Members at all levels, each once, before the ensembles that hold them.

    Raises:
        ValueError: If an ensemble is of a class of the user's, or too deep.
    """
    found: dict[int, Any] = {}
    levels: dict[int, int] = {}

    def visit(node: Any) -> int:
        if id(node) not in found:
            inner = node.models if _is_table(node, root) else []
            levels[id(node)] = max((1 + visit(member) for member in inner), default=0)
            found[id(node)] = node
        return levels[id(node)]

    if visit(root) > _DEEPEST:
        raise ValueError(
            f"`models` must be nested {_DEEPEST} levels deep at most to be saved. "
            f"Received: ensemble {root.name!r}, which is deeper"
        )
    return list(found.values())


def _is_table(node: Any, root: Any) -> bool:
    """Whether an ensemble is taken apart; Keras saves one of a user's class whole."""
    if type(node) is _ensemble():
        return True
    if node is root or (isinstance(node, _ensemble()) and node._estimator is not None):
        raise ValueError(
            "An archive holds ensembles of the class Ensemble itself. Received: "
            f"{type(node).__name__} {node.name!r}"
        )
    return False


def _ensemble() -> Any:
    # It imports this module.
    from keras_tricks.ensembles.ensemble import Ensemble

    return Ensemble


def described(nodes: Sequence[Any]) -> list[dict[str, Any]]:
    """What the manifest says of each."""
    places = {id(node): place for place, node in enumerate(nodes)}
    return [_described(node, places) for node in nodes]


def _described(node: Any, places: Mapping[int, int]) -> dict[str, Any]:
    if _estimators.is_one(node):
        return {"kind": "skops"}
    if type(node) is not _ensemble():
        return {"kind": "keras"}
    return {
        "kind": "ensemble",
        **node._settings(places),
        "fusion": _fusion(node._fuse),
        "member_weights": node.member_weights.tolist(),
        "temperature": node.temperature,
    }


def _fusion(fuse: Any) -> Any:
    config = fuse.config
    if not isinstance(config, dict):
        return config
    # A function, and a registered one: `config` has asked.
    return {"registered": keras.saving.get_registered_name(fuse.function)}


def of(entries: Sequence[Mapping[str, Any]], kind: str) -> list[int]:
    """The places of the nodes of a kind."""
    return [place for place, entry in enumerate(entries) if entry["kind"] == kind]


def checked(nodes: list[Any]) -> list[dict[str, Any]]:
    """The table, if each node is what one can be.

    Raises:
        ValueError: If not.
    """
    depths: list[int] = []
    for place, entry in enumerate(nodes):
        kind = entry.get("kind") if isinstance(entry, dict) else None
        if kind not in ("keras", "skops", "ensemble"):
            raise ValueError(f"node {place} is of no kind that it can be: {kind!r}")
        depth = 0
        if kind == "ensemble":
            _check_settings(entry, place)
            depth = 1 + max(depths[member] for member in entry["models"])
        if depth > _DEEPEST:
            raise ValueError(f"its ensembles are nested more than {_DEEPEST} deep")
        depths.append(depth)
    if nodes[-1]["kind"] != "ensemble":
        raise ValueError("its last node is no ensemble")
    used = {member for e in nodes if e["kind"] == "ensemble" for member in e["models"]}
    if used != set(range(len(nodes) - 1)):
        raise ValueError("it holds members that belong to no ensemble")
    return nodes


def _check_settings(entry: dict[str, Any], place: int) -> None:
    members: Any = entry.get("models")
    count = len(members) if isinstance(members, list) else 0
    if not count or not all(type(m) is int and 0 <= m < place for m in members):
        raise ValueError(f"node {place} has no list of members before it")
    fine = {
        "name": isinstance(entry.get("name"), str),
        "trainable": isinstance(entry.get("trainable"), bool),
        "fusion": _is_fusion(entry.get("fusion")),
        "weights": entry.get("weights") is None or _numbers(entry["weights"], count),
        "classes": entry.get("classes") is None or isinstance(entry["classes"], list),
        "outputs": isinstance(entry.get("outputs"), str | list),
        "kinds": isinstance(entry.get("kinds"), list)
        and len(entry["kinds"]) == count
        and not [kind for kind in entry["kinds"] if kind not in _KINDS],
        "threshold": _is_threshold(entry.get("threshold")),
        "member_weights": _numbers(entry.get("member_weights"), count)
        and min(entry["member_weights"]) >= 0 < max(entry["member_weights"]),
        "temperature": _is_number(entry.get("temperature"))
        and entry["temperature"] > 0,
    }
    for name, right in fine.items():
        if not right:
            raise ValueError(f"node {place} has no right {name!r}")
    _outputs.declared(entry["outputs"], count)


def _is_fusion(value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(value.get("registered"), str)
    return isinstance(value, str | list)


def _is_threshold(value: Any) -> bool:
    return value is None or _is_number(value) or _numbers(value, None)


def _numbers(values: Any, count: int | None) -> bool:
    if not isinstance(values, list) or (count is not None and len(values) != count):
        return False
    return bool(values) and all(map(_is_number, values))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -_HUGE < value < _HUGE


def revived(entries: Sequence[Mapping[str, Any]], leaves: Mapping[int, Any]) -> Any:
    """The ensemble of a checked table and its members."""
    nodes: list[Any] = []
    for place, entry in enumerate(entries):
        if place in leaves:
            nodes.append(leaves[place])
            continue
        made = _ensemble()._revived(
            {**entry, "fusion": _function(entry["fusion"])}, nodes
        )
        if made._fuse.code is None:
            made._shares.assign(np.asarray(entry["member_weights"]))
        made._temperature.assign(entry["temperature"])
        nodes.append(made)
    return nodes[-1]


def _function(fusion: Any) -> Any:
    if not isinstance(fusion, dict):
        return fusion
    name = fusion["registered"]
    function = keras.saving.get_registered_object(name)
    if not callable(function) or isinstance(function, type):
        raise ValueError(
            f"its fusion {name!r} is no function that is registered: import the module "
            "that does this"
        )
    return function
