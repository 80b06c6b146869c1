"""Nested settings as one list of names and values."""

from typing import Any

MOST = 5_000
_LONGEST_LIST = 16


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": [1, 2]}}` as `{"a.b": [1, 2]}`; lists of dicts by their number.

    What is nested is wound up after `MOST` names.
    """
    found: dict[str, Any] = {}
    # Not recursive: the settings may come from anywhere.
    waiting = [(prefix, value)]
    while waiting and len(found) < MOST:
        name, part = waiting.pop()
        items: list[tuple[str, Any]] = []
        if isinstance(part, dict) and part:
            items = [(_join(name, key), item) for key, item in part.items()]
        elif isinstance(part, list) and _is_nested(part):
            items = [(_join(name, i), item) for i, item in enumerate(part)]
        if items:
            waiting.extend(reversed(items))
        else:
            found[name] = part
    return found


def _is_nested(part: list[Any]) -> bool:
    return any(isinstance(item, dict | list) for item in part[:MOST])


def _join(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)


def short(value: Any, longest: int = 80) -> str:
    """A value in a cell of a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        first = value[:_LONGEST_LIST]
        shown = ", ".join("..." if _is_nested([v]) else short(v) for v in first)
        text = f"[{shown}{', ...' if len(value) > _LONGEST_LIST else ''}]"
    else:
        text = value if isinstance(value, str) else str(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."
