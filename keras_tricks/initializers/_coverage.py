"""How much of a vocabulary has vectors."""

from collections.abc import Mapping
from typing import NamedTuple

EXAMPLES = 20


class Coverage(NamedTuple):
    """How much of a vocabulary has vectors; printed, it is a small report."""

    words: int  # of the vocabulary, without padding and OOV rows
    found: int  # those that have a vector
    lowered: int  # those of them that have it by their lower-case form
    types: float  # share of the words that have a vector
    tokens: float | None  # share of all counted tokens; None without counts
    missing: tuple[str, ...]  # examples: the most frequent, or the first
    records: int  # that were in the source

    def __str__(self) -> str:
        lowered = f", {self.lowered} of them in lower case" if self.lowered else ""
        lines = [
            f"{self.found} of {self.words} words have a vector ({self.types:.1%})"
            f"{lowered}; the source holds {self.records}"
        ]
        if self.tokens is not None:
            lines.append(f"{self.tokens:.1%} of the tokens")
        if self.missing:
            examples = " ".join(repr(word) for word in self.missing)
            lines.append(f"missing, for example: {examples}")
        return "\n".join(lines)


def measure(
    words: Mapping[str, int],
    found: Mapping[int, int],
    lowered: int,
    counts: Mapping[str, float] | None,
    records: int,
) -> Coverage:
    """Counts, for words by row and the rows that were found."""
    missing = [word for word, row in words.items() if row not in found]
    tokens = None
    if counts is not None:
        missing.sort(key=lambda word: -counts.get(word, 0))
        total = sum(counts.values())
        covered = sum(
            count for word, count in counts.items() if words.get(word, -1) in found
        )
        tokens = covered / total if total else 0.0
    return Coverage(
        len(words),
        len(found),
        lowered,
        len(found) / len(words),
        tokens,
        tuple(missing[:EXAMPLES]),
        records,
    )
