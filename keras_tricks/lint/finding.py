"""One thing that the linter has to say."""

import dataclasses
from typing import Any

from keras_tricks import _arguments
from keras_tricks.lint import _severity


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a rule has found, where, and what to do about it.

    When: you write a rule of your own; `kt.lint.check` makes the others.
    Typical: `yield Finding("...", layers=[path])`: the rest comes from the rule.
    Costs: nothing.
    Beware: what is left empty is filled in from the rule by `kt.lint.check` only.

    Args:
        message: String, one plain sentence.
        layers: Paths of the layers it is about, as in `kt.surgery`'s patterns; a string
            for one. Defaults to none: it is about the whole.
        fix: String, what to do, as Python code.
        severity: "info" (worth a thought), "warning" (it probably harms) or "error" (it
            fails, or trains something else than is meant). "" is the rule's own.
        why: String, the reason. "" is the rule's own.
        code: String, the rule's code.
        source: String, where the advice comes from. "" is the rule's own.
        safe: Boolean, whether `kt.lint.fix` may change it by itself: the new model
            predicts what the old one does, its loss or its training is mended.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `message` is empty or `severity` is unknown.

    Example:
    >>> import keras_tricks as kt
    >>> finding = kt.lint.Finding("It is wide.", layers=["block/a", "block/b"])
    >>> finding.layer
    'block/a and 1 more'

    Reference: the codes and severities of linters such as Ruff.
    """

    message: str
    layers: tuple[str, ...] = ()
    fix: str = ""
    severity: str = ""
    why: str = ""
    code: str = ""
    source: str = ""
    safe: bool = False

    def __post_init__(self) -> None:
        _arguments.text("message", self.message)
        if self.severity:
            _arguments.one_of("severity", self.severity, _severity.SEVERITIES)
        layers = (self.layers,) if isinstance(self.layers, str) else tuple(self.layers)
        object.__setattr__(self, "layers", layers)

    @property
    def layer(self) -> str:
        """The layers in a few words: the first one, and how many more."""
        if not self.layers:
            return ""
        more = len(self.layers) - 1
        return self.layers[0] + (f" and {more} more" if more else "")

    @property
    def rank(self) -> int:
        """The severity as a number that grows with it."""
        return _severity.rank(self.severity)

    def to_dict(self) -> dict[str, Any]:
        """Returns what JSON can hold."""
        return {**dataclasses.asdict(self), "layers": list(self.layers)}
