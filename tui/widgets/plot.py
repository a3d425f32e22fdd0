"""Curves -> a picture in braille, drawn by plotext. Blocks for milliseconds: call it in a thread."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.segment import Segment
from textual.strip import Strip

from engine.analysis.format import count, short
from engine.records import Curve, CurvePoint
from tui.widgets import scales
from tui.widgets.clean import segments

Rgb = tuple[int, int, int]

ACROSS: Final = 2
DOWN: Final = 4
"""The dots of a braille character."""

HUGE: Final = 1e300
"""From here on arithmetic runs over; a value like that is none."""

DENSE: Final = 40
"""A curve with fewer points is shown as it is: there is nothing to smooth."""


@dataclass(frozen=True, slots=True)
class Line:
    """One curve of a chart.

    Args:
        label: What the legend calls it.
        curve: Its points.
        style: Its colour, as a style: `$run-3`.
    """

    label: str
    curve: Curve
    style: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A sign at a place in a chart; without a y at the bottom."""

    x: float
    y: float | None
    sign: str
    style: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """What is to be drawn, and how.

    Args:
        lines: The curves; a later one is drawn over an earlier.
        colours: Each line's colour and the fainter one of its unsmoothed points.
        width: Cells, the y axis included.
        height: Lines, the x axis included.
        low: Left edge; None for the first point.
        high: Right edge; None for the last point.
        smoothing: As in `scales.smooth`.
        log_x: Logarithmic?
        log_y: Logarithmic?
        clipped: Leave outliers out?
        banded: The line whose least and greatest values are shown as a band; None for no line.
    """

    lines: tuple[Line, ...]
    colours: tuple[tuple[Rgb, Rgb], ...]
    width: int
    height: int
    low: float | None = None
    high: float | None = None
    smoothing: float = 0.0
    log_x: bool = False
    log_y: bool = False
    clipped: bool = False
    banded: int | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn plot, and where on it a value is.

    Args:
        plot: What was asked for.
        canvas: The lines of the screen, without axes.
        gutter: The y axis's width, cells.
        y_labels: By line of the screen.
        x_labels: The last line's text and the column each begins at, counted from the canvas's left edge.
        x: The edges, on the axis's own scale (exponents of ten when it is logarithmic).
        y: Likewise.
        hidden: What is not drawn, clipped or of no place on a logarithmic axis, in words; empty when nothing.
        bad: Columns that hold points which are no numbers.
    """

    plot: Plot
    canvas: tuple[Strip, ...] = ()
    gutter: int = 0
    y_labels: dict[int, str] = field(default_factory=dict)
    x_labels: tuple[tuple[int, str], ...] = ()
    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)
    hidden: str = ""
    bad: frozenset[int] = frozenset()

    @property
    def columns(self) -> int:
        """The canvas's width, cells."""
        return max(1, self.plot.width - self.gutter)

    @property
    def rows(self) -> int:
        """The canvas's height, lines."""
        return len(self.canvas)

    def column(self, x: float) -> int | None:
        """The canvas column that x is in; None when it is outside."""
        return _cell(_scaled(x, self.plot.log_x), self.x, self.columns, ACROSS)

    def row(self, y: float) -> int | None:
        """The line that y is in; None when it is outside."""
        cell = _cell(_scaled(y, self.plot.log_y), self.y, self.rows, DOWN)
        return None if cell is None else self.rows - 1 - cell

    def empty(self, row: int, start: int, width: int) -> bool:
        """Is nothing drawn in those cells?"""
        return 0 <= row < self.rows and not self.canvas[row].crop(start, start + width).text.strip(" \u2800")

    def at(self, column: int) -> float:
        """The x in the middle of a canvas column."""
        low, high = self.x
        dot = column * ACROSS + (ACROSS - 1) / 2
        place = low + (high - low) * dot / (self.columns * ACROSS - 1)
        return 10.0**place if self.plot.log_x else place


def _scaled(value: float, logarithmic: bool) -> float:
    if not logarithmic:
        return value
    return math.log10(value) if value > 0 else -math.inf


def _cell(place: float, edges: tuple[float, float], cells: int, dots: int) -> int | None:
    """The cell of a value, by plotext's own rule: its dot is the nearest, the first is on the lower edge."""
    low, high = edges
    if cells < 1 or not low <= place <= high or high <= low:
        return None
    return int(0.5 + (cells * dots - 1) * (place - low) / (high - low)) // dots


def draw(plot: Plot) -> Picture:
    """Draw a plot; one without points gives an empty picture."""
    runs = [list(_runs(plot, line)) for line in plot.lines]
    xs = [point.x for run in runs for part in run for point in part]
    if not xs or plot.height < 3 or plot.width < 12:
        return Picture(plot)
    x = _edges(xs, plot)
    y, hidden = _heights(runs, plot)
    rows = plot.height - 1
    y_ticks = _ticks(y, plot.log_y, max(2, rows // 4))
    labels = scales.written([10.0**tick if plot.log_y else tick for tick in y_ticks])
    gutter = max((len(label) for label in labels), default=0) + 1
    columns = plot.width - gutter
    picture = Picture(plot, tuple([Strip([])] * rows), gutter, x=x, y=y, hidden=hidden)
    y_labels = {
        row: label
        for tick, label in zip(y_ticks, labels, strict=True)
        if (row := picture.row(10.0**tick if plot.log_y else tick)) is not None
    }
    bad = {picture.column(place) for line in plot.lines for place in line.curve.bad} - {None}
    return Picture(
        plot,
        _canvas(plot, runs, x, y, columns, rows),
        gutter,
        y_labels,
        tuple(_x_labels(picture)),
        x,
        y,
        hidden,
        frozenset(column for column in bad if column is not None),
    )


def _runs(plot: Plot, line: Line) -> Iterator[list[CurvePoint]]:
    """A line's drawable points in the window, cut where points are missing because they were no numbers."""
    low = -math.inf if plot.low is None else plot.low
    high = math.inf if plot.high is None else plot.high
    gaps = sorted(line.curve.bad)
    run: list[CurvePoint] = []
    gap = 0
    for point in _with_edges(plot, line.curve):
        drawable = abs(point.mean) < HUGE and abs(point.x) < HUGE and low <= point.x <= high
        if not drawable or (plot.log_y and point.mean <= 0) or (plot.log_x and point.x <= 0):
            continue
        cut = bisect_left(gaps, point.x)
        if cut != gap and run:
            yield run
            run = []
        gap = cut
        run.append(point)
    if run:
        yield run


def _with_edges(plot: Plot, curve: Curve) -> list[CurvePoint]:
    """A curve's points in the window, with those on its edges that the lines to its neighbours cross."""
    low = -math.inf if plot.low is None else plot.low
    high = math.inf if plot.high is None else plot.high
    points = [point for point in curve.points if low <= point.x <= high]
    chain = [*([curve.before] if curve.before else []), *points, *([curve.after] if curve.after else [])]
    if len(chain) > 1 and math.isfinite(low) and chain[0].x < low < chain[1].x:
        points.insert(0, _between(chain[0], chain[1], low))
    if len(chain) > 1 and math.isfinite(high) and chain[-2].x < high < chain[-1].x:
        points.append(_between(chain[-2], chain[-1], high))
    return points


def _between(one: CurvePoint, other: CurvePoint, x: float) -> CurvePoint:
    """The point at `x` on the line between two."""
    share = (x - one.x) / (other.x - one.x)
    mean = one.mean + (other.mean - one.mean) * share
    return CurvePoint(x, mean, mean, mean, 1)


def _edges(xs: list[float], plot: Plot) -> tuple[float, float]:
    low = min(xs) if plot.low is None else plot.low
    high = max(xs) if plot.high is None else plot.high
    if plot.log_x:
        low = max(low, min(xs))
    first, last = _scaled(low, plot.log_x), _scaled(high, plot.log_x)
    return scales.apart(first, last)


def _heights(runs: Sequence[list[list[CurvePoint]]], plot: Plot) -> tuple[tuple[float, float], str]:
    """The y edges, and what is not between them in words."""
    values = [_scaled(point.mean, plot.log_y) for run in runs for part in run for point in part]
    if plot.clipped:
        low, high = scales.usual_range(values)
    else:
        reached = values if plot.banded is None else [*values, *_band_ends(runs[plot.banded], plot.log_y)]
        low, high = min(reached), max(reached)
    parts = []
    if any(value > high for value in values):
        parts.append(f"{_beyond(plot, high)} above {_edge(high, plot)}")
    if any(value < low for value in values):
        parts.append(f"{_beyond(plot, low, below=True)} below {_edge(low, plot)}")
    elif plot.log_y and any(point.mean <= 0 for point in _shown(plot)):
        parts.append(f"{_beyond(plot, _NOWHERE, below=True)} not above 0")
    return scales.padded(low, high), f"{' and '.join(parts)} hidden" if parts else ""


_NOWHERE: Final = -1e9
"""Below everything that has a place on a logarithmic axis."""


def _edge(place: float, plot: Plot) -> str:
    return short(float(f"{10.0**place if plot.log_y else place:.3g}"))


def _shown(plot: Plot) -> Iterator[CurvePoint]:
    """The points of all lines in the window."""
    low = -math.inf if plot.low is None else plot.low
    high = math.inf if plot.high is None else plot.high
    return (point for line in plot.lines for point in line.curve.points if low <= point.x <= high)


def _beyond(plot: Plot, edge: float, *, below: bool = False) -> str:
    """How many recorded points are beyond an edge, of those that the drawn points there stand for.

    A drawn point is the mean of many: of one with some on either side it is known that one is beyond.
    """
    sign, number, exact = -1.0 if below else 1.0, 0, True
    for point in _shown(plot):
        mean, *ends = (sign * _scaled(value, plot.log_y) for value in (point.mean, point.low, point.high))
        if mean <= sign * edge:
            continue
        whole = min(ends) > sign * edge
        number += point.count if whole else 1
        exact = exact and (whole or point.count == 2)
    return count(number) if exact else f"at least {count(number)}"


def _band_ends(run: list[list[CurvePoint]], logarithmic: bool) -> Iterator[float]:
    """The least and the greatest values of a line, those that can be drawn."""
    for part in run:
        for point in part:
            for value in (point.low, point.high):
                if abs(value) < HUGE and (value > 0 or not logarithmic):
                    yield _scaled(value, logarithmic)


def _ticks(edges: tuple[float, float], logarithmic: bool, most: int) -> list[float]:
    return scales.log_ticks(*edges, most) if logarithmic else scales.nice_ticks(*edges, most)


def _x_labels(picture: Picture) -> Iterator[tuple[int, str]]:
    """Labels under their ticks, as many as don't touch."""
    plot = picture.plot
    ticks = _ticks(picture.x, plot.log_x, max(2, picture.columns // 8))
    values = [10.0**tick if plot.log_x else tick for tick in ticks]
    free = 0
    for value, label in zip(values, scales.written(values), strict=True):
        column = picture.column(value)
        if column is None:
            continue
        start = max(0, min(column - len(label) // 2, picture.columns - len(label)))
        if start >= free:
            free = start + len(label) + 2
            yield start, label


def _canvas(
    plot: Plot,
    runs: Sequence[list[list[CurvePoint]]],
    x: tuple[float, float],
    y: tuple[float, float],
    columns: int,
    rows: int,
) -> tuple[Strip, ...]:
    """The curves, and nothing else."""
    from textual_plotext.plot import Plot as Figure

    figure = Figure()
    figure.clear_figure()
    # Else it stays within the terminal that it believes to be in.
    figure._limit_size(False, False)  # type: ignore[attr-defined]
    figure.plotsize(columns, rows)
    figure.frame(False)
    figure.xaxes(False, False)
    figure.yaxes(False, False)
    figure.xticks([])
    figure.yticks([])
    figure.canvas_color("default")
    figure.axes_color("default")
    figure.ticks_color("default")
    figure.xlim(*x)
    figure.ylim(*y)
    if plot.banded is not None:
        for part in runs[plot.banded]:
            _band(figure, plot, part, y, plot.colours[plot.banded][1])
    for index, ((colour, faint), run) in enumerate(zip(plot.colours, runs, strict=True)):
        smoothing = plot.smoothing if sum(map(len, run)) >= DENSE else 0.0
        if smoothing and index != plot.banded:
            for part in run:
                _trace(figure, plot, part, [point.mean for point in part], y, faint)
        for part in run:
            values = [point.mean for point in part]
            if smoothing:
                values = scales.smooth(values, [point.count for point in part], smoothing)
            _trace(figure, plot, part, values, y, colour)
    drawn = [Strip(segments(line.encode())) for line in figure.build().split("\n")[:rows]]
    drawn += [Strip([Segment(" " * columns)])] * (rows - len(drawn))
    return tuple(strip.adjust_cell_length(columns) for strip in drawn)


def _band(
    figure: object, plot: Plot, points: Sequence[CurvePoint], y: tuple[float, float], colour: Rgb
) -> None:
    """Draw what lies between the least and the greatest values, as one line that goes up and down."""
    ends = [(point.low, point.high)[:: 1 if index % 2 else -1] for index, point in enumerate(points)]
    xs = [_scaled(point.x, plot.log_x) for point in points for _ in (0, 1)]
    ys = [min(max(_scaled(value, plot.log_y), y[0]), y[1]) for pair in ends for value in pair]
    figure.plot(xs, ys, color=colour, marker="braille")  # type: ignore[attr-defined]


def _trace(
    figure: object,
    plot: Plot,
    points: Sequence[CurvePoint],
    values: Sequence[float],
    y: tuple[float, float],
    colour: Rgb,
) -> None:
    """Draw one unbroken run; what lies above or below is drawn at the edge."""
    xs = [_scaled(point.x, plot.log_x) for point in points]
    ys = [min(max(_scaled(value, plot.log_y), y[0]), y[1]) for value in values]
    figure.plot(xs, ys, color=colour, marker="braille")  # type: ignore[attr-defined]
