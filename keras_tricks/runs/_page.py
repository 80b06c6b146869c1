"""The parts of a report: curves, a table of runs, and what was added to them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_tricks.runs import _html, _svg
from keras_tricks.runs._direction import is_low_good
from keras_tricks.runs._svg import COLOURS, Curve
from keras_tricks.runs.run import Run

_MOST_CURVES, _MOST_CHARTS, _MOST_METRICS = 40, 24, 4
# What a table of runs need not tell: it differs by itself.
_DULL = (
    "seeds.",
    "model.name",
    "model.initial_weights",
    "optimizer.config.name",
    "git.untracked_files",
)


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def keys(names: list[str]) -> str:
    """Which colour is which run."""
    items = "".join(
        f"<li><span class=dot style='background:{colour(i)}'></span><bdi>"
        f"{_html.text(name, 60)}</bdi></li>"
        for i, name in enumerate(names[:_MOST_CURVES])
    )
    left = len(names) - _MOST_CURVES
    note = f"<p class=note>The first {_MOST_CURVES} are drawn.</p>" if left > 0 else ""
    return f"<ul class=keys>{items}</ul>{note}"


def curves(runs: list[Run], names: list[str]) -> str:
    """A chart per metric, validation and training together, and one of the rates."""
    drawn = list(zip(runs, names, strict=True))[:_MOST_CURVES]
    metrics = list(dict.fromkeys(metric for run, _ in drawn for metric in run.metrics))
    bare = list(dict.fromkeys(metric.removeprefix("val_") for metric in metrics))
    charts = []
    for metric in bare[:_MOST_CHARTS]:
        lines = [
            Curve(
                f"{name}: {column}", _epochs(run), run.history[column], colour(i), kind
            )
            for i, (run, name) in enumerate(drawn)
            for column, kind in _columns(run, metric)
        ]
        charts.append(_svg.chart(lines, x_label="epoch", y_label=metric))
    rates = [
        Curve(name, _epochs(run), run.history["learning_rate"], colour(i))
        for i, (run, name) in enumerate(drawn)
        if "learning_rate" in run.history
    ]
    charts.append(_svg.chart(rates, x_label="epoch", y_label="learning rate"))
    found = "".join(charts)
    return f"<div class=charts>{found}</div>" if found else "<p>No epoch yet.</p>"


def _columns(run: Run, metric: str) -> list[tuple[str, str]]:
    validated = f"val_{metric}" in run.history
    found = [(f"val_{metric}", "curve")] if validated else []
    if metric in run.history:
        found.append((metric, "train" if validated else "curve"))
    return found


def _epochs(run: Run) -> np.ndarray:
    return run.history["epoch"] + 1


def overview(runs: list[Run], names: list[str]) -> str:
    """The table of runs, with the settings in which they differ."""
    metrics = _main_metrics(runs)
    differing = differing_settings(runs)
    shown = differing[: _html.MOST_COLUMNS]
    heads = ["run", "state", "epochs"]
    heads += [f"best {metric}" for metric in metrics]
    heads += ["seconds", *map(_short_name, shown)]
    rows = []
    for index, (run, name) in enumerate(zip(runs, names, strict=True)):
        dot = f"<span class=dot style='background:{colour(index)}'></span>"
        dot = dot if index < _MOST_CURVES else ""
        seconds = run.manifest.get("seconds")
        rows.append(
            [
                f"<bdi>{dot}{_html.text(name, 60)}</bdi>",
                f"<span class='state {run.state}'>{run.state}</span>",
                str(len(run.history.get("epoch", ()))),
                *(_value(run.best(metric)) for metric in metrics),
                _html.text(seconds if isinstance(seconds, float | int) else None),
                *(_html.text(run.settings.get(key), 80) for key in shown),
            ]
        )
    left = len(differing) - len(shown)
    note = f"They differ in {left} more settings; see below." if left else ""
    return _html.table(heads, rows[:1000], note)


def _value(number: float) -> str:
    return "" if np.isnan(number) else _html.text(number)


def _main_metrics(runs: list[Run]) -> list[str]:
    """Validation before training, losses last: what a reader looks for."""
    found = list(dict.fromkeys(metric for run in runs for metric in run.metrics))
    validated = [metric for metric in found if metric.startswith("val_")] or found
    return sorted(validated, key=is_low_good)[:_MOST_METRICS]


def differing_settings(runs: list[Run]) -> list[str]:
    """The names of the settings that are not the same in all runs."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    first = runs[0].settings
    return [
        name
        for name in names
        if not name.startswith(_DULL)
        and any(run.settings.get(name) != first.get(name) for run in runs[1:])
    ]


def _short_name(name: str) -> str:
    return name.removeprefix("config.").replace(".config.", ".")


def extras(runs: list[Run], names: list[str]) -> str:
    """A section for each kind of thing that was added: lint, range test, forecast."""
    held = [(name, run.extra()) for run, name in zip(runs, names, strict=True)]
    kinds = sorted({kind for _, found in held for kind in found}, key=_order)
    sections = []
    for kind in kinds:
        title = _TITLES.get(kind, kind.replace("_", " "))
        sections.append(f"<h2>{_html.text(title)}</h2>")
        for name, found in held:
            if kind in found:
                sections.append(f"<h3><bdi>{_html.text(name, 60)}</bdi></h3>")
                sections.append(_drawn(found[kind]))
    return "".join(sections)


_TITLES = {"lint": "Lint findings", "range_test": "Range test", "forecast": "Forecast"}


def _order(kind: str) -> tuple[int, str]:
    known = list(_TITLES)
    return (known.index(kind) if kind in known else len(known), kind)


def _drawn(content: Any) -> str:
    drawers: list[Callable[[dict[str, Any]], str]] = [_range_test, _own_plot]
    for draw in drawers if isinstance(content, dict) else ():
        picture = draw(content)
        if picture:
            lists = ("plot", "learning_rates", "losses", "smoothed")
            rest = {n: v for n, v in content.items() if n not in lists}
            return picture + _html.anything(rest)
    return _html.anything(content)


def _range_test(content: dict[str, Any]) -> str:
    rates = content.get("learning_rates")
    if rates is None:
        return ""
    lines = [
        Curve("batch", rates, content.get("losses"), COLOURS[-1], "points"),
        Curve("smoothed", rates, content.get("smoothed"), COLOURS[0]),
    ]
    suggested = content.get("suggestion")
    marks = []
    if isinstance(suggested, float | int) and 0 < suggested < 1e300:
        marks = [(f"suggestion {suggested:.2g}", float(suggested), COLOURS[1])]
    picture = _svg.chart(
        lines, x_label="learning rate", y_label="loss", log_x=True, marks=marks
    )
    return f"<div class=charts>{picture}</div>" if picture else ""


def _own_plot(content: dict[str, Any]) -> str:
    plot = content.get("plot")
    if not isinstance(plot, dict) or not isinstance(plot.get("curves"), list):
        return ""
    given = [c for c in plot["curves"][:_MOST_CURVES] if isinstance(c, dict)]
    lines = [
        Curve(
            str(c.get("name", "")),
            c.get("x"),
            c.get("y"),
            colour(i),
            "points" if c.get("kind") == "points" else "curve",
        )
        for i, c in enumerate(given)
    ]
    picture = _svg.chart(
        lines,
        x_label=str(plot.get("x_label", "")),
        y_label=str(plot.get("y_label", "")),
        log_x=plot.get("log_x") is True,
        log_y=True if plot.get("log_y") is True else None,
    )
    if not picture:
        return ""
    return f"{keys([line.name for line in lines])}<div class=charts>{picture}</div>"


def details(runs: list[Run], names: list[str]) -> str:
    """Everything about each run, folded."""
    parts = []
    for run, name in list(zip(runs, names, strict=True))[:1000]:
        error = ""
        if run.error:
            told = _html.text(f"{run.error['type']}: {run.error['message']}", 2000)
            error = f"<pre class=failed>{told}</pre>"
        times = {key: run.manifest[key] for key in ("started", "updated", "ended")}
        parts.append(
            f"<details><summary><bdi>{_html.text(name, 60)}</bdi> <span class='state "
            f"{run.state}'>{run.state}</span></summary>{error}"
            f"{_html.pairs({**times, **run.settings})}</details>"
        )
    return "".join(parts)
