"""Which input or output of a model a part of the data is for."""

from collections.abc import Sequence
from typing import Any

import keras


def names(start: str, structure: Any, own: Sequence[str]) -> dict[str, int]:
    """The place of each tensor by what it may be called: "x['a']", "x[0]", "x".

    By where it stands in the `structure` that the model was made with, or by its `own`
    name.
    """
    found = {f"{start}[{name!r}]": place for place, name in enumerate(own)}
    for place, (path, _) in enumerate(keras.tree.flatten_with_path(structure)):
        found[start + "".join(f"[{key!r}]" for key in path)] = place
    return found


def input_names(model: Any) -> dict[str, int]:
    """The place of each input by what it may be called in `x`."""
    # An empty Sequential model has no structure.
    structure = getattr(model, "input", model.inputs)
    return names("x", structure, [tensor.name for tensor in model.inputs])


def output_names(model: Any, start: str) -> dict[str, int]:
    """The place of each output by what it may be called in the labels or losses."""
    structure = getattr(model, "output", model.outputs)
    last = [layer.name for layer in model.layers[-1:]]
    return names(start, structure, getattr(model, "output_names", last))


def positions(known: dict[str, int], parts: list[Any]) -> list[int | None]:
    """The place of each part of the data, or None where nobody could say."""
    found = [known.get(part.name) for part in parts]
    count = len(set(known.values()))
    if any(place is not None for place in found) or len(parts) != count:
        return found
    # Keras takes the only entry of a dict whatever it is called; of several, those
    # under other names say too little.
    plain = count == 1 or not any("'" in part.name for part in parts)
    return list(range(count)) if plain else found


def of_inputs(facts: Any) -> list[int | None]:
    """The place of each part of `x` among the inputs, where it is known."""
    return positions(input_names(facts.model), facts.data.x)


def of_outputs(facts: Any) -> list[int | None]:
    """The place of each part of `y` among the outputs; a single one is for the only.

    Of a subclass the outputs are not known: then only a single loss is.
    """
    parts = facts.data.y
    if facts.has("graph"):
        return positions(output_names(facts.model, "y"), parts)
    alone = len(parts) == 1 == len(facts.losses)
    return [0] if alone else [None] * len(parts)
