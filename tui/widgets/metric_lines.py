"""The curves of one chart, each with its colour. Pure."""

from __future__ import annotations

from engine.analysis.snapshot import JobDetail
from tui.themes import run_style
from tui.widgets.metric_groups import Group
from tui.widgets.plot import Line


def lines_of(detail: JobDetail, group: Group) -> list[Line]:
    """The lines of a group that there are points of, in the window or on both sides of it."""
    found = [(name, detail.curves[name]) for name in group.metrics if name in detail.curves]
    return [
        Line(group.label(name), curve, _style(detail, group, name))
        for name, curve in found
        if curve.points or curve.bad or (curve.before and curve.after)
    ]


def _style(detail: JobDetail, group: Group, metric: str) -> str:
    """What is evaluated decides, so it has the run's colour; its training counterpart stands back."""
    if len(group.metrics) == 1:
        return run_style(detail.job.number)
    if len({name.removeprefix("eval_") for name in group.metrics}) == 1:
        return run_style(detail.job.number) if metric.startswith("eval_") else "$secondary"
    return run_style(group.metrics.index(metric) + 1)
