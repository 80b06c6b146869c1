"""What a check could not look at, and why."""

from collections.abc import Iterator
from typing import Any

from keras_tricks.lint import _places, _rule

_MOST = 10


def of(facts: Any, missing: dict[str, list[str]]) -> list[str]:
    """The notes of a check in which some needs of rules, by their codes, were missing.

    Of many the first ones: a list of numbers has a note for each.
    """
    notes = [
        *_not_asked(facts, missing),
        *facts.data.notes,
        *_no_numbers(facts),
        *_not_compared(facts),
    ]
    more = len(notes) - _MOST
    return [*notes[:_MOST], f"and {more} more of the kind"] if more > 0 else notes


def _model(facts: Any) -> str:
    return f"{type(facts.model).__name__} {facts.model.name!r}"


def _not_asked(facts: Any, missing: dict[str, list[str]]) -> Iterator[str]:
    given = {"x": facts.data.kind or facts.data.notes, "y": facts.data.y}
    for need, codes in missing.items():
        if need in ("x", "y") and not given[need]:
            continue
        told = ", ".join(codes)
        yield f"{_model(facts)}: {_rule.NEEDS[need]}; not asked: {told}"


def _no_numbers(facts: Any) -> Iterator[str]:
    for part in [*facts.data.x, *facts.data.y]:
        if not part.is_numeric:
            yield f"{part.name} holds {part.values.dtype.name}: no numbers to look at"


def _not_compared(facts: Any) -> Iterator[str]:
    """Data whose place in the model is not known."""
    if facts.has("graph"):
        inputs = _places.input_names(facts.model)
        yield from _unplaced(facts.data.x, inputs, _places.of_inputs(facts), "input")
        outputs = _places.output_names(facts.model, "y")
        yield from _unplaced(facts.data.y, outputs, _places.of_outputs(facts), "output")
    elif facts.data.y:
        yield (
            f"{_model(facts)}: its outputs are not known; the labels are compared with "
            "the loss only"
        )


def _unplaced(
    parts: list[Any], known: dict[str, int], places: list[int | None], kind: str
) -> Iterator[str]:
    for part, place in zip(parts, places, strict=True):
        if place is None or ("'" in part.name and part.name not in known):
            names = ", ".join(name for name in known if "'" in name) or "no names"
            told = "it is compared with the only one" if place == 0 else "not compared"
            yield f"{part.name} is not the name of an {kind} ({names}): {told}"
