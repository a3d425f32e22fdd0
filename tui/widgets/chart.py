"""A chart that is looked at with the keyboard: zoom, pan, crosshair, smoothing, logarithmic axes, outliers.

It is drawn in a thread, never twice at once; what is on the screen is the last picture, with the
crosshair and the marks laid over it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Final, get_args

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.color import Color, ColorParseError
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from engine.analysis.snapshot import ChartView
from engine.records import Axis, CurvePoint
from tui.commands import Commanding
from tui.pulse import Pulse
from tui.widgets import chart_commands as ask
from tui.widgets.cells import Cells
from tui.widgets.plot import Line, Mark, Picture, Plot, Rgb, draw
from tui.widgets.window import Edges, Window

SMOOTHINGS: Final = (0.0, 0.01, 0.03, 0.08)
"""What `S` goes through: half the window's width as a share of the curve."""


class Chart(Commanding, Widget, can_focus=True):
    """Curves over a common x axis."""

    TITLE_IN_HELP = "Chart"
    COMMANDS = (
        ask.Smooth,
        ask.CycleAxis,
        ask.LogY,
        ask.CrossRight,
        ask.CrossLeft,
        ask.CrossFarRight,
        ask.CrossFarLeft,
        ask.ZoomIn,
        ask.ZoomOut,
        ask.PanLeft,
        ask.PanRight,
        ask.ResetView,
        ask.ClipOutliers,
        ask.ShowBand,
        ask.FocusNextCurve,
        ask.FocusPreviousCurve,
        ask.LogX,
    )
    COMPONENT_CLASSES: ClassVar[set[str]] = {"chart--axis", "chart--cross", "chart--grid", "chart--bad"}

    smoothing: reactive[int] = reactive(2)
    log_x: reactive[bool] = reactive(False)
    log_y: reactive[bool] = reactive(False)
    clipped: reactive[bool] = reactive(False)
    banded: reactive[bool] = reactive(False)
    """Are the least and the greatest values of the focused curve shown?"""
    focused_curve: reactive[int] = reactive(0)
    cross: reactive[float | None] = reactive(None)
    """The crosshair's x; None when there is none."""

    class Viewed(Message):
        """The user wants to see something else: curves for it are needed."""

        def __init__(self, chart: Chart, view: ChartView) -> None:
            self.chart = chart
            self.view = view
            super().__init__()

        @property
        def control(self) -> Chart:
            """The chart."""
            return self.chart

    class Drawn(Message):
        """There is a new picture, or the crosshair moved."""

        def __init__(self, chart: Chart) -> None:
            self.chart = chart
            super().__init__()

    class Pointed(Message):
        """The user moved the crosshair, or took it away."""

        def __init__(self, chart: Chart) -> None:
            self.chart = chart
            super().__init__()

    def __init__(self, view: ChartView | None = None, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = view or ChartView()
        self.lines: tuple[Line, ...] = ()
        self.marks: tuple[Mark, ...] = ()
        self.picture: Picture | None = None
        self.empty = "no points yet"
        self.log_first = False
        """Is y logarithmic until it is asked to be otherwise?"""
        self._extent: tuple[float, float] | None = None
        self._shown = False
        self._dragged: tuple[int, Window] | None = None
        self._moved = False
        self._pulse = Pulse(self._draw, 0.05)

    def on_mount(self) -> None:
        """Be ready to draw."""
        self.run_worker(self._pulse.run(), group="draw")

    @property
    def idle(self) -> bool:
        """Is the last picture the newest that there can be?"""
        return self._pulse.idle

    async def drawn(self) -> None:
        """Wait until it is."""
        await self._pulse.done()

    # What it is told

    def show(self, lines: Sequence[Line], marks: Sequence[Mark] = ()) -> None:
        """Show these curves; ones that answer an older question are left aside until the newer ones come."""
        if any(line.curve.axis != self.view.axis for line in lines):
            return
        self._shown = True
        self.lines, self.marks = tuple(lines), tuple(marks)
        ends = [(line.curve.points[0].x, line.curve.points[-1].x) for line in lines if line.curve.points]
        if ends and not self._zoomed:
            self._extent = (min(low for low, _ in ends), max(high for _, high in ends))
        self._pulse.mark(hurry=True)

    def look_at(self, **changes: object) -> None:
        """Change the view and ask for its curves; what is there already is drawn at once."""
        view = replace(self.view, **changes)  # type: ignore[arg-type]
        if view != self.view:
            self.view = view
            # Whoever called, it is the chart that asks: a message stops at its sender's parent.
            self.post_message(self.Viewed(self, view).set_sender(self))
            self._pulse.mark(hurry=True)

    def reset(self) -> None:
        """Show everything, without crosshair."""
        self._point_at(None)
        self.look_at(low=None, high=None)

    def same_as(self, other: Chart) -> None:
        """Look at the same window in the same way: what is done to one chart of a grid is done to all."""
        for name in ("smoothing", "log_x", "log_y", "clipped", "banded", "cross"):
            setattr(self, name, getattr(other, name))
        view = replace(self.view, axis=other.view.axis, low=other.view.low, high=other.view.high)
        if view != self.view or self._extent is None:
            self.view, self._extent = view, other._extent
            self._pulse.mark(hurry=True)

    @property
    def focus_line(self) -> Line | None:
        """The curve that the band is of."""
        return self.lines[self.focused_curve % len(self.lines)] if self.lines else None

    @property
    def _zoomed(self) -> bool:
        return self.view.low is not None or self.view.high is not None

    @property
    def _free(self) -> bool:
        """Is there nothing along the dollars, for none were spent?"""
        return self.view.axis == "dollars" and self._extent is not None and self._extent[1] <= 0

    # Drawing

    async def _draw(self) -> None:
        if not self._shown:
            return
        variables = self.app.theme_variables
        ground = _rgb("$background", variables)
        lines = () if self._free else self.lines
        colours = tuple(
            (_rgb(line.style, variables), _faint(line.style, variables, ground)) for line in lines
        )
        plot = Plot(
            lines,
            colours,
            self.size.width,
            self.size.height,
            self.view.low,
            self.view.high,
            SMOOTHINGS[self.smoothing],
            self.log_x,
            self.log_y != self.log_first,
            self.clipped,
            self.focused_curve % len(lines) if self.banded and lines else None,
        )
        self.picture = await asyncio.to_thread(draw, plot)
        self.refresh()
        self.post_message(self.Drawn(self))

    def render_line(self, y: int) -> Strip:
        """One line of the last picture, the crosshair and the marks over it."""
        picture, width = self.picture, self.size.width
        if picture is None or not picture.canvas or y > picture.rows:
            return self._nothing(y) if picture and not picture.canvas else Strip.blank(width, self.rich_style)
        axis = self.get_component_rich_style("chart--axis")
        if y == picture.rows:
            return self._x_axis(picture, axis)
        gutter = Segment(f"{picture.y_labels.get(y, ''):>{picture.gutter - 1}} ", axis)
        cells = Cells(picture.canvas[y])
        if y in picture.y_labels:
            cells.fill("┈", self.get_component_rich_style("chart--grid"))
        if y == picture.rows - 1:
            for column in picture.bad:
                cells.put(column, "×", self.get_component_rich_style("chart--bad"))
        cross = picture.column(self.cross) if self.cross is not None else None
        if cross is not None:
            cells.put(cross, "│", self.get_component_rich_style("chart--cross"), under=True)
        self._put_marks(picture, cells, y)
        return Strip([gutter, *cells.segments()]).apply_style(self.rich_style).adjust_cell_length(width)

    def _nothing(self, y: int) -> Strip:
        """What stands where there are no points."""
        words = self._why_empty()
        middle = self.size.height // 2
        text = words.center(self.size.width) if y == middle else ""
        style = self.get_component_rich_style("chart--axis")
        return Strip([Segment(text, style)]).adjust_cell_length(self.size.width, self.rich_style)

    def _why_empty(self) -> str:
        if self._zoomed:
            return "no points in this window: = shows all"
        if self.log_y != self.log_first and any(line.curve.points for line in self.lines):
            return "nothing above 0: Y shows it linearly"
        if self._free:
            return "all of it for $0.00: X goes on"
        return self.empty if self.view.axis == "step" else f"no {self.view.axis} known: X goes on"

    def _x_axis(self, picture: Picture, axis: Style) -> Strip:
        line = [" "] * (picture.plot.width + 1)
        for start, label in picture.x_labels:
            line[picture.gutter + start : picture.gutter + start + len(label)] = label
        return Strip([Segment("".join(line), axis)]).adjust_cell_length(self.size.width, self.rich_style)

    def _put_marks(self, picture: Picture, cells: Cells, y: int) -> None:
        variables = self.app.theme_variables
        for mark in self.marks:
            column = picture.column(mark.x)
            row = picture.rows - 1 if mark.y is None else picture.row(mark.y)
            if column is None or row is None:
                continue
            style = Style(color="#{:02x}{:02x}{:02x}".format(*_rgb(mark.style, variables)), bold=True)
            if row == y:
                cells.put(column, mark.sign, style, under=mark.y is None)
            start = max(0, min(column - len(mark.label) // 2, picture.columns - len(mark.label)))
            beside = (row - 1, row + 1, row - 2, row + 2)
            free = (line for line in beside if picture.empty(line, start, len(mark.label)))
            if mark.label and y == next(free, row - 1):
                for offset, letter in enumerate(mark.label):
                    cells.put(start + offset, letter, style)

    # What the crosshair says

    def point(self, line: Line) -> CurvePoint | None:
        """The point of a line that the crosshair is on; None when none is near."""
        points, picture = line.curve.points, self.picture
        if self.cross is None or picture is None or not points:
            return None
        at = bisect_left(points, self.cross, key=lambda point: point.x)
        near = min(points[max(0, at - 1) : at + 1], key=lambda point: abs(point.x - self.cross))  # type: ignore[operator]
        column, here = picture.column(near.x), picture.column(self.cross)
        return near if column is not None and here is not None and abs(column - here) <= 1 else None

    @property
    def _legible(self) -> Picture | None:
        """The last picture, if places on it are places on the axis: one of another axis is about to go."""
        picture = self.picture
        if picture is None or not picture.canvas:
            return None
        return picture if all(line.curve.axis == self.view.axis for line in picture.plot.lines) else None

    def _move_cross(self, by: int) -> None:
        picture = self._legible
        if picture is None:
            return
        column = picture.column(self.cross) if self.cross is not None else None
        if column is None:
            column = picture.columns - 1 if by < 0 else 0
            by = 0 if by < 0 else by - 1
        self._point_at(picture.at(max(0, min(picture.columns - 1, column + by))))

    def _point_at(self, x: float | None) -> None:
        """The user puts the crosshair somewhere."""
        if x != self.cross:
            self.cross = x
            self.post_message(self.Pointed(self))

    def watch_cross(self) -> None:
        """Tell the pane."""
        self.post_message(self.Drawn(self))

    # Keys

    def on_smooth(self) -> None:
        """The next strength."""
        self.smoothing = (self.smoothing + 1) % len(SMOOTHINGS)

    def on_cycle_axis(self) -> None:
        """The next axis; the window and the crosshair belong to the old one."""
        axes: tuple[Axis, ...] = get_args(Axis)
        self._point_at(None)
        self._extent = None
        self.look_at(axis=axes[(axes.index(self.view.axis) + 1) % len(axes)], low=None, high=None)

    def on_log_y(self) -> None:
        """The other y scale."""
        self.log_y = not self.log_y

    def on_log_x(self) -> None:
        """The other x scale."""
        self.log_x = not self.log_x

    def on_clip_outliers(self) -> None:
        """Leave out or show."""
        self.clipped = not self.clipped

    def on_show_band(self) -> None:
        """Show or hide."""
        self.banded = not self.banded

    def on_focus_next_curve(self) -> None:
        """The next one."""
        self._focus_curve(1)

    def on_focus_previous_curve(self) -> None:
        """The one before."""
        self._focus_curve(-1)

    def _focus_curve(self, by: int) -> None:
        if self.lines:
            self.focused_curve = (self.focused_curve + by) % len(self.lines)

    def on_zoom_in(self) -> None:
        """Half as much."""
        self._zoom(0.5)

    def on_zoom_out(self) -> None:
        """Twice as much."""
        self._zoom(2.0)

    def on_pan_left(self) -> None:
        """A fifth."""
        self._pan(-0.2)

    def on_pan_right(self) -> None:
        """A fifth."""
        self._pan(0.2)

    def on_reset_view(self) -> None:
        """Everything."""
        self.reset()

    def on_cross_left(self) -> None:
        """A column."""
        self._move_cross(-1)

    def on_cross_right(self) -> None:
        """A column."""
        self._move_cross(1)

    def on_cross_far_left(self) -> None:
        """Ten columns."""
        self._move_cross(-10)

    def on_cross_far_right(self) -> None:
        """Ten columns."""
        self._move_cross(10)

    @property
    def _window(self) -> Window | None:
        if self._extent is None:
            return None
        return Window(*self._extent, self.view.low, self.view.high)

    def _zoom(self, factor: float, pivot: float | None = None) -> None:
        if window := self._window:
            self._look_between(window.zoomed(factor, self.cross if pivot is None else pivot))

    def _pan(self, share: float, window: Window | None = None) -> None:
        if window := window or self._window:
            self._look_between(window.panned(share))

    def _look_between(self, edges: Edges) -> None:
        low, high = edges
        self.look_at(low=low, high=high)

    # Mouse, size, theme

    def _under(self, event: events.MouseEvent) -> float | None:
        """The x under the mouse."""
        picture = self._legible
        if picture is None:
            return None
        return picture.at(max(0, min(picture.columns - 1, event.x - picture.gutter)))

    def on_click(self, event: events.Click) -> None:
        """Put the crosshair there; a double click shows everything."""
        if event.chain > 1:
            self.reset()
        elif not self._moved and (x := self._under(event)) is not None:
            self._point_at(x)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take hold of the curves."""
        window = self._window
        self._dragged, self._moved = ((event.x, window) if window else None), False

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Pull them along."""
        if self._dragged is None or self.picture is None or not event.button:
            return
        start, window = self._dragged
        if event.x != start or self._moved:
            self._moved = True
            self._pan((start - event.x) / self.picture.columns, window)

    def on_mouse_up(self) -> None:
        """Let go."""
        self._dragged = None

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Look closer at what is under the mouse."""
        event.stop()
        self._zoom(0.8, self._under(event))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Look at more."""
        event.stop()
        self._zoom(1.25, self._under(event))

    def on_resize(self) -> None:
        """Ask for as many points as there are columns of dots, and draw anew."""
        self.look_at(columns=max(80, 2 * self.size.width))
        self._pulse.mark(hurry=True)

    def notify_style_update(self) -> None:
        """The theme changed."""
        super().notify_style_update()
        self._pulse.mark()

    def watch_smoothing(self) -> None:
        """Draw anew."""
        self._pulse.mark(hurry=True)

    watch_log_x = watch_log_y = watch_clipped = watch_banded = watch_focused_curve = watch_smoothing


def _rgb(style: str, variables: dict[str, str]) -> Rgb:
    """A style's colour; of one that is no plain colour, a grey."""
    try:
        return Color.parse(variables.get(style[1:], "") if style.startswith("$") else style).rgb
    except ColorParseError:
        return (128, 128, 128)


def _faint(style: str, variables: dict[str, str], ground: Rgb) -> Rgb:
    """A colour two thirds of the way to the ground."""
    return Color(*_rgb(style, variables)).blend(Color(*ground), 0.62).rgb
