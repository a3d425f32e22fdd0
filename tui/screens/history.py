"""The History screen: every run, found, judged and cleared up from the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, Static

from engine.analysis import format as words
from engine.analysis.filter_fields import completions
from engine.analysis.filters import Filter
from engine.analysis.history import model_of
from engine.errors import PodiumError
from tui import saved_filters, wishes
from tui.commands import Command
from tui.run_wishes import PurgeRuns
from tui.screens import history_commands as ask
from tui.screens.base import PodiumScreen
from tui.screens.history_dialogs import RunDialogs
from tui.widgets.clean import clean
from tui.widgets.filter_bar import FilterBar
from tui.widgets.line_list import LineList
from tui.widgets.marked_bar import MarkedBar
from tui.widgets.run_heading import RunHeading
from tui.widgets.run_line import RunLine
from tui.widgets.run_lines import SORTS
from tui.widgets.run_list import RunList
from tui.widgets.suggestion_line import SuggestionLine

MOST_COMPARED: Final = 8
"""How many runs the Comparison screen takes at once."""


CLEARING: Final = (
    wishes.RestoreJobs,
    wishes.ArchiveJobs,
    wishes.DeleteJobs,
    PurgeRuns,
    ask.KeepBestOf,
    wishes.UndoLast,
    ask.ExportThese,
    ask.CompareMarked,
    ask.TagThese,
)
"""What the last line offers to do with the marked runs."""

_KEY: Final = "bold $accent"
_ESC: Final = ("esc", _KEY)
_BEGIN: Final = (
    Content.assemble(("n", _KEY), " launches one, ", ("i", _KEY), " takes in what other tools trained"),
    Content("podium demo trains two small ones here"),
)
"""How to come to runs."""

_NEED_RUNS: Final = {
    command.__name__ for command in (wishes.ArchiveJobs, wishes.DeleteJobs, wishes.RestoreJobs, PurgeRuns)
}


_ABOUT_RUNS: Final = frozenset(CLEARING) - {wishes.UndoLast, ask.KeepBestOf}
"""What the last line does not offer where there is no run."""


class HistoryScreen(RunDialogs):
    """All runs of all models."""

    NAME = "history"
    TITLE_IN_HELP = "History"
    AUTO_FOCUS = "RunList"
    COMMANDS = (
        ask.FilterRuns,
        ask.OpenFilters,
        ask.SaveThisFilter,
        ask.CompareMarked,
        ask.CompareNew,
        wishes.ArchiveJobs,
        wishes.DeleteJobs,
        wishes.RestoreJobs,
        PurgeRuns,
        wishes.UndoLast,
        wishes.LaunchAgain,
        ask.KeepBestOf,
        ask.ArchiveBad,
        ask.TagThese,
        ask.NoteThese,
        ask.RenameThis,
        ask.ExportThese,
        ask.ImportSome,
        wishes.ShowLedger,
        wishes.ShowPods,
        ask.ChooseListColumns,
        ask.ToggleHidden,
        ask.StepBack,
    )

    def compose_body(self) -> ComposeResult:
        """The filter, the list under its headings, the run under the cursor, the marked runs."""
        yield FilterBar(self._complete)
        yield SuggestionLine().data_bind(PodiumScreen.snapshot)
        yield RunHeading()
        yield RunList().data_bind(PodiumScreen.snapshot)
        yield Static(classes="empty")
        yield RunLine()
        yield MarkedBar().data_bind(PodiumScreen.working)

    def on_mount(self) -> None:
        """What this screen suggests is looked for from now on."""
        self.post_message(wishes.Ask(suggest=True))

    # What the commands are about

    def subject(self) -> tuple[str, ...]:
        """The marked runs; with none marked, the one under the cursor."""
        return self.runs.marks or self.runs.subject()

    def offers(self, command: type[Command]) -> bool:
        """What is hidden can be restored, the rest hidden; while the filter is typed, letters are letters."""
        if isinstance(self.focused, Input):
            return False
        if command is wishes.RestoreJobs:
            return any(job.archived or job.deleted for job in self.subjects())
        if command is wishes.ArchiveJobs:
            return not (jobs := self.subjects()) or not all(job.archived or job.deleted for job in jobs)
        if command is wishes.DeleteJobs:
            return not (jobs := self.subjects()) or not all(job.deleted for job in jobs)
        if command is PurgeRuns:
            return any(job.deleted for job in self.subjects())
        if command is ask.CompareNew:
            return self.snapshot is not None and self.snapshot.suggested is not None
        return True

    def action_command(self, name: str) -> None:
        """Post the command, unless it needs a run and there is none; a live run is never deleted."""
        if name not in _NEED_RUNS:
            super().action_command(name)
            return
        jobs = self.subjects()
        if name == PurgeRuns.__name__:
            jobs = [job for job in jobs if job.deleted]
        if name == wishes.DeleteJobs.__name__ and (live := [job for job in jobs if job.status.live]):
            self.notify(
                f"{words.listed(clean(job.name) for job in live)} must be stopped first.", markup=False
            )
            jobs = [job for job in jobs if not job.status.live]
        elif not jobs:
            self.notify("No run here: go to one, or mark some with space.", timeout=3)
        if jobs:
            command = next(command for command in self.commands() if command.__name__ == name)
            self.post_message(command(tuple(job.id for job in jobs)))

    # Finding

    def _complete(self, word: str) -> Iterator[str]:
        if self.snapshot is not None:
            yield from saved_filters.completions(word, self.snapshot.filters)
            yield from completions(word, self.snapshot.jobs)

    def on_filter_runs(self) -> None:
        """Put the cursor into the filter."""
        self.query_one(FilterBar).enter()

    @on(FilterBar.Changed)
    def _filter(self, event: FilterBar.Changed) -> None:
        bar = self.query_one(FilterBar)
        try:
            text = saved_filters.expanded(event.text, self.snapshot.filters if self.snapshot else {})
            self.runs.accept(Filter.parse(text, self.snapshot.taken_at if self.snapshot else None))
            bar.error = ""
        except PodiumError as error:
            bar.error = str(error)
            self._tell()

    @on(FilterBar.Left)
    def _back_to_list(self) -> None:
        self.runs.focus()

    def on_toggle_hidden(self) -> None:
        """Ask for hidden runs, or no longer."""
        shown = self.snapshot is not None and self.snapshot.show_hidden
        self.post_message(wishes.Ask(show_hidden=not shown))

    def on_step_back(self) -> None:
        """One layer."""
        if not self.runs.escape():
            self.query_one(FilterBar).text = ""

    @on(RunHeading.Chosen)
    def _sort(self, event: RunHeading.Chosen) -> None:
        self.runs.sort_by(event.column)

    # What the other lines say

    @on(RunList.Shown)
    @on(RunList.Marked)
    @on(LineList.Moved)
    @on(LineList.Resized)
    def _tell(self) -> None:
        runs, snapshot = self.runs, self.snapshot
        if snapshot is None:
            return
        heading = self.query_one(RunHeading)
        heading.visible = runs.matching > 0
        if runs.size.width:
            heading.show(runs.plan(), runs.order)
        self.query_one(RunLine).show(runs.job, snapshot.taken_at)
        bar = self.query_one(MarkedBar)
        bar.jobs, bar.marks, bar.ranging = tuple(self.subjects()), len(runs.marks), runs.ranging
        bar.actions = tuple(
            command
            for command in CLEARING
            if self.offers(command)
            and (bar.jobs or command not in _ABOUT_RUNS)
            and (runs.matching or command is wishes.UndoLast)
        )
        self.query_one(FilterBar).summary = self._summary(len(snapshot.jobs), snapshot.show_hidden)
        self._say_empty(len(snapshot.jobs), snapshot.show_hidden)
        self.refresh_bindings()

    def _summary(self, total: int, hidden: bool) -> str:
        runs = self.runs
        noun = "run" if total == 1 else "runs"
        matching = f"{words.count(runs.matching)} of " if runs.matching != total else ""
        order = SORTS[runs.order.sort].words + (", reversed" if runs.order.backwards else "")
        parts = [f"{matching}{words.count(total)} {noun}", "by model" if runs.order.grouped else "", order]
        return "  ".join([part for part in parts if part] + (["hidden shown"] if hidden else []))

    def _say_empty(self, total: int, hidden: bool) -> None:
        """Say what to press when there is nothing to list."""
        runs, empty = self.runs, self.query_one(".empty", Static)
        runs.display = runs.matching > 0
        empty.display = not runs.display
        if total:
            wrong = self.query_one(FilterBar).error
            lines = [Content(wrong or "No run passes this filter."), Content.assemble(_ESC, " drops it.")]
        else:
            lines = [Content(f"No runs{' at all' if hidden else ''} yet."), *_BEGIN]
            if not hidden:
                lines.append(Content.assemble((".", _KEY), " shows archived runs and the trash"))
        empty.update(Content("\n").join(lines))

    # Comparing

    @on(RunList.Marked)
    def _compare_next(self, event: RunList.Marked) -> None:
        """What is marked is what 2 shows."""
        if 2 <= len(event.job_ids) <= MOST_COMPARED:
            self.post_message(wishes.Ask(compared=event.job_ids))

    def on_compare_marked(self) -> None:
        """Show the marked runs, or this one beside the best of its model."""
        chosen = self.runs.marks or self._beside_best()
        if len(chosen) < 2:
            self.notify("Mark two runs or more with space, then compare them.", timeout=3)
            return
        if len(chosen) > MOST_COMPARED:
            self.notify(f"The first {MOST_COMPARED} of {len(chosen)} marked runs are compared.", timeout=3)
        self.post_message(wishes.CompareJobs(chosen[:MOST_COMPARED]))

    def on_compare_new(self) -> None:
        """Show what is suggested."""
        if self.snapshot is not None and self.snapshot.suggested is not None:
            self.post_message(wishes.CompareJobs(self.snapshot.suggested.job_ids))

    def _beside_best(self) -> tuple[str, ...]:
        job = self.runs.job
        best = self.runs.best_of(model_of(job)) if job else None
        return (best.id, job.id) if job and best and best.id != job.id else ()
