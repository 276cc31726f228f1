"""Numbers as a reader wants them: four significant digits, a true minus, thousands apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

_MINUS = "\N{MINUS SIGN}"


def decimals(value: float) -> int:
    """How many give four significant digits: none of a large number, at most 5."""
    if value == 0 or not math.isfinite(value):
        return 4
    return min(5, max(0, 3 - math.floor(math.log10(abs(value)))))


def text(value: float, places: int | None = None) -> str:
    """Whole numbers whole, others with `places` decimals, or four significant digits."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: f"{_MINUS}∞"}.get(value, "not a number")
    if isinstance(value, int):
        return f"{value:,}".replace("-", _MINUS)
    if places is None:
        places = 1 if value.is_integer() else decimals(value)
        if 0 < abs(value) < 1e-3:
            return f"{value:.1e}".replace("-", _MINUS)
    return f"{value:,.{places}f}".replace("-", _MINUS)


def change(value: float, *, like: float) -> str:
    """A difference with its sign, as fine as `like`; finer if it is too small for that."""
    if isinstance(value, int):
        return f"{value:+,}".replace("-", _MINUS)
    shown = f"{value:+,.{decimals(like)}f}"
    if value and not shown.strip("+-0."):
        shown = f"{value:+.0e}"
    return shown.replace("-", _MINUS)


def column(values: Sequence[str | float]) -> list[str]:
    """The cells of a column alike: whole if all are, else with decimals that suit the largest."""
    counted = [v for v in values if not isinstance(v, str) and math.isfinite(v)]
    whole = all(float(v).is_integer() for v in counted)
    places = 0 if whole else min(4, decimals(max(map(abs, counted), default=0.0)))
    if not whole and max(map(abs, counted)) < 10:
        places = 3
    return [(v or "–") if isinstance(v, str) else text(float(v), places) for v in values]
