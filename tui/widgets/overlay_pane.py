"""One metric of all compared runs in one chart, each in its colour, with a star at its best checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.color import Color
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from engine.analysis import format as words
from engine.analysis.comparison import Comparison
from engine.analysis.places import place_of
from engine.analysis.snapshot import ChartView, Snapshot
from engine.records import Curve, Job
from tui.commands import Command, Commanding
from tui.themes import run_colour, run_style
from tui.widgets.chart import SMOOTHINGS, Chart
from tui.widgets.plot import Line, Mark
from tui.widgets.speed_bars import speed_bars
from tui.widgets.title_line import TitleLine


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is drawn at once of every run.

    Args:
        title: What the pane is called then.
        metrics: The first stands out, the others stand back.
        asked: Metrics that are needed besides, to place the stars.
    """

    title: str
    metrics: tuple[str, ...]
    asked: tuple[str, ...] = ()


OVERLAYS: Final = (
    Overlay("eval loss", ("eval_loss",)),
    Overlay("eval and train loss", ("eval_loss", "loss")),
    Overlay("train loss", ("loss",)),
    Overlay("checkpoint quality: score", ("score",), ("eval_loss",)),
    Overlay("tokens a second", ("tokens_per_second",)),
    Overlay("learning rate", ("learning_rate",)),
    Overlay("gradient norm", ("grad_norm",)),
)
"""What can be overlaid of all runs, in the order that the key goes through them; then any other metric."""

SPEED: Final = Overlay("speed and cost", ())
"""Bars instead of curves."""

_USUAL: Final = frozenset(name for overlay in OVERLAYS for name in overlay.metrics)
_MARGINS: Final = 7
"""Cells beside the bars before they have been laid out."""
_BEHIND: Final = 0.55
"""How far towards the ground the colour of what stands back is."""


MOST: Final = 5
"""Runs whose curves can be told apart in one chart; the table takes more."""


def overlaid(comparison: Comparison) -> tuple[Job, ...]:
    """The first runs of a comparison, the best always among them."""
    best = [job for job in comparison.jobs[MOST:] if job.id == comparison.recommendation.job_id]
    return (*comparison.jobs[: MOST - len(best)], *best)


class NextOverlay(Command):
    """Overlay the next metric: eval loss, with train loss, score, speed, then every metric any run has."""

    KEYS = "m"
    LABEL = "metric"
    FOOTER = True


class PreviousOverlay(Command):
    """Overlay the metric before."""

    KEYS = "M"
    LABEL = "metric before"


class ToggleBars(Command):
    """Show speed, time and cost as bars, or the curves again."""

    KEYS = "b"
    LABEL = "speed bars"
    FOOTER = True


class OverlayPane(Commanding, Vertical):
    """The compared runs' curves over steps, epochs, tokens, hours or dollars; or their speeds as bars."""

    TITLE_IN_HELP = "Curves"
    COMMANDS = (NextOverlay, PreviousOverlay, ToggleBars)

    snapshot: reactive[Snapshot | None] = reactive(None)
    overlay: reactive[Overlay] = reactive(OVERLAYS[0])
    bars: reactive[bool] = reactive(False)

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._title = TitleLine("eval loss")
        self.chart = Chart(ChartView(metrics=("eval_loss",)))
        self._bars = Static(classes="bars")
        self._reading = Static(classes="reading")
        self._drawn: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        """Title with legend, chart or bars, the crosshair's reading."""
        yield self._title
        yield self.chart
        with VerticalScroll() as scroll:
            scroll.display = False
            yield self._bars
        yield self._reading

    @property
    def overlays(self) -> list[Overlay]:
        """What can be overlaid."""
        known = self.snapshot.compared.metrics if self.snapshot and self.snapshot.compared else ()
        others = sorted(name for name in known if name not in _USUAL)
        return [*OVERLAYS, *(Overlay(name.replace("_", " "), (name,)) for name in others)]

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

    def watch_bars(self, bars: bool) -> None:
        """One or the other."""
        if not self.is_mounted:
            return
        self.set_class(bars, "-bars")
        scroll = self.query_one(VerticalScroll)
        self.chart.display, scroll.display = not bars, bars
        if self.has_focus_within:
            (scroll if bars else self.chart).focus()
        self._show()

    def on_resize(self) -> None:
        """Longer or shorter bars."""
        self._show()

    def on_next_overlay(self, command: NextOverlay) -> None:
        """The next one."""
        command.stop()
        self._turn(1)

    def on_previous_overlay(self, command: PreviousOverlay) -> None:
        """The one before."""
        command.stop()
        self._turn(-1)

    def on_toggle_bars(self, command: ToggleBars) -> None:
        """Bars, or curves."""
        command.stop()
        self.bars = not self.bars

    def _turn(self, by: int) -> None:
        if self.bars:
            self.bars = False
            return
        every = self.overlays
        at = every.index(self.overlay) if self.overlay in every else 0
        self.overlay = every[(at + by) % len(every)]
        self.chart.look_at(metrics=(*self.overlay.metrics, *self.overlay.asked))
        self._show()

    # Drawing

    def _show(self) -> None:
        comparison = self.snapshot.compared if self.snapshot else None
        if comparison is None:
            return
        if self.bars:
            room = self.query_one(VerticalScroll).scrollable_content_region.width
            self._bars.update(speed_bars(comparison, room or self.size.width - _MARGINS))
            self._title.title, self._title.facts = Content(SPEED.title), Content("")
            return
        behind = [
            Line(f"{job.number:02} train", curve, self._faint(job))
            for name in self.overlay.metrics[1:]
            for job, curve in self._curves(name)
        ]
        lines = [
            Line(f"{job.number:02}", curve, run_style(job.number))
            for job, curve in self._curves(self.overlay.metrics[0])
        ]
        self.chart.show([*behind, *lines], list(self._stars(comparison)))

    def _faint(self, job: Job) -> str:
        """A run's colour, nearer to the ground."""
        variables = self.app.theme_variables
        ground = Color.parse(variables.get("background", "#000000"))
        return Color.parse(run_colour(job.number, variables)).blend(ground, _BEHIND).hex

    def _curves(self, metric: str) -> Iterator[tuple[Job, Curve]]:
        """The runs that have points, the best last: what is drawn later lies on top."""
        assert self.snapshot is not None and self.snapshot.compared is not None
        comparison = self.snapshot.compared
        best = comparison.recommendation.job_id
        for job in sorted(overlaid(comparison), key=lambda job: job.id == best):
            curve = self.snapshot.curves.get(job.id, {}).get(metric)
            if curve is not None and curve.points:
                yield job, curve

    def _stars(self, comparison: Comparison) -> Iterator[Mark]:
        """Each run's best checkpoint on its eval loss or its score, with its number: colours come again."""
        metric = self.overlay.metrics[0]
        if metric not in ("eval_loss", "score"):
            return
        assert self.snapshot is not None
        for job, _ in self._curves(metric):
            best = next((row for row in comparison.checkpoints.get(job.id, ()) if row.is_best), None)
            evals = self.snapshot.curves.get(job.id, {}).get("eval_loss")
            if best is None or evals is None or (x := place_of(evals, best)) is None:
                continue
            value = best.eval_loss if metric == "eval_loss" else best.score.total if best.score else None
            yield Mark(x, value, "★", run_style(job.number), f"{job.number:02}")

    # What is said about it

    @on(Chart.Drawn)
    def _tell(self, event: Chart.Drawn) -> None:
        """Legend, axis, what is hidden; and the crosshair's reading."""
        event.stop()
        chart = self.chart
        if self.bars:
            return
        self._title.title = Content.assemble(self.overlay.title, (f" × {chart.view.axis}", "$text-muted"))
        facts = [word for on, word in ((chart.log_x, "log x"), (chart.log_y, "log y")) if on]
        if SMOOTHINGS[chart.smoothing]:
            facts.insert(0, f"smooth {chart.smoothing}")
        if chart.picture and chart.picture.hidden:
            facts.append(chart.picture.hidden)
        if chart.view.low is not None or chart.view.high is not None:
            facts.append("zoomed")
        compared = self.snapshot.compared if self.snapshot else None
        if compared is not None and len(compared.jobs) > MOST:
            facts.append(f"{MOST} of {len(compared.jobs)}")
        legend = [
            Content.assemble(("━ ", line.style), line.label)
            for line in sorted(chart.lines, key=lambda line: line.label)
            if line.style.startswith("$")
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
