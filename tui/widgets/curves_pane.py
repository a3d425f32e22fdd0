"""The Job screen's charts: the losses alone, or any metrics in a grid, under one crosshair."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from engine.analysis.snapshot import ChartView, JobDetail, Moment
from engine.records import Place
from tui.commands import Command, Commanding
from tui.widgets.chart import Chart
from tui.widgets.chart_grid import ChartGrid
from tui.widgets.curve_words import facts, legend, reading, room
from tui.widgets.marks import marks
from tui.widgets.metric_groups import Group, groups
from tui.widgets.metric_lines import lines_of
from tui.widgets.title_line import TitleLine

READ: Final = ("learning_rate", "grad_norm")
"""Metrics that the crosshair reads besides the drawn ones."""


class ChooseMetrics(Command):
    """Choose which metrics are drawn; several make a grid."""

    KEYS = "m"
    LABEL = "metrics"
    FOOTER = True


class NextMetric(Command):
    """Draw the next metric; in a grid, the next ones."""

    KEYS = "full_stop"
    SHOWN = "."
    LABEL = "next metric"


class PreviousMetric(Command):
    """Draw the metric before; in a grid, the ones before."""

    KEYS = "comma"
    SHOWN = ","
    LABEL = "metric before"


class ToggleGrid(Command):
    """Draw all metrics in a grid, or the losses alone."""

    KEYS = "M"
    LABEL = "grid"
    FOOTER = True


class ShowAlone(Command):
    """Draw the focused chart of a grid alone, or the grid again."""

    KEYS = "enter"
    LABEL = "alone"


class CurvesPane(Commanding, Vertical):
    """Train and eval loss with the best checkpoint, or any metrics; all charts show the same window."""

    TITLE_IN_HELP = "Curves"
    COMMANDS = (ChooseMetrics, ToggleGrid, NextMetric, PreviousMetric, ShowAlone)

    class Pointed(Message):
        """The user moved the crosshair; None when it went away."""

        def __init__(self, moment: Moment | None) -> None:
            self.moment = moment
            super().__init__()

    class Viewed(Message):
        """Other curves are needed, or another part of them."""

        def __init__(self, view: ChartView) -> None:
            self.view = view
            super().__init__()

    detail: reactive[JobDetail | None] = reactive(None)
    chosen: reactive[tuple[str, ...]] = reactive(("loss",))
    """The names of the groups that are drawn."""
    first: reactive[int] = reactive(0)
    """The first of them that is shown, where there is no room for all."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.view = ChartView(metrics=("loss", "eval_loss", *READ))
        self._title = TitleLine("loss")
        self._grid = ChartGrid(self.view)
        self._reading = Static(id="reading")
        self._job_id: str | None = None
        self._known: tuple[object, list[Group]] = (None, groups(()))
        self._before: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        """Title with legend, charts, the crosshair's reading."""
        yield self._title
        yield self._grid
        yield self._reading

    @property
    def chart(self) -> Chart:
        """The chart that has the keys, else the first."""
        return self._grid.lead

    @property
    def groups(self) -> list[Group]:
        """What can be drawn."""
        if self.detail is None:
            return self._known[1]
        key = (self.detail.metrics, self.detail.panels)
        if self._known[0] != key:
            self._known = (key, groups(*key))
        return self._known[1]

    @property
    def drawn(self) -> list[Group]:
        """What is drawn, as much as there is room for."""
        wanted = [group for group in self.groups if group.name in self.chosen] or self.groups[:1]
        first = min(self.first, len(wanted) - 1)
        return wanted[first : first + self._grid.room(len(wanted))]

    def watch_detail(self) -> None:
        """New points, or another run."""
        if self.detail is None:
            return
        if self.detail.job.id != self._job_id:
            self._job_id = self.detail.job.id
            self.first, self.chosen = 0, self._usual
            self.chart.reset()
        self._show()

    async def _arrange(self) -> None:
        """As many charts as are drawn, and their curves asked for."""
        drawn = self.drawn
        self.set_class(len(drawn) > 1, "-grid")
        await self._grid.hold(len(drawn))
        metrics = dict.fromkeys(name for group in drawn for name in group.metrics)
        self._look(replace(self.view, metrics=(*metrics, *(name for name in READ if name not in metrics))))
        self._show()

    def _look(self, view: ChartView) -> None:
        """Ask for what is needed."""
        view = replace(view, columns=self._grid.columns)
        if view != self.view:
            self.view = view
            self.post_message(self.Viewed(view).set_sender(self))

    def _show(self) -> None:
        detail = self.detail
        if detail is None:
            return
        for group, cell in zip(self.drawn, self._grid.cells, strict=False):
            evals = detail.curves.get("eval_loss") if "eval_loss" in group.metrics else None
            cell.chart.log_first = group.log
            cell.chart.show(lines_of(detail, group), list(marks(detail, evals)))

    def watch_chosen(self) -> None:
        """Other charts."""
        if self.is_mounted:
            self.run_worker(self._arrange(), group="arrange", exclusive=True)

    watch_first = watch_chosen

    def on_resize(self) -> None:
        """More room or less."""
        if len(self.chosen) > 1:
            self.watch_chosen()

    # Keys

    def on_choose_metrics(self) -> None:
        """A list of them."""
        from tui.screens.metric_picker import MetricPicker

        self.app.push_screen(MetricPicker(self.groups, self.chosen), self._choose)

    def _choose(self, names: tuple[str, ...] | None) -> None:
        if names:
            self.first, self.chosen = 0, names

    def on_toggle_grid(self) -> None:
        """All, or the losses."""
        self.first = 0
        self.chosen = ("loss",) if len(self.chosen) > 1 else tuple(group.name for group in self.groups)

    @property
    def _usual(self) -> tuple[str, ...]:
        """The losses, and the panels that the run's spec asks for."""
        return ("loss", *(panel.name for panel in self.detail.panels)) if self.detail else ("loss",)

    def on_show_alone(self) -> None:
        """One of a grid, or what was there before."""
        if len(self.chosen) > 1:
            self._before, self.chosen = self.chosen, (self.drawn[self._grid.leading].name,)
        elif self._before:
            self.chosen, self._before = self._before, ()

    def on_next_metric(self) -> None:
        """Further on."""
        self._turn(1)

    def on_previous_metric(self) -> None:
        """Back."""
        self._turn(-1)

    def _turn(self, by: int) -> None:
        names = [group.name for group in self.groups]
        if len(self.chosen) == 1:
            at = names.index(self.chosen[0]) if self.chosen[0] in names else 0
            self.chosen = (names[(at + by) % len(names)],)
            return
        room = self._grid.room(len(self.chosen))
        self.first = max(0, min(self.first + by * room, (len(self.chosen) - 1) // room * room))

    def go_on(self, by: int) -> bool:
        """Give the keys to the next chart of the grid, or the one before; False when there is none."""
        return self._grid.go_on(by)

    # One crosshair, one window

    @on(Chart.Viewed)
    def _look_elsewhere(self, event: Chart.Viewed) -> None:
        event.stop()
        self._grid.follow(event.chart)
        self._look(replace(event.view, metrics=self.view.metrics))

    @on(Chart.Pointed)
    def _point(self, event: Chart.Pointed) -> None:
        event.stop()
        self._grid.follow(event.chart)
        chart = event.chart
        moment = None if chart.cross is None else Moment(chart.view.axis, self._here(chart))
        self.post_message(self.Pointed(moment).set_sender(self))

    def point_at(self, place: Place) -> None:
        """Put the crosshair on a moment and tell nobody."""
        if (x := place.on(self.view.axis)) is not None:
            self.chart.cross = x
            self._grid.follow(self.chart)

    def _here(self, chart: Chart) -> float:
        """Where the crosshair stands: the nearest drawn point, or its own place where there is none."""
        cross = chart.cross or 0.0
        points = [point.x for line in chart.lines if (point := chart.point(line))]
        return min(points, key=lambda x: abs(x - cross), default=cross)

    @on(Chart.Drawn)
    def _tell(self, event: Chart.Drawn) -> None:
        """Legend, axis, what is hidden; and the crosshair's reading."""
        event.stop()
        drawn, chart = self.drawn, event.chart
        for group, cell in zip(drawn, self._grid.cells, strict=False):
            if cell.chart is chart:
                cell.title.title = Content(group.name)
                cell.title.facts = legend(chart, room(group.name, chart.size.width))
        if chart is not self.chart:
            return
        self._grid.follow(chart)
        if len(drawn) == 1:
            self._title.title = Content(drawn[0].name)
            said = facts(chart)
            known = legend(chart, room(drawn[0].name, self.size.width, said))
            self._title.facts = Content("  ").join([*filter(None, [known]), said])
        else:
            self._title.title = Content(f"{len(drawn)} of {len(self.groups)} charts")
            self._title.facts = facts(chart)
        here = None if chart.cross is None else self._here(chart)
        read = reading(self.detail, self.view, drawn, chart, here) if self.detail else Content("")
        self._reading.update(read.truncate(max(1, self.size.width), ellipsis=True), layout=False)
