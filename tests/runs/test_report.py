"""The page is whole, small, safe, and shows what is in the records."""

import collections
import html.parser
import json
import re

import numpy as np
import pytest
from small_runs import SETTINGS, X, Y, build, record

import keras_tricks as kt
from keras_tricks._report import Report
from keras_tricks.runs import _svg

EVIL = "</title></script><script>alert(1)</script><img src=x onerror='a()'>\"'&\u202e"


Finding = collections.namedtuple("Finding", ["rule", "message"])


class Page(html.parser.HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in ("meta", "br", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("meta", "br", "path", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def page(runs, tmp_path, **settings):
    path = kt.runs.report(runs, tmp_path / "report.html", **settings)
    text = path.read_text(encoding="utf-8")
    parsed = Page(text)
    assert parsed.open == []
    assert not set(parsed.tags) & {"script", "img", "link", "iframe", "object"}
    assert not [name for name in parsed.attributes if name.startswith("on")]
    # Neither addresses nor style sheets that fetch.
    assert "://" not in text
    assert "url(" not in text
    return parsed


def test_the_page_shows_runs_curves_rates_and_settings(tmp_path):
    for units in (4, 5):
        given = {"config": {"units": units}, "validation_data": (X, Y)}
        record(tmp_path / "runs", f"u{units}", model=build(units), **given)
    parsed = page(tmp_path / "runs", tmp_path)
    assert parsed.tags.count("svg") == 2
    assert "viewport" in (tmp_path / "report.html").read_text()
    texts = parsed.texts
    assert {"Runs: 2", "u4", "u5", "units", "finished", "loss"} <= set(texts)
    assert "learning rate" in texts
    head = texts.index("state")
    # What is the same in both has no column.
    assert "batch_size" not in "".join(texts[head : head + 20])
    assert (tmp_path / "report.html").stat().st_size < 100_000


def hostile(folder):
    folder.mkdir(parents=True)
    manifest = {
        "format": 1,
        "state": "failed",
        "error": {"type": EVIL, "message": EVIL},
        "started": EVIL,
        "seconds": 1e308,
        "config": {EVIL: EVIL, "list": [[EVIL]], "big": 10**200},
    }
    (folder / "run.json").write_text(json.dumps(manifest))
    rows = ["0,1e308,nan,1", "1,-1e308,inf,1", "nan,1,1,1", "1e400,0,0,0"]
    header = f'epoch,loss,learning_rate,"{EVIL.replace(chr(34), chr(34) * 2)}"'
    (folder / "history.csv").write_text("\n".join([header, *rows, ""]))
    (folder / "extra").mkdir()
    extra = {
        EVIL[:3].replace("/", ""): {EVIL: [EVIL]},
        "lint": [{EVIL: EVIL, "rule": "r"}, 3, None, {"x": {"y": [EVIL]}}],
        "range_test": {"learning_rates": [EVIL, 1e-3, 0, -1], "losses": [1, 2]},
        "forecast": {"plot": {"curves": [{"name": EVIL, "x": [1], "y": [2]}, 3]}},
        "a": EVIL,
        "b": [],
        "c": {"plot": {"curves": EVIL}},
        "d": {"learning_rates": [1e-3, 1e-2], "losses": [1, 2], "suggestion": EVIL},
    }
    for name, content in extra.items():
        (folder / "extra" / f"{name}.json").write_text(json.dumps(content))


def test_whatever_a_record_holds_is_shown_as_text(tmp_path):
    hostile(tmp_path / "runs" / "<script>alert(1)<")
    parsed = page(tmp_path / "runs", tmp_path, title=EVIL)
    shown = "".join(parsed.texts)
    assert "<script>alert(1)</script>" in shown
    assert "\u202e" not in shown


def test_many_large_runs_are_cut_and_that_is_said(tmp_path):
    for number in range(60):
        folder = tmp_path / "runs" / f"r-{number}"
        folder.mkdir(parents=True)
        settings = {f"s{i}": i + number for i in range(400)}
        manifest = {"format": 1, "state": "finished", "config": settings}
        (folder / "run.json").write_text(json.dumps(manifest))
        rows = "".join(f"{i},{i}.5\n" for i in range(2000))
        (folder / "history.csv").write_text("epoch,loss\n" + rows)
    parsed = page(tmp_path / "runs", tmp_path)
    assert "The first 40 are drawn." in parsed.texts
    assert "and 103 more" in parsed.texts
    assert any(re.match("They differ in 384 more settings", t) for t in parsed.texts)
    assert (tmp_path / "report.html").stat().st_size < 8_000_000


def test_things_added_have_sections(tmp_path):
    recorder = kt.callbacks.RunRecorder(tmp_path / "runs", name="a")
    rates = np.geomspace(1e-4, 1, 30)
    curve = kt.probes.LearningRateCurve(rates, 2 - np.sqrt(rates))
    recorder.add("range_test", curve)
    recorder.add("lint", Report("1 finding", [Finding("last layer", "no softmax")]))
    points = {"name": "measured", "x": [0.1, 1], "y": [3, 2], "kind": "points"}
    plot = {"x_label": "share", "y_label": "error", "log_x": True, "curves": [points]}
    recorder.add("forecast", {"plot": plot, "at_full": 1.5})
    build().fit(X, Y, callbacks=[recorder], **SETTINGS)
    parsed = page(recorder.path, tmp_path)
    texts = parsed.texts
    titles = [texts.index(t) for t in ("Lint findings", "Range test", "Forecast")]
    assert titles == sorted(titles)
    assert {"1 finding", "no softmax", "share", "measured", "at_full"} <= set(texts)
    assert parsed.tags.count("svg") == 4


def test_nothing_to_report_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="`runs` must hold at least one run"):
        kt.runs.report([], tmp_path / "report.html")
    with pytest.raises(FileNotFoundError, match=r"no run\.json"):
        kt.runs.report(tmp_path / "nothing", tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def coordinates(picture):
    (path,) = re.findall(r'class="curve [^"]*" stroke="[^"]*" d="M([^"]*)"', picture)
    return [[float(v) for v in point.split()] for point in path.split("L")]


def test_a_line_runs_from_corner_to_corner():
    curve = _svg.Curve("a", [0, 1, 2], [0.0, 5.0, 10.0])
    points = coordinates(_svg.chart([curve], x_label="x", y_label="y"))
    # The plane is 302 x 176 pixels; 3 % of the span are left free on each side.
    x, y = 48 + 302 * 0.03 / 1.06, 186 - 176 * 0.03 / 1.06
    assert points[0] == pytest.approx([x, y], abs=0.06)
    assert points[1] == pytest.approx([48 + 151, 10 + 88], abs=0.06)


def test_ten_times_as_much_is_as_far_on_a_logarithmic_axis():
    curve = _svg.Curve("a", [1, 2, 3], [1.0, 10.0, 100.0])
    heights = [y for _, y in coordinates(_svg.chart([curve], x_label="", y_label=""))]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.11)


def test_what_cannot_be_drawn_is_left_out():
    nan, inf = float("nan"), float("inf")
    assert _svg.chart([], x_label="", y_label="") == ""
    nothing = _svg.Curve("a", [1, nan, 3], [nan, 2.0, inf])
    assert _svg.chart([nothing], x_label="", y_label="") == ""
    long = _svg.Curve("a", np.arange(10_000), np.arange(10_000.0))
    points = coordinates(_svg.chart([long], x_label="", y_label=""))
    assert len(points) == 500
    flat = _svg.Curve("a", [1, 2], [3.0, 3.0])
    assert coordinates(_svg.chart([flat], x_label="", y_label=""))[0][1] == 98.0
    one = _svg.chart([_svg.Curve("a", [1], [2.0])], x_label="", y_label="")
    assert "<circle" in one
