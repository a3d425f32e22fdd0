"""Curves as figures in numbers: where every point, tick and star of an SVG picture is. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from engine.analysis.format import short
from engine.records import Curve

WIDTH: Final = 720
HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 12, 34

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Trace:
    """One curve of a figure.

    Args:
        name: What the legend calls it.
        colour: `#rrggbb`.
        curve: Its points.
        star: Where its best checkpoint is, in the curve's own x and y; None without one.
        faint: Is it drawn behind the others?
    """

    name: str
    colour: str
    curve: Curve
    star: Place | None = None
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Drawn:
    """A curve in pixels: `x,y x,y …`, and its star."""

    trace: Trace
    points: str
    star: Place | None


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure in pixels of a canvas of `WIDTH` by `HEIGHT`.

    Args:
        title: What it shows.
        x: What runs along x.
        drawn: The curves.
        x_ticks: Place and text.
        y_ticks: Place and text.
        box: Left, top, right and bottom of the canvas inside the axes.
    """

    title: str
    x: str
    drawn: tuple[Drawn, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    box: tuple[float, float, float, float] = (_LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM)


def figure(title: str, x: str, traces: Sequence[Trace]) -> Figure | None:
    """Lay a figure out; None when there is nothing to draw.

    Args:
        title: What it shows.
        x: What runs along x.
        traces: The curves; points that are no numbers are left out.
    """
    found = [(trace, _points(trace.curve)) for trace in traces]
    found = [(trace, points) for trace, points in found if points]
    if not found:
        return None
    across = _Scale([at for _, points in found for at, _ in points], _LEFT, WIDTH - _RIGHT)
    down = _Scale([at for _, points in found for _, at in points], HEIGHT - _BOTTOM, _TOP)
    drawn = tuple(
        Drawn(
            trace,
            " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in points),
            (across(trace.star[0]), down(trace.star[1])) if trace.star else None,
        )
        for trace, points in sorted(found, key=lambda item: not item[0].faint)
    )
    return Figure(title, x, drawn, across.ticks(6), down.ticks(5))


def _points(curve: Curve) -> list[Place]:
    return [(point.x, point.mean) for point in curve.points if _drawable(point.x) and _drawable(point.mean)]


def _drawable(value: float) -> bool:
    return math.isfinite(value) and abs(value) < 1e300


class _Scale:
    """From values to pixels."""

    def __init__(self, values: Iterable[float], first: float, last: float) -> None:
        known = list(values)
        self._low, self._high = min(known), max(known)
        if self._high <= self._low:
            room = abs(self._low) * 0.1 or 0.5
            self._low, self._high = self._low - room, self._high + room
        self._first, self._last = first, last

    def __call__(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return round(self._first + share * (self._last - self._first), 2)

    def ticks(self, most: int) -> tuple[tuple[float, str], ...]:
        """Round values with their places."""
        rough = (self._high - self._low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next((size * power for size in (1, 2, 5, 10) if size * power >= rough), rough)
        begin = math.ceil(self._low / step - 1e-9)
        end = math.floor(self._high / step + 1e-9)
        return tuple(
            (self(at * step), short(round(at * step, 12))) for at in range(begin, end + 1)[: most + 2]
        )
