"""Curves as images, generated without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

from matplotlib.figure import Figure


def lines(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str,
    right: Mapping[str, Sequence[float]] | None = None,
    right_label: str = "",
) -> bytes:
    """A PNG with a line for each of `curves`, over `x`; those of `right` have an axis there."""
    figure = Figure(figsize=(6.4, 4.0), dpi=100, layout="constrained")
    left = figure.subplots()
    left.set(xlabel=x_label, ylabel=y_label)
    left.grid(alpha=0.3)
    for name, values in curves.items():
        left.plot(x, values, marker="o", markersize=3, label=name)
    handles, labels = left.get_legend_handles_labels()
    if right:
        axis = left.twinx()
        axis.set_ylabel(right_label)
        for name, values in right.items():
            axis.plot(x, values, "--", color="gray", marker="s", markersize=3, label=name)
        more = axis.get_legend_handles_labels()
        handles, labels = handles + more[0], labels + more[1]
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    out = BytesIO()
    # Nothing of the library's version in the file: the same curves are the same bytes.
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
