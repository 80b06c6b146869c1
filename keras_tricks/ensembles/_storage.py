"""A tree of ensembles as a table that names every member once."""

import copy
from typing import Any

import keras

from keras_tricks.ensembles import _labels, _sharing


def packed(root: Any, kind: type) -> dict[str, Any]:
    """All below an ensemble: `nodes`, and the layers that several of them hold."""
    nodes = _distinct(root, kind)
    places = {id(node): place for place, node in enumerate(nodes)}
    leaves = {p: n for p, n in enumerate(nodes) if type(n) is not kind}
    config = {
        "nodes": [
            serialized(node)
            if place in leaves
            else {"ensemble": _arguments_of(node, places)}
            for place, node in enumerate(nodes)
        ],
        "shared": [[path, first] for path, first in _sharing.find(leaves)],
        **_arguments_of(root, places),
    }
    plain: dict[str, Any] = _labels.plain(config)
    return plain


def _arguments_of(ensemble: Any, places: dict[int, int]) -> dict[str, Any]:
    # What is fitted goes with the weights, all of it.
    settings = dict(ensemble._settings(places))
    del settings["threshold"]
    return settings


def _distinct(root: Any, kind: type) -> list[Any]:
    """Members at all levels, each once, what an ensemble holds before itself."""
    found: dict[int, Any] = {}

    def visit(ensemble: Any) -> None:
        for member in ensemble.models:
            if id(member) in found:
                continue
            if type(member) is kind:
                visit(member)
            found[id(member)] = member

    visit(root)
    return list(found.values())


def serialized(model: Any) -> dict[str, Any]:
    """A member without its loss and optimizer: a saved ensemble only asks it."""
    config = dict(keras.saving.serialize_keras_object(model))
    config.pop("compile_config", None)
    return config


def unpacked(config: dict[str, Any], kind: type, root: type) -> Any:
    """The ensemble that `packed` describes, of the class `root`."""
    # A class may take its own config apart.
    config = copy.deepcopy(dict(config))
    entries, shared = config.pop("nodes"), config.pop("shared")
    leaves, builds = {}, {}
    for place, entry in enumerate(entries):
        if "ensemble" not in entry:
            # A layer can be put in only before its holder is built.
            builds[place] = entry.pop("build_config", None)
            leaves[place] = keras.saving.deserialize_keras_object(entry)
    leaves = _sharing.join(leaves, shared)
    for place, model in leaves.items():
        if builds[place] and not model.built:
            model.build_from_config(builds[place])
            model.built = True
    nodes: list[Any] = []
    for place, entry in enumerate(entries):
        made = leaves.get(place)
        if made is None:
            made = kind._revived(entry["ensemble"], nodes)  # type: ignore[attr-defined]
        nodes.append(made)
    return root._revived(config, nodes)  # type: ignore[attr-defined]
