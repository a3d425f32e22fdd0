"""The Comparison screen: which run to keep, how sure that is, and at what price."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Input, Static

from engine.analysis import format as words
from engine.analysis.compared import STATISTICS
from engine.analysis.comparison import Comparison
from engine.analysis.export import to_markdown
from engine.analysis.families import group_of
from engine.analysis.history import by_model, model_of
from engine.analysis.recommendation import beyond
from engine.analysis.snapshot import Snapshot
from engine.records import Job, SavedComparison
from tui import wishes
from tui.commands import Command
from tui.screens import comparison_commands as ask
from tui.screens.base import PodiumScreen
from tui.screens.entry import Entry, Field
from tui.screens.saved import Choice, Saved
from tui.themes import run_style
from tui.widgets.chart import Chart
from tui.widgets.clean import clean
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


class ComparisonScreen(PodiumScreen):
    """Runs side by side. In the list of runs a and d act on the one under the cursor, elsewhere on those that
    the recommendation would be rid of."""

    NAME = "comparison"
    TITLE_IN_HELP = "Comparison"
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

    comparison: reactive[Comparison | None] = reactive(None)
    _suggested = False
    """Was a comparison suggested already?"""
    _runs = 0
    """How many runs there are of the compared models."""
    _suggestion_of: tuple[Sequence[Job], tuple[Job, ...]] | None = None
    """The runs that were looked at last, and what of them is suggested."""

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
        self._runs = _runs_in(snapshot, self.comparison) if snapshot and self.comparison else 0
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

    # Kept: saved, exported, copied

    @property
    def _saved(self) -> SavedComparison | None:
        """The saved comparison that is shown, if it is one."""
        comparison = self.comparison
        if comparison is None or self.snapshot is None:
            return None
        ids = tuple(job.id for job in comparison.jobs)
        return next((saved for saved in self.snapshot.saved if saved.job_ids == ids), None)

    def on_save_this(self) -> None:
        """Ask for a name and notes."""
        saved = self._saved
        fields = (
            Field("name", saved.name if saved else "", "lr sweep"),
            Field("notes", saved.notes if saved else "", "optional"),
        )

        def save(texts: tuple[str, ...] | None) -> None:
            comparison = self.comparison
            if texts and comparison is not None:
                ids = tuple(job.id for job in comparison.jobs)
                pinned = comparison.reference != comparison.recommendation.job_id
                reference = comparison.reference if pinned else None
                self.post_message(wishes.SaveComparison(ids, reference, texts[0], texts[1]))

        self.app.push_screen(Entry("Save this comparison", fields), save)

    def on_open_saved(self) -> None:
        """List them."""
        assert self.snapshot is not None
        names = {job.id: job.name for job in self.snapshot.jobs}

        def choose(choice: Choice | None) -> None:
            if choice is None:
                return
            what, saved = choice
            if what == "forget":
                self.post_message(wishes.ForgetComparison(saved.id))
            else:
                self.post_message(wishes.Ask(compared=saved.job_ids, reference=saved.reference_job_id))

        self.app.push_screen(Saved(self.snapshot.saved, names, self.snapshot.taken_at), choose)

    def on_export_this(self) -> None:
        """Ask for a file."""
        saved = self._saved
        title = saved.name if saved else "comparison"
        name = "".join(letter if letter.isalnum() else "-" for letter in title)
        field = Field("file: .html .md .csv .json .tex", str(Path.cwd() / f"{name}.html"))

        def export(texts: tuple[str, ...] | None) -> None:
            if texts and self.comparison is not None:
                said = (saved.name, saved.notes) if saved else ("", "")
                self.post_message(wishes.ExportComparison(self.comparison, texts[0], *said))

        self.app.push_screen(Entry("Export this comparison", (field,)), export)

    def on_copy_this(self) -> None:
        """Copy all rows."""
        if self.comparison is not None:
            self.app.copy_to_clipboard(to_markdown(self.comparison, all_rows=True))
            self.notify("copied as Markdown", timeout=2)

    def on_deploy_this(self) -> None:
        """Ask where to, and whether it is to be served."""
        if self.comparison is None or (advice := self.comparison.recommendation).job_id is None:
            return
        job = next(job for job in self.comparison.jobs if job.id == advice.job_id)
        fields = (
            Field("repository on the Hub", "", "owner/name"),
            Field("also a serverless endpoint: no, yes, or a GPU's name; its price is shown first", "no"),
        )

        def deploy(texts: tuple[str, ...] | None) -> None:
            if not texts:
                return
            served = texts[1].casefold() not in ("", "no", "n")
            gpu = texts[1] if served and texts[1].casefold() not in ("yes", "y") else None
            self.post_message(wishes.DeployBest(job, texts[0], served, gpu))
            self.notify("It is merged and pushed, which takes minutes. You are told.", timeout=4)

        self.app.push_screen(Entry(f"Deploy checkpoint {advice.step}", fields), deploy)

    # Grouping and clearing up

    def on_toggle_family(self) -> None:
        """Family, or exact model."""
        family = self.snapshot is not None and self.snapshot.family
        self.post_message(wishes.Ask(family=not family))

    def on_archive_worse(self) -> None:
        """All that are far worse than the best of their models."""
        if self.comparison is None or self.snapshot is None:
            return
        family = self.snapshot.family
        groups = {group_of(job, family) for job in self.comparison.jobs}
        runs = [job for job in self.snapshot.jobs if group_of(job, family) in groups]
        far = beyond(runs, self.snapshot.archive_above)
        if far:
            self.post_message(wishes.ArchiveJobs(tuple(job.id for job in far)))
        else:
            above = self.snapshot.archive_above * 100
            self.notify(f"No run of these models is more than {above:.3g} % worse than the best.", timeout=3)

    def on_choose_threshold(self) -> None:
        """Ask for it."""
        above = self.snapshot.archive_above * 100 if self.snapshot else 0.0
        field = Field("percent worse than the best", f"{above:.4g}")

        def remember(texts: tuple[str, ...] | None) -> None:
            if not texts:
                return
            try:
                percent = float(texts[0].rstrip("% "))
            except ValueError:
                percent = 0.0
            if 0 < percent < 1e6:
                self.post_message(wishes.ArchiveAbove(percent / 100))
            else:
                self.notify("That is no percentage above 0.", severity="error", timeout=4)

        self.app.push_screen(Entry("From where on is a run offered for archiving?", (field,)), remember)

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
        target = next(
            node
            for node in self.query(f"#{pane} *")
            if node.can_focus and node.display and not isinstance(node, Input)
        )
        self.call_after_refresh(target.focus)

    # Wishes

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
            said = _nothing_yet(snapshot.jobs, self._suggestion) if snapshot else Content("")
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
        self.query_one("#runs TitleLine", TitleLine).title = _what(comparison)
        self.query_one("#runs TitleLine", TitleLine).facts = _how_many(
            comparison, snapshot, self._saved, self._runs
        )
        self.query_one("#metrics TitleLine", TitleLine).facts = _which_metrics(comparison, table)


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


def _nothing_yet(jobs: Sequence[Job], suggestion: Sequence[Job]) -> Content:
    """How to come to a comparison."""
    lines = [Content.styled("Nothing to compare yet: it takes two runs.\n", "bold")]
    if len(jobs) < 2:
        lines.append(Content.assemble(("n", _KEY), " launches one; podium demo trains two small ones here"))
    else:
        how = (" shows all runs: mark two or more with ", ("space", _KEY), ", then ", ("c", _KEY))
        lines.append(Content.assemble(("3", _KEY), *how))
    if suggestion:
        model = clean(model_of(suggestion[0]))
        lines.append(Content.assemble(("c", _KEY), f" here compares {len(suggestion)} runs of {model}"))
    return Content("\n").join(lines)


def _what(comparison: Comparison) -> Content:
    """The models that are compared."""
    models = list(dict.fromkeys(model_of(job) for job in comparison.jobs))
    return Content(clean(words.listed(models, 2)))


def _how_many(
    comparison: Comparison, snapshot: Snapshot, saved: SavedComparison | None, known: int
) -> Content:
    """How many runs, the reference, and under which name this is saved."""
    of = " of the family" if snapshot.family else ""
    kept = (f'   saved as "{clean(saved.name)}" ✓', "$success") if saved else ""
    reference = next(job for job in comparison.jobs if job.id == comparison.reference)
    return Content.assemble(
        (
            f"{len(comparison.jobs)} of {max(known, len(comparison.jobs))} runs{of}   reference ",
            "$text-muted",
        ),
        (f"■ {reference.number:02}", run_style(reference.number)),
        kept,
    )


def _runs_in(snapshot: Snapshot, comparison: Comparison) -> int:
    """How many runs there are of the compared models, or of their families."""
    groups = {group_of(job, snapshot.family) for job in comparison.jobs}
    return sum(group_of(job, snapshot.family) in groups for job in snapshot.jobs)


def _which_metrics(comparison: Comparison, table: MetricTable) -> Content:
    """Which lines are shown, and in which order the runs."""
    said = [f"{len(table.rows)} of {len(comparison.rows)}"]
    if comparison.statistic != "last" and any(row.measured for row in table.rows):
        said.append(STATISTICS[comparison.statistic])
    if table.filter.strip():
        said.append(f"/{clean(table.filter)}")
    if table.only_differing:
        said.append("only what differs")
    if table.sorting:
        label = next((row.label for row in comparison.rows if row.name == table.sorting[0]), "")
        said.append(f"by {label}{', reversed' if table.sorting[1] else ''}")
    return Content.styled("   ".join(said), "$text-muted")
