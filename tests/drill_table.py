"""docs/reliability.md's tables, from a run of the drills: `make drills`."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BEGIN, END = "<!-- drills -->", "<!-- end of drills -->"
_LISTED = 14  # cases that are named; of more there is the number


@dataclass
class Drill:
    """A test, its cases, and those of them that passed or were skipped."""

    cases: list[str] = field(default_factory=list)
    passed: int = 0
    skipped: int = 0

    @property
    def result(self) -> str:
        """In words, of all cases."""
        ran = len(self.cases) - self.skipped
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} of {ran}{skipped}"


class Table:
    """A plugin of pytest: notes how each case of each drill ended, and writes the page."""

    def __init__(self, page: Path) -> None:
        self._page = page
        self._drills: defaultdict[tuple[str, str], Drill] = defaultdict(Drill)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of each part of a test: its setup, itself, its end."""
        if "drill" not in report.keywords:
            return
        file, _, test = report.nodeid.partition("::")
        name, _, case = test.partition("[")
        drill = self._drills[file, name]
        if report.when == "setup":
            drill.cases.append(case.removesuffix("]"))
        drill.passed += report.when == "call" and report.passed
        drill.skipped += report.skipped

    def pytest_sessionfinish(self) -> None:
        """Write what was run; of nothing the page stays as it is."""
        if self._drills:
            text = self._page.read_text("utf-8")
            before, after = text.partition(BEGIN)[0], text.partition(END)[2]
            made = tables(self._drills)
            self._page.write_text(f"{before}{BEGIN}\n\n{made}\n{END}{after}", "utf-8")


def tables(drills: Mapping[tuple[str, str], Drill], root: Path = Path()) -> str:
    """A heading and a table for each file of tests, in the order of the tests in it."""
    parts = []
    for file in sorted({file for file, _ in drills}):
        title, said = _said(root / file)
        parts.append(f"### {title}\n\n`{file}`\n\n| | cases | passed |\n| --- | --- | --- |")
        parts[-1] += "".join(
            f"\n| {_cell(name, said[name])} | {_cases(drills[file, name].cases)} "
            f"| {drills[file, name].result} |"
            for name in said
            if (file, name) in drills
        )
    return "\n\n".join(parts) + "\n"


def _said(path: Path) -> tuple[str, dict[str, str]]:
    """The first line of a file's docstring, and the first sentence of each test's, in order."""
    tree = ast.parse(path.read_text("utf-8"))
    tests = {
        node.name: (ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " ")
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    title = (ast.get_docstring(tree) or path.stem).partition("\n")[0]
    return title.rstrip("."), tests


def _cell(name: str, said: str) -> str:
    what = name.removeprefix("test_").replace("_", " ").capitalize()
    return f"{what}. {said}".rstrip().replace("|", "\\|")


def _cases(cases: Iterable[str]) -> str:
    named = [case for case in cases if case]
    if len(named) > _LISTED:
        return str(len(named))
    return ", ".join(f"`{case}`" for case in named).replace("|", "\\|")
