"""Rules of one's own."""

from collections.abc import Callable, Iterable
from typing import Any

from keras_tricks import _arguments
from keras_tricks.lint import _rule, _severity
from keras_tricks.lint.finding import Finding


def register(
    code: str,
    title: str,
    *,
    severity: str = "warning",
    why: str = "",
    source: str = "",
    needs: str | Iterable[str] = (),
    repair: Callable[[Any, Finding], Any] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a function a rule that `kt.lint.check` asks.

    When: your team knows of mistakes that the built-in rules do not.
    Typical: a generator of a few lines over `facts.layers`.
    Costs: what the function costs, at each check.
    Beware: a rule only looks; it must change nothing. Where it is unsure it had better
        be silent, or say "info".

    The function takes the `kt.lint.Facts` and yields `kt.lint.Finding`s. If it raises,
    that is reported as KT001, and the other rules are asked all the same. Registered
    again under its code, it takes the place of the old one.

    Args:
        code: String, capital letters and three digits, such as "MY101"; not "KT...".
        title: String, one plain sentence about what the rule finds.
        severity: "info", "warning" or "error", of the findings that name none.
        why: String, the reason, for the findings that name none.
        source: String, where the advice comes from.
        needs: Strings among "graph", "compiled", "x" and "y": the rule is not asked
            where the facts lack it. Defaults to none.
        repair: Function of a model and a finding that returns a new model, which
            `kt.lint.fix` calls for the findings that say `safe=True`. Or None.

    Returns:
        A decorator, which returns the function as it is.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the code is not of that form or one of ours, or a word unknown.

    Example:
    >>> import keras, keras_tricks as kt
    >>> @kt.lint.register("MY101", "A layer has no name of its own.", severity="info")
    ... def unnamed(facts):
    ...     for path, layer in facts.layers.items():
    ...         if layer.name.startswith("dense"):
    ...             yield kt.lint.Finding("It has an automatic name.", layers=[path])
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> [finding.message for finding in kt.lint.check(model).filter(code="MY")]
    ['It has an automatic name.']
    >>> kt.lint.unregister("MY101")

    Reference: none; a registry.
    """
    _check_code(code)
    _arguments.text("title", title)
    _arguments.one_of("severity", severity, _severity.SEVERITIES)
    words = (needs,) if isinstance(needs, str) else tuple(needs)
    for word in words:
        _arguments.one_of("needs", word, _rule.NEEDS)

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(function):
            raise TypeError(
                "`register(...)` must decorate a function of the facts. "
                f"Received: {function!r}"
            )
        _rule.RULES[code] = _rule.Rule(
            code, title, severity, function, why, source, words, repair
        )
        return function

    return add


def unregister(code: str) -> None:
    """Takes a rule of one's own back.

    When: a rule was tried out, in a notebook or in a test.
    Typical: `kt.lint.unregister("MY101")`.
    Costs: nothing.
    Beware: the built-in rules stay; leave them out with `ignore`.

    Args:
        code: String, the code that the rule was registered under.

    Returns:
        None.

    Raises:
        TypeError: If it is no string.
        ValueError: If there is no such rule, or it is a built-in one.

    Example:
    >>> import keras_tricks as kt
    >>> rule = kt.lint.register("MY102", "Nothing.")(lambda facts: [])
    >>> kt.lint.unregister("MY102")

    Reference: none; a registry.
    """
    _check_code(code)
    own = [known for known in _rule.RULES if not _rule.OURS.fullmatch(known)]
    del _rule.RULES[_arguments.one_of("code", code, own)]


def _check_code(code: Any) -> None:
    _arguments.text("code", code)
    if not _rule.CODE.fullmatch(code) or _rule.OURS.fullmatch(code):
        raise ValueError(
            "`code` must be capital letters and three digits, and not begin with KT, "
            f"such as 'MY101'. Received: code={code!r}"
        )
