"""The Job screen's chart with its legend, and what the crosshair reads."""

from __future__ import annotations

from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from engine.analysis.format import count, dollars, short
from engine.analysis.snapshot import ChartView, JobDetail
from engine.records import Axis, Curve
from tui.commands import Command, Commanding
from tui.themes import run_style
from tui.widgets.chart import SMOOTHINGS, Chart
from tui.widgets.marks import marks
from tui.widgets.plot import Line
from tui.widgets.title_line import TitleLine

LABELS: Final = {
    "loss": "train",
    "eval_loss": "eval",
    "learning_rate": "lr",
    "grad_norm": "grad",
    "tokens_per_second": "tok/s",
    "samples_per_second": "rows/s",
}
"""What a legend calls a metric."""

READ: Final = ("learning_rate", "grad_norm")
"""Metrics that the crosshair reads besides the drawn ones."""


def label(metric: str) -> str:
    """A metric's short name."""
    return LABELS.get(metric, metric.removeprefix("eval_").replace("_", " "))


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


class NextMetric(Command):
    """Draw the next metric."""

    KEYS = "m"
    LABEL = "metric"
    FOOTER = True


class LossPane(Commanding, Vertical):
    """Train and eval loss with the best checkpoint, or any other metric."""

    TITLE_IN_HELP = "Curves"
    COMMANDS = (NextMetric,)

    class Pointed(Message):
        """The crosshair stands at another step; None when it went away."""

        def __init__(self, step: int | None) -> None:
            self.step = step
            super().__init__()

    detail: reactive[JobDetail | None] = reactive(None)
    group: reactive[int] = reactive(0)

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._title = TitleLine("loss")
        self.chart = Chart(ChartView(metrics=("loss", "eval_loss", *READ)))
        self._reading = Static(id="reading")
        self._job_id: str | None = None
        self._pointed: int | None = None

    def compose(self) -> ComposeResult:
        """Title with legend, chart, the crosshair's reading."""
        yield self._title
        yield self.chart
        yield self._reading

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """What can be drawn: the losses together, every other metric alone."""
        known = self.detail.metrics if self.detail else ()
        others = sorted(name for name in known if name not in ("loss", "eval_loss"))
        return [("loss", "eval_loss"), *((name,) for name in others)]

    @property
    def drawn(self) -> tuple[str, ...]:
        """The metrics that are drawn."""
        groups = self.groups
        return groups[self.group % len(groups)]

    def watch_detail(self) -> None:
        """New points, or another run."""
        if self.detail is None:
            return
        if self.detail.job.id != self._job_id:
            self._job_id = self.detail.job.id
            self.chart.reset()
        self._show()

    def on_next_metric(self) -> None:
        """The next group, with the metrics that the crosshair reads."""
        self.group = (self.group + 1) % len(self.groups)
        self.chart.look_at(metrics=(*self.drawn, *(name for name in READ if name not in self.drawn)))
        self._show()

    def _show(self) -> None:
        assert self.detail is not None
        curves = self.detail.curves
        lines = [self._line(curves[name]) for name in self.drawn if name in curves and curves[name].points]
        evals = curves.get("eval_loss") if "eval_loss" in self.drawn else None
        self.chart.show(lines, list(marks(self.detail, evals)))

    def _line(self, curve: Curve) -> Line:
        assert self.detail is not None
        # The eval loss decides, so it has the run's colour; the training loss stands back.
        style = "$secondary" if curve.metric == "loss" else run_style(self.detail.job.number)
        return Line(label(curve.metric), curve, style)

    @on(Chart.Drawn)
    def _tell(self, event: Chart.Drawn) -> None:
        """Legend, axis, what is hidden; and the crosshair's reading."""
        event.stop()
        chart = self.chart
        legend = [
            Content.assemble(
                ("━ ", line.style),
                (f"{line.label} ", "$text-muted"),
                (short(_last(line.curve)), "$foreground"),
            )
            for line in chart.lines
        ]
        self._title.title = Content("loss" if len(self.drawn) > 1 else label(self.drawn[0]))
        facts = [f"x {chart.view.axis}"]
        if chart.view.low is not None or chart.view.high is not None:
            facts.append("zoomed")
        if chart.picture and chart.picture.plot.clipped:
            facts.append(chart.picture.hidden or "no outliers")
        facts += [word for on, word in ((chart.log_x, "log x"), (chart.log_y, "log y")) if on]
        if SMOOTHINGS[chart.smoothing]:
            facts.append(f"smooth {chart.smoothing}/{len(SMOOTHINGS) - 1}")
        self._title.facts = Content("  ").join([*legend, Content.styled(" · ".join(facts), "$text-muted")])
        self._read()
        self._point()

    def point_at(self, step: int) -> None:
        """Put the crosshair on a step, if the chart is drawn against steps, and tell nobody."""
        if self.chart.view.axis == "step":
            self.chart.cross = float(step)
            self._pointed = self._step()

    def _step(self) -> int | None:
        """The step that the crosshair is on."""
        cross = self.chart.cross
        return round(self._here(cross)) if cross is not None and self.chart.view.axis == "step" else None

    def _point(self) -> None:
        """Tell the crosshair's step when it is another."""
        if (step := self._step()) != self._pointed:
            self._pointed = step
            self.post_message(self.Pointed(step).set_sender(self))

    def _here(self, cross: float) -> float:
        """Where the crosshair stands: the nearest drawn point, or its own place where there is none."""
        points = [point.x for line in self.chart.lines if (point := self.chart.point(line))]
        return min(points, key=lambda x: abs(x - cross), default=cross)

    def _read(self) -> None:
        chart, detail = self.chart, self.detail
        if detail is None or chart.cross is None:
            self._reading.update(Content(""), layout=False)
            return
        words = [Content.assemble("▏", (place(self._here(chart.cross), chart.view.axis), "bold"))]
        for name in chart.view.metrics:
            if curve := detail.curves.get(name):
                line = Line(label(name), curve, "")
                point = chart.point(line)
                words.append(
                    Content.assemble((f"{line.label} ", "$text-muted"), short(point.mean if point else None))
                )
        self._reading.update(Content("  ").join(words), layout=False)


def _last(curve: Curve) -> float | None:
    return curve.points[-1].mean if curve.points else None
