"""A small table that prints itself."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any


class Report:
    """Rows of one kind under their names, with a line that sums them up.

    Its rows are named tuples: `report.rows[0].status`, or `for row in report`.
    """

    def __init__(self, summary: str, rows: Sequence[Any]) -> None:
        self.summary = summary
        self.rows = list(rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        if not self.rows:
            return self.summary
        table = [self.rows[0]._fields, *self.rows]
        cells = [[_cell(value) for value in row] for row in table]
        return "\n".join([self.summary, *laid_out(cells)])

    def __repr__(self) -> str:
        return f"<Report {self.summary}>"


def laid_out(cells: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """The lines of a table; with a `width` its last column is folded."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [c.ljust(w) for c, w in zip(row[:-1], widths, strict=False)]
        start = "".join(cell + "  " for cell in padded)
        text = [row[-1]]
        if width is not None:
            text = textwrap.wrap(row[-1], max(width - len(start), 40)) or [""]
        lines.append(start + text[0])
        lines += [" " * len(start) + more for more in text[1:]]
    return [line.rstrip() for line in lines]


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
