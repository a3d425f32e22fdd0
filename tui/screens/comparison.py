"""The Comparison screen: which run to keep, how sure that is, and at what price."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from engine.analysis.history import by_model, model_of
from engine.analysis.snapshot import Snapshot
from engine.records import Job
from tui import wishes
from tui.commands import Command
from tui.screens import comparison_commands as ask
from tui.screens.base import PodiumScreen
from tui.screens.comparison_dialogs import ComparisonDialogs
from tui.widgets.chart import Chart
from tui.widgets.comparison_words import how_many, nothing_yet, what, which_metrics
from tui.widgets.difference_table import DifferenceTable
from tui.widgets.line_list import LineList
from tui.widgets.metric_filter import MetricFilter
from tui.widgets.metric_table import MetricTable
from tui.widgets.overlay_pane import OverlayPane
from tui.widgets.pane_tabs import NextPane, PaneTabs, PreviousPane
from tui.widgets.recommendation import RecommendationPanel, losers
from tui.widgets.run_heading import RunHeading
from tui.widgets.run_heads import RunHeads
from tui.widgets.run_lines import Order
from tui.widgets.run_picker import RunPicker
from tui.widgets.run_scene import Kin
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


class ComparisonScreen(ComparisonDialogs):
    """Runs side by side. In the list of runs a and d act on the one under the cursor, elsewhere on those that
    the recommendation would be rid of."""

    NAME = "comparison"
    TITLE_IN_HELP = "Comparison"
    PANES = PANES
    AUTO_FOCUS = ""  # there may be nothing to focus yet
    COMMANDS = (
        ask.CompareSuggested,
        ask.SaveThis,
        ask.ExportThis,
        ask.CopyThis,
        ask.OpenSaved,
        wishes.ArchiveJobs,
        wishes.DeleteJobs,
        ask.ArchiveWorse,
        wishes.UndoLast,
        wishes.PullBest,
        ask.DeployThis,
        ask.ToggleFamily,
        ask.ChooseThreshold,
        NextPane,
        PreviousPane,
    )

    _suggested = False
    """Was a comparison suggested already?"""
    _runs = 0
    """How many runs there are of the compared models."""
    _suggestion_of: tuple[Sequence[Job], tuple[Job, ...]] | None = None
    """The runs that were looked at last, and what of them is suggested."""

    def __init__(self, *classes: str) -> None:
        super().__init__(*classes)
        self._kin = Kin()

    def compose_body(self) -> ComposeResult:
        """What is compared, its panes; or how to come to a comparison."""
        yield Static(classes="empty")
        yield PaneTabs(PANES)
        with Container(id="panes"):
            with Vertical(id="runs", classes="pane"):
                yield TitleLine("runs")
                yield RunHeading()
                yield RunPicker().data_bind(PodiumScreen.snapshot)
            with Vertical(id="metrics", classes="pane"):
                yield TitleLine("metrics")
                yield MetricFilter()
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
        if snapshot is not None and snapshot.compared is not None:
            self._runs = len(self._kin.of(snapshot.compared.jobs, snapshot.jobs, snapshot.family))
        self._suggest()
        self.set_class(not there, "-nothing")
        if self.is_mounted:
            self._tell()
            self._focus_what_is_there()

    # What the commands are about

    def subject(self) -> tuple[str, ...]:
        """The runs that the recommendation would be rid of."""
        return tuple(job.id for job in losers(self.comparison))

    def offers(self, command: type[Command]) -> bool:
        """Without a comparison there is nothing to do but to make one, to open a saved one, or to undo."""
        if command is ask.CompareSuggested:
            return self.comparison is None and bool(self._suggestion)
        if command is ask.OpenSaved:
            return self.snapshot is not None and bool(self.snapshot.saved)
        if command is wishes.UndoLast:
            return True
        if command in (wishes.PullBest, ask.DeployThis):
            return self.comparison is not None and self.comparison.recommendation.job_id is not None
        return self.comparison is not None

    @property
    def _suggestion(self) -> tuple[Job, ...]:
        jobs = self.snapshot.jobs if self.snapshot else ()
        if self._suggestion_of is None or self._suggestion_of[0] is not jobs:
            self._suggestion_of = (jobs, suggested(jobs))
        return self._suggestion_of[1]

    def _suggest(self) -> None:
        """Compare what is suggested where nobody has chosen anything; once, so that it can be left alone."""
        if self.comparison is None and not self._suggested and self._suggestion:
            self._suggested = True
            self.post_message(wishes.Suggest(tuple(job.id for job in self._suggestion)))

    def on_compare_suggested(self) -> None:
        """Compare what was suggested."""
        self.post_message(wishes.Ask(compared=tuple(job.id for job in self._suggestion)))

    def action_command(self, name: str) -> None:
        """Post the command, unless there is no loser to clear up; the best run is what is downloaded."""
        comparison = self.comparison
        clearing = name in (wishes.ArchiveJobs.__name__, wishes.DeleteJobs.__name__)
        if clearing and comparison is not None and not self.subject():
            above = self.snapshot.archive_above * 100 if self.snapshot else 0.0
            self.notify(
                f"No finished run here is more than {above:.3g} % worse than the best: "
                "in the list of runs, a and d take the one under the cursor.",
                timeout=4,
            )
        elif name == wishes.PullBest.__name__ and comparison and comparison.recommendation.job_id:
            self.post_message(wishes.PullBest((comparison.recommendation.job_id,)))
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

    def bring_to_front(self, pane: str) -> None:
        """Of the panes that share a place, this one."""
        self._tabs.front = pane
        for name in PANES:
            self.query_one(f"#{name}").set_class(name == pane, "-front")

    def _go_to(self, pane: str) -> None:
        """Bring a pane to the front and focus it, at once: the next key may be there already."""
        self.bring_to_front(pane)
        target = next(
            node
            for node in self.query(f"#{pane} *")
            if node.can_focus and node.display and not isinstance(node, Input)
        )
        self.set_focus(target)

    # Wishes

    def on_toggle_family(self) -> None:
        """Family, or exact model."""
        family = self.snapshot is not None and self.snapshot.family
        self.post_message(wishes.Ask(family=not family))

    @on(RunPicker.Picked)
    def _pick(self, event: RunPicker.Picked) -> None:
        self.post_message(wishes.Ask(compared=event.job_ids))

    @on(RunPicker.Reference)
    def _refer(self, event: RunPicker.Reference) -> None:
        self.post_message(wishes.Ask(reference=event.job_id))

    @on(MetricTable.Valued)
    def _value(self, event: MetricTable.Valued) -> None:
        self.post_message(wishes.Ask(statistic=event.statistic))

    @on(Input.Changed, "MetricFilter")
    def _filter(self, event: Input.Changed) -> None:
        self.query_one(MetricTable).filter = event.value

    @on(MetricFilter.Left)
    def _filtered(self) -> None:
        self.query_one(MetricFilter).leave()
        self.query_one(MetricTable).focus()

    @on(MetricTable.Filtering)
    def _begin_filter(self) -> None:
        self.query_one(MetricFilter).enter()

    @on(Chart.Viewed)
    def _view(self, event: Chart.Viewed) -> None:
        self.post_message(wishes.Ask(compared_view=event.view))

    # What the title lines say

    @on(MetricTable.Changed)
    @on(LineList.Resized)
    def _tell(self) -> None:
        comparison, snapshot = self.comparison, self.snapshot
        if comparison is None or snapshot is None:
            said = nothing_yet(snapshot.jobs, self._suggestion) if snapshot else Content("")
            self.query_one(".empty", Static).update(said)
            self.refresh_bindings()
            return
        table, differences = self.query_one(MetricTable), self.query_one(DifferenceTable)
        differences.columns = table.columns()
        wanted = min(differences.wanted_width(), self.size.width // 2)
        self.query_one("#differences").styles.width = "1fr" if self.stacked else wanted
        jobs = tuple(comparison.jobs[index] for index in table.columns())
        self.query_one(RunHeading).show(self.query_one(RunPicker).plan(), Order(sort=""))
        self.query_one("#metrics RunHeads", RunHeads).show(jobs, comparison.reference, table.grid())
        self.query_one("#differences RunHeads", RunHeads).show(jobs, comparison.reference, differences.grid())
        self.query_one("#runs TitleLine", TitleLine).title = what(comparison)
        self.query_one("#runs TitleLine", TitleLine).facts = how_many(
            comparison, snapshot, self.saved, self._runs
        )
        self.query_one("#metrics TitleLine", TitleLine).facts = which_metrics(comparison, table)


def suggested(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """The best run and the newest others of the first model that has two with an evaluation."""
    members: dict[str, list[Job]] = {}
    for job in jobs:
        members.setdefault(model_of(job), []).append(job)
    for group in members.values():
        (runs,) = by_model(group)
        judged = [job for job in runs.jobs if job.id in runs.worse]
        if runs.best is not None and len(judged) > 1:
            others = (job for job in judged if job.id != runs.best.id)
            return (runs.best, *islice(others, _SUGGESTED - 1))
    return ()
