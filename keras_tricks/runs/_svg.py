"""Curves as inline SVG: a few paths, two axes, no library."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_tricks.runs import _html

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 10, 34
_MOST_POINTS = 500
_FULL = 1e300
COLOURS = (
    "#3a78c9",
    "#d55e00",
    "#2f9e77",
    "#a855c7",
    "#c99700",
    "#c2477f",
    "#4fa3c7",
    "#7d7f86",
)


class Curve(NamedTuple):
    """One line: its points, and the class and colour that it is drawn with."""

    name: str
    x: Any
    y: Any
    colour: str = COLOURS[0]
    kind: str = "curve"


class _Axis(NamedTuple):
    """A scale from values to pixels."""

    low: float
    high: float
    start: float
    stop: float
    log: bool

    def place(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            values = np.log10(values) if self.log else values
        share = (values - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)


def chart(
    curves: Sequence[Curve],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool | None = None,
    marks: Sequence[tuple[str, float, str]] = (),
) -> str:
    """A figure of curves, or an empty string if there is no point to draw.

    Args:
        curves: What is drawn. What is not finite is left out.
        x_label: Below the horizontal axis.
        y_label: Above the figure.
        log_x: Whether the horizontal axis is logarithmic.
        log_y: The same of the vertical one; None where the values span much.
        marks: Names, places and colours of vertical lines.
    """
    drawn = [(curve, *_points(curve, log_x)) for curve in curves]
    ys = np.concatenate([np.empty(0), *(y for _, _, y in drawn)])
    if log_y is None:
        log_y = bool(len(ys) and ys.min() > 0 and ys.max() / ys.min() > 50)
    if log_y:
        drawn = [(curve, x[y > 0], y[y > 0]) for curve, x, y in drawn]
    drawn = [(curve, x, y) for curve, x, y in drawn if len(x)]
    if not drawn:
        return ""
    horizontal = _axis([x for _, x, _ in drawn], LEFT, WIDTH - RIGHT, log_x)
    vertical = _axis([y for _, _, y in drawn], HEIGHT - BOTTOM, TOP, log_y)
    parts = [_frame(horizontal, vertical, x_label)]
    for curve, x, y in drawn:
        parts.append(_line(curve, horizontal.place(x), vertical.place(y)))
    for name, place, colour in marks:
        (at,) = horizontal.place(np.array([place]))
        if LEFT <= at <= WIDTH - RIGHT:
            parts.append(
                f'<path class="mark" stroke="{colour}" d="M{at:.1f} {TOP}V'
                f'{HEIGHT - BOTTOM}"><title>{_html.text(name)}</title></path>'
            )
    label = _html.text(y_label)
    return (
        f"<figure><figcaption>{label}</figcaption><svg viewBox='0 0 {WIDTH} {HEIGHT}' "
        f'role="img" aria-label="{label}">{"".join(parts)}</svg></figure>'
    )


def _points(curve: Curve, log_x: bool) -> tuple[np.ndarray, np.ndarray]:
    x, y = _numbers(curve.x), _numbers(curve.y)
    count = min(len(x), len(y))
    x, y = x[:count], y[:count]
    # What is larger would overflow in the arithmetic of the axes.
    there = (np.abs(x) < _FULL) & (np.abs(y) < _FULL)
    if log_x:
        there &= x > 0
    x, y = x[there], y[there]
    step = max(1, math.ceil(len(x) / _MOST_POINTS))
    # From the end, so that the last is always there.
    return x[::-step][::-1], y[::-step][::-1]


def _numbers(values: Any) -> np.ndarray:
    """Numbers from anywhere; what is none is NaN."""
    if isinstance(values, np.ndarray):
        return values.astype("float64")
    if not isinstance(values, list | tuple):
        return np.empty(0)
    return np.array([_number(value) for value in values], "float64")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _axis(parts: list[np.ndarray], start: float, stop: float, log: bool) -> _Axis:
    values = np.concatenate(parts)
    if log:
        values = np.log10(values)
    low, high = float(values.min()), float(values.max())
    if not high > low:
        room = max(abs(low) * 0.1, 1e-6) if low else 1.0
        low, high = low - room, high + room
    margin = 0.03 * (high - low)
    return _Axis(low - margin, high + margin, start, stop, log)


def _line(curve: Curve, x: np.ndarray, y: np.ndarray) -> str:
    kind, name = _html.text(curve.kind), _html.text(curve.name)
    if curve.kind == "points":
        radius, opacity = (1.4, 0.4) if len(x) > 50 else (3, 0.9)
        dots = "".join(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{radius}"/>'
            for a, b in zip(x, y, strict=True)
        )
        return (
            f'<g fill="{curve.colour}" opacity="{opacity}"><title>{name}</title>{dots}'
            "</g>"
        )
    if len(x) == 1:
        return (
            f'<circle cx="{x[0]:.1f}" cy="{y[0]:.1f}" r="3" fill="{curve.colour}">'
            f"<title>{name}</title></circle>"
        )
    path = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
    return (
        f'<path class="curve {kind}" stroke="{curve.colour}" d="M{path}">'
        f"<title>{name}</title></path>"
    )


def _frame(horizontal: _Axis, vertical: _Axis, x_label: str) -> str:
    floor = HEIGHT - BOTTOM
    parts = [f'<path class="axis" d="M{LEFT} {TOP}V{floor}H{WIDTH - RIGHT}"/>']
    for value, name in _ticks(vertical, 5):
        (at,) = vertical.place(np.array([value]))
        parts.append(
            f'<path class="axis" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" opacity=".6"/>'
            f'<text x="{LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{name}</text>'
        )
    for value, name in _ticks(horizontal, 6):
        (at,) = horizontal.place(np.array([value]))
        parts.append(
            f'<text x="{at:.1f}" y="{floor + 14}" text-anchor="middle">{name}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">'
        f"{_html.text(x_label)}</text>"
    )
    return "".join(parts)


def _ticks(axis: _Axis, most: int) -> list[tuple[float, str]]:
    """Round values inside an axis, and how they are written."""
    if axis.log:
        lowest, highest = math.ceil(axis.low), math.floor(axis.high)
        by = max(1, math.ceil((highest - lowest + 1) / most))
        values = [10.0**power for power in range(lowest, highest + 1, by)]
        if len(values) < 2:
            values = [10.0**power for power in np.linspace(axis.low, axis.high, 4)]
            return [(value, f"{value:.2g}") for value in values[1:-1]]
        return [(value, f"{value:g}") for value in values]
    rough = (axis.high - axis.low) / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * by for by in (1, 2, 5, 10) if size * by >= rough * 0.999)
    first = math.ceil(axis.low / step)
    count = min(math.floor(axis.high / step) - first + 1, 2 * most)
    values = [(first + i) * step for i in range(count)]
    return [(value, f"{value:.6g}") for value in values]
