"""The list of all runs: grouped by model, sorted, filtered, marked; ten thousand of them as fast as ten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from textual.content import Content
from textual.message import Message
from textual.reactive import reactive

from engine.analysis.filters import Filter
from engine.analysis.history import model_of
from engine.analysis.snapshot import Snapshot
from engine.records import Job
from tui import wishes
from tui.commands import Command, Commanding
from tui.widgets.group_line import group_line
from tui.widgets.line_list import LineList
from tui.widgets.run_columns import INDENT, USUAL, Plan, plan, row
from tui.widgets.run_lines import NEWEST, SORTS, Group, Line, Order, key_of, sorted_runs, under_models
from tui.widgets.run_list_commands import (
    CopyId,
    Fold,
    MarkAll,
    MarkRange,
    NextSort,
    ReverseSort,
    ToggleGroups,
    ToggleMark,
    Unfold,
)
from tui.widgets.run_scene import Scene, same


class RunList(Commanding, LineList):
    """All runs, live ones on top, then newest first.

    The cursor stays on its run when others arrive. Marks are kept in the order in which they were set.
    """

    TITLE_IN_HELP = "Runs"
    COMMANDS = (
        ToggleMark,
        wishes.OpenJob,
        MarkRange,
        MarkAll,
        NextSort,
        ReverseSort,
        ToggleGroups,
        Fold,
        Unfold,
        CopyId,
    )

    snapshot: reactive[Snapshot | None] = reactive(None)
    order: reactive[Order] = reactive(Order())

    class Marked(Message):
        """Other runs are marked now."""

        def __init__(self, job_ids: tuple[str, ...]) -> None:
            self.job_ids = job_ids
            super().__init__()

    class Shown(Message):
        """Other runs are listed, or in another order."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._jobs: tuple[Job, ...] = ()
        self._sorted: list[Job] = []
        self._lines: Sequence[Line] = ()
        self._filter = Filter()
        self._marks: dict[str, None] = {}
        self._anchor: str | None = None
        self._scene = Scene(datetime.min.replace(tzinfo=UTC), {})
        self.matching = 0
        """How many runs pass the filter, folded ones included."""

    # What others ask

    @property
    def marks(self) -> tuple[str, ...]:
        """The ids of the marked runs, in the order in which they were marked."""
        return tuple(self._marks)

    @property
    def job(self) -> Job | None:
        """The run under the cursor; None on a model's line."""
        line = self._lines[self.row] if self._lines else None
        return line if isinstance(line, Job) else None

    @property
    def marked_jobs(self) -> list[Job]:
        """The marked runs that still exist."""
        return [job for job in self._jobs if job.id in self._marks]

    @property
    def ranging(self) -> bool:
        """Has a range of marks been begun?"""
        return self._anchor is not None

    def subject(self) -> tuple[str, ...]:
        """The run under the cursor."""
        return (self.job.id,) if self.job else ()

    def offers(self, command: type[Command]) -> bool:
        """Where nothing is listed there is nothing to mark, sort or open."""
        return bool(self._lines)

    def best_of(self, model: str) -> Job | None:
        """The model's run with the lowest eval loss."""
        runs = self._scene.models.get(model)
        return runs.best if runs else None

    @property
    def listed(self) -> list[Job]:
        """The runs that pass the filter, in their order, folded ones too."""
        return self._matching()

    def plan(self) -> Plan:
        """The columns that fit, of those that are chosen."""
        chosen = self.snapshot.columns if self.snapshot else ()
        return plan(self.scrollable_content_region.width, self._scene.digits, self._scene.longest, chosen)

    def accept(self, filter: Filter) -> None:
        """List only the runs that pass."""
        self._filter = filter
        self._arrange()

    def mark(self, job_ids: Sequence[str]) -> None:
        """Make these the marked runs."""
        self._marks = dict.fromkeys(job_ids)
        self._marked()

    def escape(self) -> bool:
        """Give up a range, else take all marks away; False when there was neither."""
        if self._anchor is not None:
            self._anchor = None
            self.redraw()
        elif self._marks:
            self.mark(())
        else:
            return False
        return True

    # From the snapshot to lines

    def watch_snapshot(self, before: Snapshot | None, snapshot: Snapshot | None) -> None:
        """Take in the runs; marks of runs that are gone go with them."""
        if snapshot is None:
            return
        if before is None or not same(snapshot.jobs, before.jobs):
            self._jobs = snapshot.jobs
            known = {job.id for job in self._jobs}
            if not self._marks.keys() <= known:
                self.mark([job_id for job_id in self._marks if job_id in known])
            self._scene = Scene.of(self._jobs, snapshot.taken_at, self._scene)
            self._sorted = sorted_runs(self._jobs, self.order)
            self._arrange()
        else:
            self._scene = replace(self._scene, now=snapshot.taken_at)
            self.redraw()
            self.post_message(self.Shown())

    def watch_order(self) -> None:
        """Sort and arrange anew."""
        self._sorted = sorted_runs(self._jobs, self.order)
        self._arrange()

    def _arrange(self) -> None:
        runs = self._matching()
        self.matching = len(runs)
        first = not self._lines
        self._lines = under_models(runs, self.order)
        self.show([key_of(line) for line in self._lines])
        if first and len(self._lines) > 1 and isinstance(self._lines[0], Group):
            self.move_to(1)
        self.post_message(self.Shown())

    # Drawing

    def draw(self, row_number: int, width: int) -> Content:
        """A run, or the header of a model's runs."""
        line = self._lines[row_number]
        if isinstance(line, Group):
            return group_line(line, self._scene.models[line.model], width)
        return row(line, self.plan(), self._scene, self._is_marked(row_number, line))

    def _is_marked(self, row_number: int, job: Job) -> bool:
        return job.id in self._marks or row_number in self._range()

    def _range(self) -> range:
        """The rows between the begin of a range of marks and the cursor."""
        anchor = None if self._anchor is None else self.row_of(self._anchor)
        if anchor is None:
            return range(0)
        return range(min(anchor, self.row), max(anchor, self.row) + 1)

    def _look(self) -> None:
        if self._anchor is not None:
            self._drawn.clear()
        super()._look()

    # Marks

    def on_toggle_mark(self, command: ToggleMark) -> None:
        """Mark what is under the cursor and go on to the next line."""
        command.stop()
        if self._anchor is not None:
            self.post_message(MarkRange())
            return
        line = self._lines[self.row] if self._lines else None
        if isinstance(line, Job):
            self._toggle([line.id])
            self.action_move(1)
        elif line is not None:
            self._toggle([job.id for job in self._matching() if model_of(job) == line.model])

    def on_mark_range(self, command: MarkRange) -> None:
        """Begin or end a range."""
        command.stop()
        if self._anchor is None:
            self._anchor = key_of(self._lines[self.row]) if self._lines else None
            self.redraw()
            self.post_message(self.Shown())
            return
        lines = [self._lines[number] for number in self._range()]
        self._anchor = None
        self.mark([*self._marks, *(line.id for line in lines if isinstance(line, Job))])

    def on_mark_all(self, command: MarkAll) -> None:
        """Mark all that match."""
        command.stop()
        self._toggle([job.id for job in self._matching()])

    def _matching(self) -> list[Job]:
        """The runs that pass the filter, in their order, folded ones too."""
        return self._filter.select(self._sorted)

    def _toggle(self, job_ids: Sequence[str]) -> None:
        """Mark all of them, or, when all are marked, none."""
        if self._marks.keys() >= set(job_ids):
            gone = set(job_ids)
            self.mark([job_id for job_id in self._marks if job_id not in gone])
        else:
            self.mark([*self._marks, *job_ids])

    def _marked(self) -> None:
        self.redraw()
        self.post_message(self.Marked(self.marks))

    # Order

    def on_next_sort(self, command: NextSort) -> None:
        """Sort by the next column."""
        command.stop()
        shown = (self.snapshot.columns if self.snapshot else ()) or USUAL
        names = [name for name in SORTS if name in (NEWEST, "name", "status", self.order.sort, *shown)]
        name = names[(names.index(self.order.sort) + 1) % len(names)]
        self.order = replace(self.order, sort=name, backwards=False)

    def sort_by(self, name: str) -> None:
        """Sort by a column; a second time, the other way round."""
        if name == self.order.sort:
            self.order = replace(self.order, backwards=not self.order.backwards)
        elif name in SORTS:
            self.order = replace(self.order, sort=name, backwards=False)

    def on_reverse_sort(self, command: ReverseSort) -> None:
        """Turn the order round."""
        command.stop()
        self.sort_by(self.order.sort)

    def on_toggle_groups(self, command: ToggleGroups) -> None:
        """Group or list flat."""
        command.stop()
        self.order = replace(self.order, grouped=not self.order.grouped)

    def on_fold(self, command: Fold) -> None:
        """Fold the model's runs and go to its line."""
        command.stop()
        self._fold(True)

    def on_unfold(self, command: Unfold) -> None:
        """Unfold the model's runs."""
        command.stop()
        self._fold(False)

    def _fold(self, folded: bool) -> None:
        line = self._lines[self.row] if self._lines else None
        if line is None or not self.order.grouped:
            return
        model = line.model if isinstance(line, Group) else model_of(line)
        others = set(self.order.folded) - {model}
        self.order = replace(self.order, folded=frozenset(others | {model} if folded else others))
        self.go_to(Group(model, 0).key if folded else key_of(line))

    # Mouse and clipboard

    def clicked(self, x: int, chain: int) -> None:
        """The mark's column marks, a model's line folds, a double click opens."""
        line = self._lines[self.row]
        if isinstance(line, Group):
            self._fold(not line.folded)
        elif x < INDENT:
            self._toggle([line.id])
        elif chain == 2:
            self.post_message(wishes.OpenJob((line.id,)))

    def on_copy_id(self, command: CopyId) -> None:
        """Copy the id."""
        command.stop()
        if self.job:
            self.app.copy_to_clipboard(self.job.id)
            self.notify(f"copied {self.job.id}", markup=False, timeout=2)
