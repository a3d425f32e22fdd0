"""One metric of all compared runs in one chart, each in its colour, with a star at its best checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from engine.analysis import format as words
from engine.analysis.comparison import Comparison
from engine.analysis.places import place_of
from engine.analysis.snapshot import ChartView, Snapshot
from engine.records import Curve, Job
from tui.commands import Command, Commanding
from tui.themes import run_style
from tui.widgets.chart import SMOOTHINGS, Chart
from tui.widgets.plot import Line, Mark
from tui.widgets.title_line import TitleLine

METRICS: Final = {
    "eval_loss": "eval loss",
    "loss": "train loss",
    "tokens_per_second": "tokens a second",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
}
"""What can be overlaid, in the order that the key goes through them."""


class NextOverlay(Command):
    """Overlay the next metric: eval loss, train loss, tokens a second, learning rate, gradient norm."""

    KEYS = "m"
    LABEL = "metric"
    FOOTER = True


class OverlayPane(Commanding, Vertical):
    """The compared runs' curves over steps, epochs, tokens, hours or dollars."""

    TITLE_IN_HELP = "Curves"
    COMMANDS = (NextOverlay,)

    snapshot: reactive[Snapshot | None] = reactive(None)
    metric: reactive[str] = reactive("eval_loss")

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._title = TitleLine("eval loss")
        self.chart = Chart(ChartView(metrics=("eval_loss",)))
        self._reading = Static(classes="reading")
        self._drawn: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        """Title with legend, chart, the crosshair's reading."""
        yield self._title
        yield self.chart
        yield self._reading

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """New points, or other runs."""
        comparison = snapshot.compared if snapshot else None
        if comparison is None:
            return
        ids = tuple(job.id for job in comparison.jobs)
        if self._drawn and ids != self._drawn:
            self.chart.reset()
        self._drawn = ids
        self._show()

    def on_next_overlay(self, command: NextOverlay) -> None:
        """The next metric."""
        command.stop()
        names = list(METRICS)
        self.metric = names[(names.index(self.metric) + 1) % len(names)]
        self.chart.look_at(metrics=(self.metric,))
        self._show()

    # Drawing

    def _show(self) -> None:
        comparison = self.snapshot.compared if self.snapshot else None
        if comparison is not None:
            lines = [Line(f"{job.number:02}", curve, run_style(job.number)) for job, curve in self._curves()]
            self.chart.show(lines, list(self._stars(comparison)))

    def _curves(self) -> Iterator[tuple[Job, Curve]]:
        """The runs that have points, the best last: what is drawn later lies on top."""
        assert self.snapshot is not None and self.snapshot.compared is not None
        comparison = self.snapshot.compared
        for job in sorted(comparison.jobs, key=lambda job: job.id == comparison.recommendation.job_id):
            curve = self.snapshot.curves.get(job.id, {}).get(self.metric)
            if curve is not None and curve.points:
                yield job, curve

    def _stars(self, comparison: Comparison) -> Iterator[Mark]:
        if self.metric != "eval_loss":
            return
        for job, curve in self._curves():
            best = next((row for row in comparison.checkpoints.get(job.id, ()) if row.is_best), None)
            if best is not None and (x := place_of(curve, best)) is not None:
                yield Mark(x, best.eval_loss, "★", run_style(job.number))

    # What is said about it

    @on(Chart.Drawn)
    def _tell(self, event: Chart.Drawn) -> None:
        """Legend, axis, what is hidden; and the crosshair's reading."""
        event.stop()
        chart = self.chart
        self._title.title = Content.assemble(METRICS[self.metric], (f" × {chart.view.axis}", "$text-muted"))
        facts = [word for on, word in ((chart.log_x, "log x"), (chart.log_y, "log y")) if on]
        if SMOOTHINGS[chart.smoothing]:
            facts.insert(0, f"smooth {chart.smoothing}")
        if chart.picture and chart.picture.hidden:
            facts.append(chart.picture.hidden)
        if chart.view.low is not None or chart.view.high is not None:
            facts.append("zoomed")
        legend = [
            Content.assemble(("━ ", line.style), line.label)
            for line in sorted(chart.lines, key=lambda line: line.label)
        ]
        self._title.facts = Content("  ").join([*legend, Content.styled(" · ".join(facts), "$text-muted")])
        self._read()

    def _read(self) -> None:
        chart = self.chart
        if chart.cross is None:
            self._reading.update(Content(""))
            return
        said = [
            Content.assemble("▏", (f"{chart.view.axis} ", "$text-muted"), words.short(round(chart.cross, 3)))
        ]
        for line in sorted(chart.lines, key=lambda line: line.label):
            point = chart.point(line)
            value = words.short(point.mean if point else None)
            said.append(Content.assemble((f"{line.label} ", line.style), (value, "bold")))
        self._reading.update(Content("  ").join(said))
