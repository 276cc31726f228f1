"""Draw docs/pipeline.svg, which stage reads what of which, from dvc.yaml: `make results`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any

import matplotlib as mpl
import networkx as nx
import yaml
from matplotlib.figure import Figure

from lockstep.core.files import atomic_file

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "pipeline.svg"
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "pipeline",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
}
_FIRST = "check"  # what every stage reads of it is left out
_WIDE, _HIGH = 1.15, 0.62  # inches from one stage to the next


def _named(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        yield entry if isinstance(entry, str) else next(iter(entry))


def graph(dvc: Path) -> nx.DiGraph:
    """The stages of a dvc.yaml, each with an arrow to those that read what it writes.

    A `foreach` stage is one node. An arrow that others imply is left out.
    """
    stages = {
        name: stage.get("do", stage)
        for name, stage in yaml.safe_load(dvc.read_text("utf-8"))["stages"].items()
    }
    writes = {
        PurePosixPath(path): name
        for name, stage in stages.items()
        for kind in ("outs", "metrics", "plots")
        for path in _named(stage.get(kind, []))
    }
    arrows = nx.DiGraph()
    arrows.add_nodes_from(stages)
    for name, stage in stages.items():
        for path in map(PurePosixPath, _named(stage.get("deps", []))):
            for above in (path, *path.parents):
                if above in writes:
                    arrows.add_edge(writes[above], name)
    arrows.remove_edges_from([e for e in arrows.edges if e[0] == _FIRST and e[1] != "crawl"])
    return nx.transitive_reduction(arrows)


def places(arrows: nx.DiGraph) -> dict[str, tuple[float, float]]:
    """Columns by the longest way to a stage; in a column, those that read the same lie apart."""
    found: dict[str, tuple[float, float]] = {}
    for column, names in enumerate(nx.topological_generations(arrows)):

        def height(name: str) -> tuple[float, str]:
            above = [found[other][1] for other in arrows.predecessors(name)]
            return (-sum(above) / max(1, len(above)), name)

        for row, name in enumerate(sorted(names, key=height)):
            found[name] = (column, (len(names) - 1) / 2 - row)
    return found


def draw(arrows: nx.DiGraph) -> str:
    """The stages and arrows as SVG; the same bytes for the same arrows."""
    at = places(arrows)
    columns = max(x for x, _ in at.values()) + 1
    rows = 2 * max(y for _, y in at.values()) + 1
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(columns * _WIDE, rows * _HIGH), dpi=72)  # as SVG counts
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-0.5, columns - 0.5), ylim=(-rows / 2, rows / 2))
        axes.axis("off")
        box = {"boxstyle": "round,pad=0.4", "facecolor": "#eef3fb", "edgecolor": "#4c6fae"}
        labels = {
            name: axes.text(x, y, name, ha="center", va="center", fontsize=9, bbox=box, zorder=2)
            for name, (x, y) in at.items()
        }
        figure.draw_without_rendering()  # the boxes have their places: arrows end at them
        for start, end in sorted(arrows.edges):
            axes.annotate(
                "",
                at[end],
                at[start],
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": "#667",
                    "patchA": labels[start].get_bbox_patch(),
                    "patchB": labels[end].get_bbox_patch(),
                    "shrinkA": 1,
                    "shrinkB": 1,
                },
                zorder=1,
            )
        out = StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None}, facecolor="white")
    return out.getvalue()


def main() -> None:
    """Write the picture."""
    with atomic_file(PICTURE) as unfinished:
        unfinished.write_text(draw(graph(ROOT / "dvc.yaml")), "utf-8")
    print(PICTURE.relative_to(ROOT), file=sys.stderr)


if __name__ == "__main__":
    main()
