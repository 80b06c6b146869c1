"""What the linter has found, as a table, a list and JSON."""

import json
import re
import textwrap
from collections.abc import Iterable
from typing import Any

from keras_tricks import _arguments, _patterns, _report
from keras_tricks.lint import _severity
from keras_tricks.lint.finding import Finding

_HEAD = ("code", "severity", "layer", "finding")
_WIDTH = 100
_LONGEST = 40
_SHOWN = 10


class Report(_report.Report):
    """Findings, the most severe first: a list that prints itself as a table.

    When: `kt.lint.check` returns it.
    Typical: `print(report)`; `report.filter(severity="warning")` in a test.
    Costs: nothing.
    Beware: an empty report says that no rule spoke, not that the model is good; `notes`
        say what could not be looked at.

    It iterates over its findings, has a length, and is true where there is any.

    Args:
        findings: Iterable of `Finding`.
        notes: Iterable of strings: what was not looked at, and why.

    Raises:
        TypeError: If something other than a `Finding` is among the findings.

    Example:
    >>> import keras_tricks as kt
    >>> mild = kt.lint.Finding("It is narrow.", code="KT104", severity="info")
    >>> bad = kt.lint.Finding("It is NaN.", code="KT401", severity="error")
    >>> report = kt.lint.Report([mild, bad])
    >>> [finding.code for finding in report]
    ['KT401', 'KT104']
    >>> len(report.filter(severity="warning"))
    1

    Reference: none; a list of findings.
    """

    def __init__(
        self, findings: Iterable[Finding] = (), notes: Iterable[str] = ()
    ) -> None:
        findings = list(findings)
        for finding in findings:
            if not isinstance(finding, Finding):
                raise TypeError(
                    f"`findings` must hold kt.lint.Finding. Received: {finding!r}"
                )
        order = sorted(findings, key=lambda one: (-one.rank, one.code))
        super().__init__(_summary(order), order)
        self.notes = tuple(notes)

    @property
    def findings(self) -> list[Finding]:
        """The findings, the most severe first."""
        return self.rows

    def __getitem__(self, index: int) -> Finding:
        return self.findings[index]

    def filter(
        self,
        severity: str | None = None,
        code: str | Iterable[str] | None = None,
        layer: str | None = None,
    ) -> "Report":
        """Returns the findings that are at least so severe, of a code, at a layer.

        `code` is a code or how it begins ("KT1"), or several of them; `layer` is a
        pattern of a layer's path, as in `kt.surgery`.
        """
        found = self.findings
        if severity is not None:
            _arguments.one_of("severity", severity, _severity.SEVERITIES)
            found = [one for one in found if one.rank >= _severity.rank(severity)]
        if code is not None:
            starts = (code,) if isinstance(code, str) else tuple(code)
            found = [one for one in found if one.code.startswith(starts)]
        if layer is not None:
            pattern = _patterns.compiled("layer", [layer])[layer]
            found = [one for one in found if _is_at(pattern, one)]
        return Report(found, self.notes)

    def to_json(self, indent: int | None = None) -> str:
        """Returns the findings and the notes as a JSON object."""
        content = {
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": list(self.notes),
        }
        return json.dumps(content, indent=indent)

    def raise_if(self, severity: str = "error") -> None:
        """Raises a ValueError with the table if a finding is at least so severe."""
        if found := self.filter(severity=severity):
            raise ValueError(str(Report(found)))

    def explain(self) -> str:
        """Returns every finding in full: sentence, reason, fix and source."""
        return "\n\n".join(_in_full(finding) for finding in self.findings)

    def __str__(self) -> str:
        lines = [self.summary]
        if self.findings:
            lines += _report.laid_out([_HEAD, *map(_row, self.findings)], _WIDTH)
        lines += [f"Note: {note}" for note in self.notes]
        return "\n".join(lines)


def _summary(findings: list[Finding]) -> str:
    counts = [
        (sum(one.severity == severity for one in findings), severity)
        for severity in reversed(_severity.SEVERITIES)
    ]
    told = ", ".join(f"{count} {severity}" for count, severity in counts if count)
    total = len(findings)
    return f"{total} finding{'s'[: total != 1]}" + (f": {told}" if told else "")


def _is_at(pattern: re.Pattern[str], finding: Finding) -> bool:
    return any(_patterns.covers(pattern, path) for path in finding.layers)


def _row(finding: Finding) -> tuple[str, ...]:
    layer = finding.layer
    if len(layer) > _LONGEST:
        # The end of a path tells more than where it begins.
        layer = "..." + layer[3 - _LONGEST :]
    return finding.code, finding.severity, layer, finding.message


def _in_full(finding: Finding) -> str:
    shown = ", ".join(finding.layers[:_SHOWN])
    more = len(finding.layers) - _SHOWN
    where = f" [{shown}{f', and {more} more' * (more > 0)}]" if shown else ""
    lines = [f"{finding.code} {finding.severity}{where}", finding.message]
    parts: list[tuple[str, Any]] = [("Why", finding.why), ("Source", finding.source)]
    lines += [f"{name}: {text}" for name, text in parts if text]
    if finding.fix:
        lines += ["Fix:", textwrap.indent(finding.fix, "    ")]
    return "\n".join(lines)
