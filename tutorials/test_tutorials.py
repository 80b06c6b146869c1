"""Every tutorial runs as a user would run it, in quick mode, and keeps its claims.

pytest tutorials
"""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
TUTORIALS = sorted(set(FOLDER.glob("*.py")) - {Path(__file__)})


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial(path, tmp_path):
    picture = tmp_path / f"{path.stem}.png"
    command = [sys.executable, path, "--quick", "--output", picture]
    # Elsewhere, so that the installed package is used and not the folder beside it.
    finished = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Claims kept" in finished.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_course_names_every_tutorial():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in TUTORIALS if f"`{path.name}`" not in text] == []
