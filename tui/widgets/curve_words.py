"""What is said about charts: their legends, how they are looked at, what the crosshair reads. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.content import Content

from engine.analysis.format import count, dollars, short
from engine.analysis.snapshot import ChartView, JobDetail
from engine.records import Axis, Curve, Place
from tui.widgets.chart import SMOOTHINGS, Chart
from tui.widgets.metric_groups import Group, label
from tui.widgets.plot import Line

QUIET = "$text-muted"

LEGEND: Final = 20
"""Cells that a legend has in any case."""


def place(x: float, axis: Axis) -> str:
    """A place on an axis in words: `step 1 104`, `$2.02`."""
    match axis:
        case "step":
            return f"step {count(x)}"
        case "dollars":
            return dollars(x)
        case "hours":
            return f"{x:.2f} h"
        case "epoch":
            return f"epoch {x:.2f}"
        case "tokens":
            return f"{short(x)} tokens"


def legend(chart: Chart, room: int) -> Content:
    """A chart's curves with their last values; the focused one stands out where there is a band.

    One alone is called what the chart is called. Where there is no room for the values, there are names,
    and where there is none for all of them, the focused one and those after it.
    """
    whole = Content("  ").join(_named(chart, brief=False))
    if whole.cell_length <= room or not chart.lines:
        return whole
    names = _named(chart, brief=True)
    first = chart.focused_curve % len(names)
    found, names = Content("  ").join(names), names[first:] + names[:first]
    shown = len(names) - 1
    while found.cell_length > room and shown:
        found = Content("  ").join([*names[:shown], Content.styled(f"+{len(names) - shown}", QUIET)])
        shown -= 1
    return found if found.cell_length <= room else Content.styled(f"{len(names)} curves", QUIET)


def _named(chart: Chart, *, brief: bool) -> list[Content]:
    focused = chart.focus_line if chart.banded else None
    alone = len(chart.lines) == 1
    return [
        Content.assemble(
            ("━ ", line.style),
            ("" if alone else f"{line.label} ", f"bold {line.style}" if line is focused else QUIET),
            ("" if brief else short(_last(line.curve)), "$foreground"),
        ).rstrip()
        for line in chart.lines
    ]


def room(title: str, width: int, others: Content | None = None) -> int:
    """The cells that a legend has in a title line, beside other facts."""
    beside = others.cell_length + 2 if others else 0
    return max(LEGEND if beside else 0, width - Content(title).cell_length - 9 - beside)


def facts(chart: Chart) -> Content:
    """How it is looked at."""
    words = [f"x {chart.view.axis}"]
    picture = chart.picture
    if chart.view.low is not None or chart.view.high is not None:
        words.append("zoomed")
    if picture and (picture.hidden or picture.plot.clipped):
        words.append(picture.hidden or "no outliers")
    if chart.log_x:
        words.append("log x")
    if picture and picture.plot.log_y:
        words.append("log y")
    if SMOOTHINGS[chart.smoothing]:
        words.append(f"smooth {chart.smoothing}/{len(SMOOTHINGS) - 1}")
    if chart.banded:
        words.append("min/max")
    return Content.styled(" · ".join(words), QUIET)


def reading(
    detail: JobDetail, view: ChartView, drawn: Sequence[Group], chart: Chart, here: float | None
) -> Content:
    """What the crosshair reads: where it stands, on the other axes too, and the values of the metrics."""
    if here is None:
        return Content("")
    there = detail.pointed.place if detail.pointed else None
    words = [Content.assemble("▏", (place(here, view.axis), "bold"))]
    words += _elsewhere(there, view.axis, ("dollars", "step"))
    for name in view.metrics:
        if curve := detail.curves.get(name):
            words.append(_value(name, curve, drawn, chart))
    words += _elsewhere(there, view.axis, ("epoch", "hours"))
    return Content("  ").join(words)


def _value(name: str, curve: Curve, drawn: Sequence[Group], chart: Chart) -> Content:
    group = next((group for group in drawn if name in group.metrics), None)
    point = chart.point(Line(name, curve, ""))
    said = short(point.mean if point else None)
    if point and chart.banded and point.high > point.low:
        said += f" ({short(point.low)}…{short(point.high)})"
    return Content.assemble((f"{group.label(name) if group else label(name)} ", QUIET), said)


def _elsewhere(there: Place | None, axis: Axis, others: Sequence[Axis]) -> list[Content]:
    """The same moment on axes that are not drawn."""
    known = [(other, there.on(other)) for other in others if other != axis] if there else []
    return [Content.styled(place(x, other), QUIET) for other, x in known if x is not None]


def _last(curve: Curve) -> float | None:
    return curve.points[-1].mean if curve.points else None
