"""What `exclude_from_weight_decay` was told, which no configuration says."""

from collections.abc import Sequence
from typing import Any

_PATTERN = "_exclude_from_weight_decay_pattern"
_KEYS = "_exclude_from_weight_decay"


def told(leaves: Sequence[Any], variables: Sequence[Any]) -> list[tuple[Any, set[int]]]:
    """For each optimizer its pattern of names, and the places of its variables."""
    return [(vars(leaf).get(_PATTERN), _places(leaf, variables)) for leaf in leaves]


def tell(
    leaves: Sequence[Any],
    variables: Sequence[Any],
    found: Sequence[tuple[Any, set[int]]],
) -> None:
    """Tells it to other optimizers, with the variables at the same places."""
    for leaf, (pattern, places) in zip(leaves, found, strict=False):
        if pattern is None and not places:
            continue
        # Not by the method: it refuses an optimizer that is built.
        setattr(leaf, _PATTERN, pattern)
        setattr(leaf, _KEYS, {leaf._var_key(variables[place]) for place in places})
        leaf._exclude_from_weight_decay_cache = {}


def forget(optimizer: Any) -> None:
    """Takes back all that it was told."""
    for name in (_PATTERN, _KEYS, "_exclude_from_weight_decay_cache"):
        vars(optimizer).pop(name, None)


def check_placed(leaves: Sequence[Any], variables: Sequence[Any]) -> None:
    """Refuses what could not be told to another optimizer.

    Raises:
        ValueError: If one of them excludes variables that are not among these.
    """
    for leaf in leaves:
        if len(vars(leaf).get(_KEYS) or ()) > len(_places(leaf, variables)):
            raise ValueError(
                "`optimizer` must exclude variables from weight decay by name to be "
                f"copied. Received: {type(leaf).__name__} with a `var_list`; call "
                "optimizer.exclude_from_weight_decay(var_names=[...])"
            )


def _places(leaf: Any, variables: Sequence[Any]) -> set[int]:
    keys = vars(leaf).get(_KEYS) or ()
    return {i for i, v in enumerate(variables) if leaf._var_key(v) in keys}
