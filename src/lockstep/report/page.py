"""The report as HTML."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from lockstep import atomic
from lockstep.report import curves, numbers
from lockstep.report.gather import Report, gather


def write(workload: str, out: Path) -> None:
    """One HTML file at `out`, there whole or not at all. Raises `LockstepError` as `gather`."""
    html = render(gather(workload, out))
    with atomic.file(out) as file:
        file.write_text(html, "utf-8")


def render(report: Report) -> str:
    """The page; every text in it is escaped."""
    environment = Environment(
        loader=PackageLoader("lockstep.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = numbers.text
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    page = environment.get_template("page.html")
    return page.render(report=report, geometry=curves)
