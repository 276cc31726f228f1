"""Line charts as geometry, for the page to draw as SVG in the reader's colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 44
_TICKS = 6
_APART = 30  # pixels between the numbers under the axis, at least
_FEW = 8  # so few different x each get their number
_DOTS = 40

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """`path` is the `d` of an SVG path; `dots` are there if they are few."""

    name: str
    path: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """Everything in pixels of an image of `WIDTH` x `HEIGHT`."""

    title: str
    x_label: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    is_logarithmic: bool


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    first: float
    last: float
    is_logarithmic: bool

    def place(self, value: float) -> float:
        low, high = self.low, self.high
        if self.is_logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.first + share * (self.last - self.first), 1)


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
    few = len(xs) <= _FEW
    log_x, log_y = few and _spans(xs, 20), falls_far and _spans(ys, 5)
    y_values = _decades(min(ys), max(ys)) if log_y else _nice(min(ys), max(ys))
    if log_y:
        y_axis = _Axis(min(ys) / 1.1, max(ys) * 1.1, HEIGHT - BOTTOM, TOP, True)
    else:
        y_axis = _Axis(y_values[0], y_values[-1], HEIGHT - BOTTOM, TOP, False)
    # Not at the very edge: the first and the last number stand centred under their places.
    inset = 10 if few else 0
    x_axis = _Axis(xs[0], xs[-1], LEFT + inset, WIDTH - RIGHT - inset, log_x)
    x_values = xs if few else [v for v in _nice(xs[0], xs[-1]) if xs[0] <= v <= xs[-1]]
    return Chart(
        title,
        x_label,
        tuple(_line(name, points, x_axis, y_axis) for name, points in curves.items()),
        _apart([Tick(x_axis.place(v), f"{v:g}") for v in x_values]),
        tuple(Tick(y_axis.place(v), f"{v:g}") for v in y_values),
        log_y,
    )


def _spans(values: Sequence[float], factor: float) -> bool:
    return min(values) > 0 and max(values) / min(values) >= factor


def _line(name: str, points: Points, x_axis: _Axis, y_axis: _Axis) -> Line:
    parts, dots, pen = [], [], "M"
    for x, y in points:
        if not math.isfinite(x + y):
            pen = "M"
            continue
        at = (x_axis.place(x), y_axis.place(y))
        parts.append(f"{pen}{at[0]:g} {at[1]:g}")
        dots.append(at)
        pen = "L"
    return Line(name, "".join(parts), tuple(dots) if len(dots) <= _DOTS else ())


def _nice(low: float, high: float) -> list[float]:
    """Round numbers that enclose low ... high, 1, 2 or 5 times a power of ten apart."""
    if high == low:
        low, high = (low - abs(low) / 10, high + abs(high) / 10) if low else (0.0, 1.0)
    rough = (high - low) / (_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten within low ... high, and their double and fivefold if those are few."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    many = math.log10(high / low) > 3
    values = [m * 10.0**e for e in exponents for m in ((1,) if many else (1, 2, 5))]
    return [v for v in values if low / 1.1 <= v <= high * 1.1]


def _apart(ticks: Sequence[Tick]) -> tuple[Tick, ...]:
    kept: list[Tick] = []
    for tick in ticks:
        if not kept or tick.at - kept[-1].at >= _APART:
            kept.append(tick)
    return tuple(kept)
