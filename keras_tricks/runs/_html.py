"""Pieces of a page. Whatever comes from outside goes through `text`."""

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

from keras_tricks.runs import _flat

MOST_ROWS, MOST_COLUMNS = 300, 16
# Control characters, halves of surrogate pairs, and what turns text around.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]"
)


def text(value: Any, longest: int = 300) -> str:
    """A value as it may stand between tags and in quotes."""
    return html.escape(_HARMFUL.sub("\ufffd", _flat.short(value, longest)))


def table(names: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> str:
    """A table that scrolls sideways by itself; its cells are HTML already."""
    head = "".join(f"<th>{text(name)}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows
    )
    note = f"<p class=note>{text(note)}</p>" if note else ""
    return (
        f"<div class=wide><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{note}"
    )


def pairs(values: dict[str, Any]) -> str:
    """Names and values, one line each."""
    shown = list(values.items())[:MOST_ROWS]
    rows = [(text(name), text(value)) for name, value in shown]
    left = len(values) - len(shown)
    return table(("name", "value"), rows, f"and {left} more" if left else "")


def records(items: list[Any]) -> str:
    """A table of dicts with the same names, as far as they have them."""
    shown = [item for item in items[:MOST_ROWS] if isinstance(item, dict)]
    names = list(dict.fromkeys(str(name) for item in shown for name in item))
    names = names[:MOST_COLUMNS]
    rows = [[text(item.get(name)) for name in names] for item in shown]
    left = len(items) - len(shown)
    return table(names, rows, f"and {left} more" if left else "")


def anything(content: Any) -> str:
    """Plain values of any form."""
    if isinstance(content, dict):
        rows = content.get("rows")
        if isinstance(rows, list) and any(isinstance(row, dict) for row in rows):
            rest = {name: value for name, value in content.items() if name != "rows"}
            told = "".join(
                f"<p>{text(value)}</p>" if name == "summary" else pairs({name: value})
                for name, value in _flat.flat(rest).items()
                if value not in (None, "")
            )
            return told + records(rows)
        return pairs(_flat.flat(content))
    if isinstance(content, list):
        if any(isinstance(item, dict) for item in content[:MOST_ROWS]):
            return records(content)
        if not content:
            return "<p class=note>nothing</p>"
        return pairs({str(i): item for i, item in enumerate(content)})
    return f"<p>{text(content, 5000)}</p>"


STYLE = """
:root{--ink:#1c1e21;--soft:#62676f;--line:#d9dce1;--paper:#fff;--card:#f6f7f9}
@media (prefers-color-scheme:dark){:root{--ink:#e6e7ea;--soft:#a0a6b0;--line:#3a3f47;
--paper:#16181c;--card:#1f2228}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1rem;color:var(--ink);
background:var(--paper);overflow-wrap:anywhere;
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.15rem;margin:1.6rem 0 .5rem}
h3{font-size:1rem;margin:1rem 0 .3rem}
.note{color:var(--soft);font-size:.875rem;margin:.3rem 0}
.charts{display:grid;gap:1rem;
grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr))}
figure{margin:0;padding:.6rem;background:var(--card);border-radius:.5rem}
figcaption{font-weight:600;font-size:.9rem}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font:11px system-ui,sans-serif}
svg .axis{stroke:var(--line);fill:none}svg .curve{fill:none;stroke-width:1.8;
stroke-linejoin:round}svg .train{stroke-width:1.1;stroke-dasharray:2 3}
svg .mark{stroke-width:1.4;stroke-dasharray:5 3}
.keys{display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:0;margin:.4rem 0;
list-style:none;font-size:.9rem}
.dot{display:inline-block;width:.8em;height:.8em;border-radius:50%;margin-right:.35em}
.wide{overflow-x:auto}bdi{white-space:nowrap}
table{border-collapse:collapse;font-size:.875rem;min-width:100%}
th,td{padding:.3rem .6rem;text-align:left;border-bottom:1px solid var(--line);
vertical-align:top;overflow-wrap:normal;max-width:26rem}
th{color:var(--soft);font-weight:600}
.state{font-weight:600}.failed,.killed{color:#d1483b}.stopped{color:#b3761a}
.finished{color:#2f8f4e}.running{color:#3a78c9}
details{margin:.4rem 0;border:1px solid var(--line);border-radius:.5rem;
padding:.5rem .8rem}
summary{cursor:pointer;font-weight:600}
pre{white-space:pre-wrap;font-size:.8rem;margin:.3rem 0}
"""
