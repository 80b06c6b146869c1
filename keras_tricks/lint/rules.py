"""The list of the rules that there are."""

from typing import NamedTuple

from keras_tricks._report import Report
from keras_tricks.lint._rules import RULES


class _Row(NamedTuple):
    code: str
    severity: str
    title: str


def rules(code: str = "") -> Report:
    """Lists the rules that `kt.lint.check` asks, the registered ones among them.

    When: you look for the code to ignore, or for what is checked at all.
    Typical: `print(kt.lint.rules())`.
    Costs: nothing.
    Beware: the severity is the rule's usual one; a finding may be milder or worse.

    Args:
        code: String, how their codes begin, such as "KT2". Defaults to "", all.

    Returns:
        A table that prints itself: a row for each rule with `code`, `severity` and
        `title`, in the order of their codes.

    Raises:
        TypeError: If `code` is no string.

    Example:
    >>> import keras_tricks as kt
    >>> [row.title for row in kt.lint.rules("KT101")]
    ['A hidden layer ends with a sigmoid.']

    Reference: none; a list.
    """
    if not isinstance(code, str):
        raise TypeError(f"`code` must be a string. Received: code={code!r}")
    known = [rule for name, rule in RULES.items() if name.startswith(code)]
    known.sort(key=lambda rule: rule.code)
    rows = [_Row(rule.code, rule.severity, rule.title) for rule in known]
    return Report(f"{len(rows)} rules", rows)
