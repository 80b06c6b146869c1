"""A rule, and all rules that there are."""

import dataclasses
import re
from collections.abc import Callable, Iterable
from typing import Any

from keras_tricks.lint.finding import Finding

CODE = re.compile(r"[A-Z]+[0-9]{3}")
OURS = re.compile(r"KT[0-9]{3}")
# What a rule may ask for, and how a note calls what is not there.
NEEDS = {
    "graph": "its graph is not known",
    "compiled": "it is not compiled",
    "x": "there is no `x` that can be read",
    "y": "there is no `y` that can be read",
}


@dataclasses.dataclass(frozen=True)
class Rule:
    """A function that looks at the facts, and what is true of all that it finds.

    `needs` names what the facts must have; without it the rule is not asked. `repair`
    takes a model and a finding, and returns a new model.
    """

    code: str
    title: str
    severity: str
    function: Callable[[Any], Iterable[Finding] | None]
    why: str = ""
    source: str = ""
    needs: tuple[str, ...] = ()
    repair: Callable[[Any, Finding], Any] | None = None

    def __call__(self, facts: Any) -> list[Finding]:
        """What is found, each finding filled in from the rule."""
        return [self._filled(finding) for finding in self.function(facts) or ()]

    def _filled(self, finding: Any) -> Finding:
        if not isinstance(finding, Finding):
            raise TypeError(
                f"a rule must yield kt.lint.Finding. Received: {finding!r}; write "
                "`yield kt.lint.Finding(...)`"
            )
        return dataclasses.replace(
            finding,
            code=self.code,
            severity=finding.severity or self.severity,
            why=finding.why or self.why,
            source=finding.source or self.source,
        )


RULES: dict[str, Rule] = {}


def rule(
    code: str,
    title: str,
    *,
    severity: str,
    why: str,
    source: str,
    needs: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a function one of the rules that come with the package."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        assert code not in RULES, f"two rules are called {code}"
        RULES[code] = Rule(code, title, severity, function, why, source, needs)
        return function

    return add
