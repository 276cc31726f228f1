"""Line charts as SVG, in the colours of the page: those differ by day and by night."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from matplotlib import rc_context, rcParamsDefault
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

_FEW = 8  # so few different x each get their number
_DOTS = 40
_APART = 0.07  # of the axis, between the numbers under it at least
# Drawn in these, which stand for the page's own.
_LINES = ("#000001", "#000002", "#000003", "#000004")
_GRID, _AXIS, _TEXT = "#000005", "#000006", "#000007"
_OF_PAGE = {colour: f"var(--line-{i})" for i, colour in enumerate(_LINES)}
_OF_PAGE |= {_GRID: "var(--rule)", _AXIS: "var(--faint)", _TEXT: "var(--soft)"}
# Text stays text, and the same chart is the same bytes: ids follow from what is drawn, and a
# matplotlibrc of the reader's changes nothing.
_STYLE: dict[Any, Any] = {
    **{key: value for key, value in rcParamsDefault.items() if not key.startswith("backend")},
    "font.size": 12.5,  # units of the drawing, as the page has its small text in pixels
    "svg.fonttype": "none",
    "svg.hashsalt": "lockstep",
    "axes.edgecolor": _AXIS,
    "axes.labelcolor": _TEXT,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": _GRID,
    "xtick.color": _AXIS,
    "xtick.labelcolor": _TEXT,
    "ytick.labelcolor": _TEXT,
}

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """`svg` is an element, and `names` are its lines', in the order of the page's colours."""

    title: str
    x_label: str
    svg: str
    names: tuple[str, ...]
    is_logarithmic: bool


def draw(
    title: str, x_label: str, curves: Mapping[str, Points], *, falls_far: bool = False
) -> Chart | None:
    """A line for each curve; None if there is no point to draw.

    Points that are not finite leave a gap. With `falls_far` the upright axis is logarithmic if the
    values span a factor of 5; the other one is if few values span one of 20 (numbers of steps).
    """
    kept = [(x, y) for points in curves.values() for x, y in points if math.isfinite(x + y)]
    if not kept:
        return None
    xs, ys = sorted({x for x, _ in kept}), [y for _, y in kept]
    is_few, log_y = len(xs) <= _FEW, falls_far and _spans(ys, 5)
    log_x = is_few and _spans(xs, 20)
    with rc_context(_STYLE):
        figure = Figure(figsize=(6.7, 3.75), layout="constrained")  # inches of 72 pixels
        axes = figure.subplots()
        axes.grid(axis="y")
        axes.tick_params(axis="y", which="both", length=0)
        axes.set_xlabel(x_label, loc="right")
        axes.set_xscale("log" if log_x else "linear")
        axes.set_yscale("log" if log_y else "linear")
        for i, points in enumerate(curves.values()):
            gapped = [(x, y if math.isfinite(y) else math.nan) for x, y in points]
            marker = "o" if sum(math.isfinite(y) for _, y in points) <= _DOTS else ""
            axes.plot(*zip(*gapped, strict=True), color=_LINES[i % 4], marker=marker, markersize=4)
        if log_y and max(ys) / min(ys) < 1000:
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        if is_few:
            axes.set_xticks(_apart(xs, log_x))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        out = StringIO()
        # No date, and nothing of the library's version.
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    svg = out.getvalue()
    for colour, own in _OF_PAGE.items():
        svg = svg.replace(colour, own)
    # Nothing refers to these ids, and each chart of a page has them; its style would be the page's.
    svg = re.sub(r' id="[\w.]+_\d+"|<style.*?</style>', "", svg[svg.index("<svg") :], flags=re.S)
    return Chart(title, x_label, svg, tuple(curves), log_y)


def _spans(values: Sequence[float], factor: float) -> bool:
    return min(values) > 0 and max(values) / min(values) >= factor


def _apart(xs: Sequence[float], is_logarithmic: bool) -> list[float]:
    """Those of the sorted `xs` whose numbers do not touch each other's."""
    kept = [xs[0]]
    places = {x: math.log(x) if is_logarithmic else x for x in xs}
    for x in xs:
        if places[x] - places[kept[-1]] >= _APART * (places[xs[-1]] - places[xs[0]]) > 0:
            kept.append(x)
    return kept
