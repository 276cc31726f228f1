"""The report as HTML."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from lockstep.core.files import atomic_file
from lockstep.report import numbers
from lockstep.report.gather import gather


def write(workload: str, out: Path) -> None:
    """One HTML file at `out`, there whole or not at all; every text in it is escaped.

    Raises `LockstepError` as `gather`.
    """
    environment = Environment(
        loader=PackageLoader("lockstep.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = numbers.text
    environment.filters["number_or_dash"] = lambda v: "–" if v is None else numbers.text(v)
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    page = environment.get_template("page.html")
    html = page.render(report=gather(workload, out))
    with atomic_file(out) as file:
        file.write_text(html, "utf-8")
