import json

import pytest

from keras_tricks.lint import Finding, Report

MILD = Finding("It is narrow.", ["b/c", "b/d"], code="KT104", severity="info")
BAD = Finding("It is NaN.", code="KT401", severity="error", fix="x = 1\ny = 2")
MIDDLE = Finding(
    "It is slow.", "a", code="MY101", severity="warning", why="So.", source="S"
)
REPORT = Report([MILD, BAD, MIDDLE], ["No data."])


def codes(report):
    return [finding.code for finding in report]


def test_the_worst_comes_first():
    assert codes(REPORT) == ["KT401", "MY101", "KT104"]
    assert REPORT[0] is BAD


def test_a_report_is_as_long_and_as_true_as_its_findings():
    assert (len(REPORT), bool(REPORT)) == (3, True)
    assert (len(Report()), bool(Report())) == (0, False)


def test_it_prints_as_a_table():
    assert str(REPORT).splitlines() == [
        "3 findings: 1 error, 1 warning, 1 info",
        "code   severity  layer           finding",
        "KT401  error                     It is NaN.",
        "MY101  warning   a               It is slow.",
        "KT104  info      b/c and 1 more  It is narrow.",
        "Note: No data.",
    ]
    assert str(Report()) == "0 findings"
    assert repr(Report([BAD])) == "<Report 1 finding: 1 error>"


def test_long_sentences_and_paths_are_folded_and_cut():
    long = Finding("word " * 40, "p" * 50, code="KT999", severity="info")
    lines = str(Report([long])).splitlines()
    assert max(map(len, lines)) <= 100
    assert "..." + "p" * 37 in lines[2]
    assert (
        " ".join(line.split("  ")[-1].strip() for line in lines[2:]).count("word") == 40
    )


def test_it_is_filtered_by_severity_code_and_layer():
    assert codes(REPORT.filter(severity="warning")) == ["KT401", "MY101"]
    assert codes(REPORT.filter(code="KT")) == ["KT401", "KT104"]
    assert codes(REPORT.filter(code=["KT4", "MY101"])) == ["KT401", "MY101"]
    assert codes(REPORT.filter(layer="b")) == ["KT104"]
    assert codes(REPORT.filter("info", "KT1", ".*/d")) == ["KT104"]
    assert REPORT.filter(code="XY").notes == ("No data.",)
    with pytest.raises(
        ValueError, match=r"`severity` must be one of .* mean 'warning'"
    ):
        REPORT.filter(severity="warnings")


def test_it_is_exported_as_json():
    content = json.loads(REPORT.to_json())
    assert content["notes"] == ["No data."]
    assert content["findings"][2] == {
        "message": "It is narrow.",
        "layers": ["b/c", "b/d"],
        "fix": "",
        "severity": "info",
        "why": "",
        "code": "KT104",
        "source": "",
        "safe": False,
    }


def test_it_explains_in_full():
    assert REPORT.explain().split("\n\n")[:2] == [
        "KT401 error\nIt is NaN.\nFix:\n    x = 1\n    y = 2",
        "MY101 warning [a]\nIt is slow.\nWhy: So.\nSource: S",
    ]
    many = Finding("It.", [f"a{i}" for i in range(12)], code="KT1", severity="info")
    assert Report([many]).explain().splitlines()[0].endswith(", a9, and 2 more]")


def test_it_raises_if_a_finding_is_bad_enough():
    with pytest.raises(ValueError, match=r"1 finding: 1 error\ncode(.|\n)*It is NaN"):
        REPORT.raise_if("error")
    with pytest.raises(ValueError, match="2 findings"):
        REPORT.raise_if("warning")
    Report([MILD]).raise_if("warning")


def test_what_is_no_finding_is_told():
    with pytest.raises(TypeError, match=r"`findings` must hold .* Received: 'KT101'"):
        Report(["KT101"])
    with pytest.raises(
        ValueError, match="`message` must be a string that is not empty"
    ):
        Finding("")
    with pytest.raises(ValueError, match="`severity` must be one of"):
        Finding("It.", severity="fatal")
