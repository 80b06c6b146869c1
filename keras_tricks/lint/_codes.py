"""From the codes that a user names to those that there are."""

import difflib
from collections.abc import Iterable
from typing import Any


def ignored(ignore: Any, known: Iterable[str]) -> set[str]:
    """The codes that `ignore` names, each in full or by how it begins.

    Raises:
        TypeError: If it is not a code, or a list of such.
        ValueError: If it names no rule.
    """
    known = list(known)
    named = [ignore] if isinstance(ignore, str) else ignore
    if not isinstance(named, Iterable):
        raise TypeError(
            "`ignore` must be a list of codes, such as ['KT101']. "
            f"Received: ignore={ignore!r}"
        )
    found: set[str] = set()
    for name in named:
        if not isinstance(name, str):
            raise TypeError(
                "`ignore` must be a list of codes, such as ['KT101']. "
                f"Received: {name!r} in it"
            )
        codes = {code for code in known if name and code.startswith(name)}
        if not codes:
            raise ValueError(_unknown(name, known))
        found |= codes
    return found


def _unknown(name: str, known: list[str]) -> str:
    # The letter for the digit is the commonest slip.
    near = difflib.get_close_matches(name.upper().replace("O", "0"), known, 1, 0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return (
        "`ignore` must name rules by their code, or by how it begins. Received: "
        f"{name!r}, which names none; kt.lint.rules() lists all.{hint}"
    )
