"""A small table that prints itself."""

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
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        return "\n".join([self.summary, *lines])

    def __repr__(self) -> str:
        return f"<Report {self.summary}>"


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
