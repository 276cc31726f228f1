"""A plugin: the table of drills in docs/reliability.md, made by the run that it tells of.

A drill is a test with the marker `drill(section, what happens, what comes of it)`. With
`--drills PAGE` a run writes a row for each into PAGE, between two comments. What was not run whole
writes nothing: not after an interrupt, a crash, or a stop at the first failure. With
`--collect-only` the rows have no results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SECTIONS = (
    "Killed at any moment",
    "Disk and permissions",
    "Damage",
    "Environment",
    "Processor and memory",
    "Two at once",
    "Git and DVC",
    "Folders and clones",
    "MLflow",
    "Network",
)
BEGIN, END = "<!-- drills -->\n", "<!-- end of drills -->\n"
PROPERTY = "drill"
NOT_RUN = "not run"


@dataclass
class Drill:
    """One function's tests: what the marker says, and how they ended."""

    file: str
    line: int
    test: str
    words: tuple[str, str, str]
    ended: dict[str, tuple[str, str]] = field(default_factory=dict)  # by id: outcome, reason

    def result(self) -> str:
        """In words, failures first."""
        counts = Counter(outcome for outcome, _ in self.ended.values())
        total = len(self.ended)
        if total == counts[NOT_RUN]:
            return NOT_RUN
        if total == counts["passed"]:
            return "passed" if total == 1 else f"{total} of {total} passed"
        said = []
        for outcome in ("failed", "passed"):
            if counts[outcome]:
                said.append(f"{counts[outcome]} of {total} {outcome}")
        if counts["skipped"]:
            reasons = dict.fromkeys(why for how, why in self.ended.values() if how == "skipped")
            which = "skipped" if counts["skipped"] == total else f"{counts['skipped']} skipped"
            said.append(f"{which}: {'; '.join(reasons)}")
        return ", ".join(said)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--drills", type=Path, metavar="PAGE", help="write the table of drills into this page"
    )


def pytest_configure(config: pytest.Config) -> None:
    page = config.getoption("--drills")
    if page is None or hasattr(config, "workerinput"):
        return
    try:
        text = page.read_text("utf-8")
    except OSError as error:
        raise pytest.UsageError(f"--drills: {page}: {error.strerror}") from None
    if not 0 <= text.find(BEGIN) < text.find(END):
        raise pytest.UsageError(f"--drills: {page}: it lacks {BEGIN.strip()} and {END.strip()}")
    config.pluginmanager.register(Table(page), "table of drills")


def pytest_itemcollected(item: pytest.Item) -> None:
    """The marker's words go along with the test's reports, also from another process."""
    marker = item.get_closest_marker("drill")
    if marker is None:
        return
    if len(marker.args) != 3 or marker.kwargs or marker.args[0] not in SECTIONS:
        raise pytest.UsageError(
            f"{item.nodeid}: drill(section, what happens, what comes of it), with a section of "
            f"{', '.join(SECTIONS)}; not {marker.args}"
        )
    item.user_properties.append((PROPERTY, list(marker.args)))


class Table:
    """Of one run, in the process that gets all reports."""

    def __init__(self, page: Path) -> None:
        self.page = page
        self.drills: dict[tuple[str, str], Drill] = {}
        self.selected: set[str] = set()
        self.done: set[str] = set()
        self.said = ""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.selected.update(item.nodeid for item in session.items)
        if session.config.option.collectonly:
            self.done |= self.selected
            for item in session.items:
                if words := dict(item.user_properties).get(PROPERTY):
                    self.drill(item.location, words).ended[item.nodeid] = NOT_RUN, ""

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Iterable[str]) -> None:
        self.selected.update(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self.done.add(report.nodeid)
        words = dict(report.user_properties).get(PROPERTY)
        if words is None:
            return
        drill = self.drill(report.location, words)
        if report.failed:
            drill.ended[report.nodeid] = "failed", ""
        elif report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else "expected to fail"
            drill.ended.setdefault(report.nodeid, ("skipped", why.removeprefix("Skipped: ")))
        elif report.when == "call":
            drill.ended.setdefault(report.nodeid, ("passed", ""))

    def drill(self, location: tuple[str, int | None, str], words: Any) -> Drill:
        """The row of a test."""
        path, line, test = location
        name = test.partition("[")[0]
        key = Path(path).name, name
        return self.drills.setdefault(key, Drill(key[0], line or 0, name, tuple(words)))

    def pytest_sessionfinish(self, exitstatus: int | pytest.ExitCode) -> None:
        missing = len(self.selected - self.done)
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or missing:
            which = f"{missing} of {len(self.selected)} tests did not end" if missing else "no run"
            self.said = f"{self.page}: not written: {which}"
        elif not self.drills:
            self.said = f"{self.page}: not written: no drill was among the tests"
        else:
            text = self.page.read_text("utf-8")
            before, _, rest = text.partition(BEGIN)
            after = rest.partition(END)[2]
            table = markdown(self.drills.values())
            self.page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", "utf-8")
            self.said = f"{self.page}: the table of {len(self.drills)} drills"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.write_line(self.said)


def markdown(drills: Iterable[Drill]) -> str:
    """A line of sums, and a table for each section, in the order of the files."""
    rows = sorted(drills, key=lambda drill: (drill.file, drill.line))
    counts = Counter(outcome for drill in rows for outcome, _ in drill.ended.values())
    sums = ", ".join(
        f"{counts[how]} {how}" for how in ("failed", "passed", "skipped", NOT_RUN) if counts[how]
    )
    lines = [f"{len(rows)} drills, {sum(counts.values())} tests: {sums}."]
    for section in SECTIONS:
        those = [drill for drill in rows if drill.words[0] == section]
        if those:
            lines += ["", f"### {section}", ""]
            lines += ["| what happens | what comes of it | test | result |", "| - | - | - | - |"]
            for drill in those:
                _, happens, comes = (_cell(text) for text in drill.words)
                name = f"`{drill.file}::{drill.test}`"
                lines.append(f"| {happens} | {comes} | {name} | {_cell(drill.result())} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
