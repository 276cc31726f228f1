"""The tables of docs/reliability.md: written by a run, and complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drill_table import BEGIN, END

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
DRILLS = """'''What is dropped. And more.'''

import pytest

pytestmark = pytest.mark.drill


@pytest.mark.parametrize("what", ["cup", "pl|ate"])
def test_it_breaks(what):
    '''Into pieces.

    Not seen.
    '''
    assert what == "cup"


def test_it_bounces():
    pytest.skip("no ball")


@pytest.mark.parametrize("number", range(20))
def test_it_rolls(number):
    pass
"""


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_run_writes_its_tables_into_the_page(tmp_path: Path, processes: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n", "utf-8")
    tests = tmp_path / "tests"
    tests.mkdir()
    for name in ("conftest.py", "drill_table.py"):
        shutil.copy(ROOT / "tests" / name, tests)
    (tests / "test_drop.py").write_text(DRILLS, "utf-8")
    (tests / "test_other.py").write_text("def test_nothing():\n    pass\n", "utf-8")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = [sys.executable, "-m", "pytest", "tests", "-n", processes, f"--drills={page}"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    rows = page.read_text("utf-8")
    assert rows.startswith(f"Before.\n\n{BEGIN}\n\n### What is dropped. And more\n")
    assert rows.endswith(f"{END}\n\nAfter.\n")
    assert "| It breaks. Into pieces. | `cup`, `pl\\|ate` | 1 of 2 |\n" in rows
    assert "| It bounces. |  | 0 of 0, 1 skipped |\n| It rolls. | 20 | 20 of 20 |\n" in rows
    assert "old" not in rows and "nothing" not in rows


def test_every_drill_is_in_the_page_and_has_passed() -> None:
    page = PAGE.read_text("utf-8")
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "drill", "-n", "0"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tests = re.findall(r"^tests/test_\w+\.py::test_(\w+)", listed, re.M)
    assert tests
    missing = {name for name in tests if name.replace("_", " ").capitalize() not in page}
    assert not missing, "`make drills` writes them"
    results = re.findall(r"\| (\d+) of (\d+)[^|]*\|$", page, re.M)
    assert all(passed == ran for passed, ran in results)
