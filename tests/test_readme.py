"""The README says the same in both languages: commands, names, pictures."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = ROOT / "README.md", ROOT / "README.zh.md"
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"`[^`\n]+`")

# The tests also run where only they were copied to.
pytestmark = pytest.mark.skipif(
    not all(path.exists() for path in FILES), reason="the READMEs are not here"
)


def texts():
    return [path.read_text(encoding="utf-8") for path in FILES]


def prose():
    return [FENCED.sub("", text) for text in texts()]


def test_both_have_the_same_commands_and_programs_in_order():
    english, chinese = map(FENCED.findall, texts())
    assert english
    assert chinese == english


def test_each_row_of_the_table_names_the_same():
    english, chinese = (
        [QUOTED.findall(line) for line in text.splitlines() if line.startswith("|")]
        for text in prose()
    )
    assert len(english) > 40
    # What the first cell quotes counts too.
    assert chinese == english


def test_both_have_the_same_sections_and_pictures():
    levels, pictures = (
        [re.findall(pattern, text, re.MULTILINE) for text in prose()]
        for pattern in (r"^#+(?= )", r"!\[[^\]]*\]\(([^)]*)\)")
    )
    assert levels[0] == levels[1]
    assert pictures[0] == pictures[1]
    assert all((ROOT / picture).exists() for picture in pictures[0])


def test_both_quote_the_same_names_in_their_prose():
    english, chinese = ({*QUOTED.findall(text)} for text in prose())
    assert chinese == english


def test_the_evidence_in_the_table_is_that_of_the_page():
    page = (ROOT / "tutorials" / "EVIDENCE.md").read_text(encoding="utf-8")
    told = re.compile(r"\[\+(\d+) -(\d+) of (\d+)\]\(tutorials/EVIDENCE\.md#(\w+)\)")
    for text in texts():
        cells = told.findall(text)
        assert len(cells) > 20
        for helps, hurts, tasks, claim in cells:
            lines = [line for line in page.splitlines() if f"](#{claim}) |" in line]
            verdicts = [line.split("|")[-2].strip(" *") for line in lines]
            found = [verdicts.count("helps"), verdicts.count("hurts"), len(verdicts)]
            assert [int(helps), int(hurts), int(tasks)] == found, claim
