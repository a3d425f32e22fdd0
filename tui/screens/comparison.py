"""The Comparison screen: which run to keep, how sure that is, and at what price."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from engine.analysis import format as words
from engine.analysis.comparison import Comparison
from engine.analysis.history import by_model, model_of
from engine.analysis.snapshot import Snapshot
from engine.records import Job
from tui import wishes
from tui.commands import Command
from tui.screens.base import PodiumScreen
from tui.themes import run_style
from tui.widgets.chart import Chart
from tui.widgets.clean import clean
from tui.widgets.difference_table import DifferenceTable
from tui.widgets.line_list import LineList
from tui.widgets.metric_table import MetricTable
from tui.widgets.overlay_pane import OverlayPane
from tui.widgets.pane_tabs import NextPane, PaneTabs, PreviousPane
from tui.widgets.recommendation import RecommendationPanel, losers
from tui.widgets.run_heads import RunHeads
from tui.widgets.run_picker import RunPicker
from tui.widgets.title_line import TitleLine

PANES: Final = {
    "metrics": "metrics",
    "curves": "curves",
    "differences": "what differs",
    "advice": "advice",
    "runs": "runs",
}
"""The panes and what their tabs are called, the most asked for first."""


_SUGGESTED: Final = 3
"""How many runs are compared when nobody has chosen any."""
_KEY: Final = "bold $accent"


class CompareSuggested(Command):
    """Compare the best run of the newest model with its newest other ones."""

    KEYS = "c"
    LABEL = "compare"
    FOOTER = True


class ComparisonScreen(PodiumScreen):
    """Runs side by side. What a and d act on are the runs that the recommendation would be rid of."""

    NAME = "comparison"
    TITLE_IN_HELP = "Comparison"
    AUTO_FOCUS = ""  # there may be nothing to focus yet
    COMMANDS = (
        CompareSuggested,
        wishes.ArchiveJobs,
        wishes.DeleteJobs,
        wishes.UndoLast,
        NextPane,
        PreviousPane,
    )

    comparison: reactive[Comparison | None] = reactive(None)

    def compose_body(self) -> ComposeResult:
        """What is compared, its panes; or how to come to a comparison."""
        yield Static(classes="empty")
        yield PaneTabs(PANES)
        with Container(id="panes"):
            with Vertical(id="runs", classes="pane"):
                yield TitleLine("runs")
                yield RunPicker().data_bind(PodiumScreen.snapshot)
            with Vertical(id="metrics", classes="pane"):
                yield TitleLine("metrics")
                yield RunHeads()
                yield MetricTable().data_bind(ComparisonScreen.comparison)
            with Horizontal(id="lower"):
                yield OverlayPane(id="curves", classes="pane").data_bind(PodiumScreen.snapshot)
                with Vertical(id="differences", classes="pane"):
                    yield TitleLine("what differs")
                    yield RunHeads()
                    yield DifferenceTable().data_bind(ComparisonScreen.comparison)
            with Vertical(id="advice", classes="pane"):
                yield TitleLine("recommendation")
                yield RecommendationPanel().data_bind(ComparisonScreen.comparison)

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """Take in what is compared."""
        self.comparison = snapshot.compared if snapshot else None
        there = self.comparison is not None
        self.set_class(not there, "-nothing")
        if self.is_mounted:
            self._tell()
            self._focus_what_is_there()

    # What the commands are about

    def subject(self) -> tuple[str, ...]:
        """The runs that the recommendation would be rid of."""
        return tuple(job.id for job in losers(self.comparison))

    def offers(self, command: type[Command]) -> bool:
        """Without a comparison there is nothing to do but to make one."""
        if command is CompareSuggested:
            return self.comparison is None and bool(self._suggestion)
        return self.comparison is not None

    @property
    def _suggestion(self) -> tuple[Job, ...]:
        return suggested(self.snapshot.jobs) if self.snapshot else ()

    def on_compare_suggested(self) -> None:
        """Compare what was suggested."""
        self.post_message(wishes.Ask(compared=tuple(job.id for job in self._suggestion)))

    def action_command(self, name: str) -> None:
        """Post the command, unless there is no loser to clear up."""
        clearing = name in (wishes.ArchiveJobs.__name__, wishes.DeleteJobs.__name__)
        if clearing and self.comparison is not None and not self.subject():
            self.notify("No finished run here is more than 25 % worse than the best.", timeout=3)
        else:
            super().action_command(name)

    @property
    def stacked(self) -> bool:
        """Is the terminal too small for all panes at once?"""
        return self.has_class("-narrow") or self.has_class("-short")

    # Panes: in a small terminal, the one with the focus is in front of the others.

    def on_mount(self) -> None:
        """Begin with the metrics; the snapshot may have been here before the panes."""
        self.query_one("#metrics").add_class("-front")
        self._tell()
        self._focus_what_is_there()

    def _focus_what_is_there(self) -> None:
        if self.comparison is None:
            self.set_focus(None)
        elif self.focused is None:
            self.call_after_refresh(self.query_one(MetricTable).focus)

    def on_descendant_focus(self) -> None:
        """The pane with the focus comes to the front."""
        pane = next(
            (node.id for node in (self.focused or self).ancestors_with_self if node.id in PANES), None
        )
        if pane is not None:
            self._to_front(pane)

    def on_next_pane(self) -> None:
        """Around."""
        self._go_to(self._tabs.after(self._tabs.front, 1))

    def on_previous_pane(self) -> None:
        """Around, the other way."""
        self._go_to(self._tabs.after(self._tabs.front, -1))

    @on(PaneTabs.Chosen)
    def _chosen(self, event: PaneTabs.Chosen) -> None:
        self._go_to(event.pane)

    @property
    def _tabs(self) -> PaneTabs:
        return self.query_one(PaneTabs)

    def _to_front(self, pane: str) -> None:
        self._tabs.front = pane
        for name in PANES:
            self.query_one(f"#{name}").set_class(name == pane, "-front")

    def _go_to(self, pane: str) -> None:
        """Bring a pane to the front and focus it, once it is shown."""
        self._to_front(pane)
        target = next(node for node in self.query(f"#{pane} *") if node.can_focus)
        self.call_after_refresh(target.focus)

    # Wishes

    @on(RunPicker.Picked)
    def _pick(self, event: RunPicker.Picked) -> None:
        self.post_message(wishes.Ask(compared=event.job_ids))

    @on(RunPicker.Reference)
    def _refer(self, event: RunPicker.Reference) -> None:
        self.post_message(wishes.Ask(reference=event.job_id))

    @on(Chart.Viewed)
    def _view(self, event: Chart.Viewed) -> None:
        self.post_message(wishes.Ask(compared_view=event.view))

    # What the title lines say

    @on(MetricTable.Changed)
    @on(LineList.Resized)
    def _tell(self) -> None:
        comparison, snapshot = self.comparison, self.snapshot
        if comparison is None or snapshot is None:
            said = _nothing_yet(self._suggestion) if snapshot else Content("")
            self.query_one(".empty", Static).update(said)
            self.refresh_bindings()
            return
        table, differences = self.query_one(MetricTable), self.query_one(DifferenceTable)
        differences.columns = table.columns()
        wanted = min(differences.wanted_width(), self.size.width // 2)
        self.query_one("#differences").styles.width = "1fr" if self.stacked else wanted
        jobs = tuple(comparison.jobs[index] for index in table.columns())
        self.query_one("#metrics RunHeads", RunHeads).show(jobs, comparison.reference, table.grid())
        self.query_one("#differences RunHeads", RunHeads).show(jobs, comparison.reference, differences.grid())
        self.query_one("#runs TitleLine", TitleLine).title = _what(comparison)
        self.query_one("#runs TitleLine", TitleLine).facts = _how_many(comparison, snapshot)
        self.query_one("#metrics TitleLine", TitleLine).facts = _which_metrics(comparison, table)


def suggested(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """The best run and the newest others of the first model that has two with an evaluation."""
    for runs in by_model(jobs):
        judged = [job for job in runs.jobs if job.id in runs.worse]
        if runs.best is not None and len(judged) > 1:
            others = (job for job in judged if job.id != runs.best.id)
            return (runs.best, *islice(others, _SUGGESTED - 1))
    return ()


def _nothing_yet(suggestion: Sequence[Job]) -> Content:
    """How to come to a comparison."""
    lines = [
        Content.styled("Nothing to compare yet.\n", "bold"),
        Content.assemble(
            ("3", _KEY), " shows all runs: mark two or more with ", ("space", _KEY), ", then ", ("c", _KEY)
        ),
    ]
    if suggestion:
        model = clean(model_of(suggestion[0]))
        lines.append(Content.assemble(("c", _KEY), f" here compares {len(suggestion)} runs of {model}"))
    return Content("\n").join(lines)


def _what(comparison: Comparison) -> Content:
    """The models that are compared."""
    models = list(dict.fromkeys(model_of(job) for job in comparison.jobs))
    return Content(clean(words.listed(models, 2)))


def _how_many(comparison: Comparison, snapshot: Snapshot) -> Content:
    """How many runs, and the reference."""
    models = {model_of(job) for job in comparison.jobs}
    known = sum(model_of(job) in models for job in snapshot.jobs)
    reference = next(job for job in comparison.jobs if job.id == comparison.reference)
    return Content.assemble(
        (f"{len(comparison.jobs)} of {max(known, len(comparison.jobs))} runs   reference ", "$text-muted"),
        (f"■ {reference.number:02}", run_style(reference.number)),
    )


def _which_metrics(comparison: Comparison, table: MetricTable) -> Content:
    """Which lines are shown, and in which order the runs."""
    said = [f"{len(table.rows)} of {len(comparison.rows)}"]
    if table.only_differing:
        said.append("only what differs")
    if table.sorting:
        label = next((row.label for row in comparison.rows if row.name == table.sorting[0]), "")
        said.append(f"by {label}{', reversed' if table.sorting[1] else ''}")
    return Content.styled("   ".join(said), "$text-muted")
