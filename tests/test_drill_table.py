"""The page of drills, written by runs of pytest in processes of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import drill_table

pytest_plugins = "pytester"

PAGE = f"# A page\n\n{drill_table.BEGIN}an old table\n{drill_table.END}\nthe rest\n"
TESTS = {
    "test_b": """
import pytest

@pytest.mark.drill("Damage", "a | file is cut", "it is named")
@pytest.mark.parametrize("number", range(3))
def test_cut(number): pass

@pytest.mark.drill("Killed at any moment", "a kill", "it goes on")
@pytest.mark.parametrize("number", range(4))
def test_killed(number):
    if number == 1: pytest.skip("why")
    assert number != 2

def test_no_drill(): pass
""",
    "test_a": """
import pytest

@pytest.fixture
def broken():
    yield
    assert False

@pytest.mark.drill("Damage", "it breaks after", "a failure too")
def test_after(broken): pass

@pytest.mark.drill("Damage", "it cannot be made", "it is skipped")
def test_skipped(): pytest.skip("as\\nthis")

@pytest.mark.drill("Damage", "one alone", "it is well")
def test_one(): pass
""",
}
TABLE = """\
5 drills, 10 tests: 2 failed, 6 passed, 2 skipped.

### Killed at any moment

| what happens | what comes of it | test | result |
| - | - | - | - |
| a kill | it goes on | `test_b.py::test_killed` | 1 of 4 failed, 2 of 4 passed, 1 skipped: why |

### Damage

| what happens | what comes of it | test | result |
| - | - | - | - |
| it breaks after | a failure too | `test_a.py::test_after` | 1 of 1 failed |
| it cannot be made | it is skipped | `test_a.py::test_skipped` | skipped: as this |
| one alone | it is well | `test_a.py::test_one` | passed |
| a \\| file is cut | it is named | `test_b.py::test_cut` | 3 of 3 passed |
"""


@pytest.fixture
def page(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(Path(drill_table.__file__).parent))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini(
        "[pytest]\nmarkers = drill: a row\naddopts = --strict-markers -p xdist -p drill_table"
    )
    path = pytester.path / "page.md"
    path.write_text(PAGE, "utf-8")
    return path


def run(pytester: pytest.Pytester, *arguments: str) -> str:
    """In this process where no other is asked for: it is quicker."""
    if "-n" in arguments:
        done = pytester.run(sys.executable, "-m", "pytest", "--drills", "page.md", *arguments)
    else:
        done = pytester.runpytest_inprocess("--drills", "page.md", *arguments)
    return "\n".join([*done.outlines, *done.errlines])


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one", "two"])
def test_the_table_of_a_run(
    pytester: pytest.Pytester, page: Path, processes: tuple[str, ...]
) -> None:
    pytester.makepyfile(**TESTS)
    for _ in range(2):
        assert "page.md: the table of 5 drills" in run(pytester, *processes)
        assert page.read_text("utf-8") == PAGE.replace("an old table\n", f"\n{TABLE}\n")


def test_collecting_alone_gives_rows_without_results(pytester: pytest.Pytester, page: Path) -> None:
    pytester.makepyfile(**TESTS)
    assert "page.md: the table of 5 drills" in run(pytester, "--collect-only")
    text = page.read_text("utf-8")
    assert "5 drills, 10 tests: 10 not run." in text
    assert "| a kill | it goes on | `test_b.py::test_killed` | not run |" in text
    assert "passed" not in text


@pytest.mark.parametrize(
    ("test", "arguments", "said"),
    [
        ("def test_stop(): pytest.exit()", (), "2 of 2 tests did not end"),
        ("def test_stop(): assert False", ("-x",), "1 of 2 tests did not end"),
        ("import os\ndef test_stop(): os._exit(1)", ("-n", "1"), "1 of 2 tests did not end"),
        ("def test_stop(): nothing.at_all", ("-k", "stop"), "no drill was among the tests"),
        ("nothing.at_all", (), "no run"),
    ],
)
def test_what_was_not_run_whole_writes_nothing(
    pytester: pytest.Pytester, page: Path, test: str, arguments: tuple[str, ...], said: str
) -> None:
    drill = '@pytest.mark.drill("Damage", "a", "b")\ndef test_drill(): pass'
    pytester.makepyfile(f"import pytest\n{test}\n{drill}")
    assert f"page.md: not written: {said}" in run(pytester, *arguments)
    assert page.read_text("utf-8") == PAGE


def test_a_page_without_a_place_for_it_ends_the_run(pytester: pytest.Pytester, page: Path) -> None:
    pytester.makepyfile("def test_one(): pass")
    page.write_text(drill_table.END + drill_table.BEGIN)
    assert "--drills: page.md: it lacks <!-- drills -->" in run(pytester)
    page.unlink()
    assert "--drills: page.md: No such file" in run(pytester)


def test_a_section_that_there_is_not_is_said(pytester: pytest.Pytester, page: Path) -> None:
    pytester.makepyfile(
        "import pytest\n@pytest.mark.drill('Damages', 'a', 'b')\ndef test_one(): pass"
    )
    assert "test_one: drill(section, what happens, what comes of it)" in run(pytester)
    assert page.read_text("utf-8") == PAGE
