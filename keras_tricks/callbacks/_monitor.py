"""A watched name: which way is better, and what was meant if it is missing."""

import difflib
from collections.abc import Iterable

from keras_tricks import _direction


def higher_is_better(monitor: str, mode: str) -> bool:
    """The direction that `mode` names, or that the name suggests when it is "auto"."""
    if mode != "auto":
        return mode == "max"
    return _direction.higher_is_better(monitor)


def explain_missing(monitor: str, logged: Iterable[str]) -> str:
    """A sentence on why the logs have no such value, with the likely remedy."""
    names = sorted(logged)
    near = difflib.get_close_matches(monitor, names, 1)
    seen = f" Received: {names}." if names else ""
    hint = f" Did you mean {near[0]!r}?" if near else ""
    validate = monitor.startswith("val_") and not near
    need = " Pass `validation_data` to `fit`." if validate else ""
    return f"the logs have no {monitor!r}.{seen}{hint}{need}"
