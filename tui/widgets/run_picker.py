"""The runs of the compared model: which are side by side, and which one the others are measured against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from textual.content import Content
from textual.message import Message
from textual.reactive import reactive

from engine.analysis.comparison import Comparison
from engine.analysis.snapshot import Snapshot
from engine.records import Job
from tui import wishes
from tui.commands import Command, Commanding
from tui.widgets.line_list import LineList
from tui.widgets.run_columns import INDENT, Plan, plan, row
from tui.widgets.run_scene import Kin, Scene


class TogglePicked(Command):
    """Put this run into the comparison, or take it out."""

    KEYS = "space"
    LABEL = "in or out"
    FOOTER = True


class SetReference(Command):
    """Measure the other runs against this one; again, against the best."""

    KEYS = "equals_sign"
    LABEL = "reference"
    FOOTER = True


_ABOUT_ONE: Final = (wishes.RestoreJobs, wishes.ArchiveJobs, wishes.DeleteJobs, wishes.PullBest)
"""What is done to the run under the cursor."""


class RunPicker(Commanding, LineList):
    """Space takes a run in or out, = makes it the reference that deltas are against; a, d, r and p act on it.

    The compared runs stand first, in their order; below them are the model's other runs.
    """

    TITLE_IN_HELP = "Compared runs"
    COMMANDS = (
        TogglePicked,
        SetReference,
        wishes.OpenJob,
        wishes.ArchiveJobs,
        wishes.DeleteJobs,
        wishes.RestoreJobs,
        wishes.PullBest,
    )

    snapshot: reactive[Snapshot | None] = reactive(None)

    @dataclass
    class Picked(Message):
        """Other runs shall be compared.

        Args:
            job_ids: They, in their order.
        """

        job_ids: tuple[str, ...]

    @dataclass
    class Reference(Message):
        """Deltas shall be against another run.

        Args:
            job_id: It; None for the best.
        """

        job_id: str | None

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._jobs: tuple[Job, ...] = ()
        self._scene: Scene | None = None
        self._kin = Kin()
        self._asked: list[tuple[str, ...]] = []
        """The choices that were asked for and are not there yet: the next key goes on from the last."""
        self._digits, self._longest = 2, 0

    @property
    def comparison(self) -> Comparison | None:
        """What is compared now."""
        return self.snapshot.compared if self.snapshot else None

    def subject(self) -> tuple[str, ...]:
        """The run under the cursor."""
        return (str(self.key),) if self.key is not None else ()

    @property
    def job(self) -> Job | None:
        """The run under the cursor."""
        return self._jobs[self.row] if self._jobs else None

    def offers(self, command: type[Command]) -> bool:
        """Restoring is for what is hidden, archiving for what is not; a live run is not deleted."""
        job = self.job
        if job is None:
            return command not in _ABOUT_ONE
        hidden = job.archived or job.deleted
        match command:
            case wishes.RestoreJobs:
                return hidden
            case wishes.ArchiveJobs:
                return not hidden
            case wishes.DeleteJobs:
                return not job.deleted and job.status.ended
            case wishes.PullBest:
                return job.best_step is not None
        return True

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """Take in the runs."""
        if snapshot is None or snapshot.compared is None:
            self._jobs = ()
        else:
            compared, family = snapshot.compared.jobs, snapshot.family
            self._arrived(tuple(job.id for job in compared))
            ids, kin = {job.id for job in compared}, self._kin.of(compared, snapshot.jobs, family)
            self._jobs = (*compared, *(job for job in kin if job.id not in ids))
            every = {job.id: job for job in (*kin, *compared)}
            scene = Scene.of(every.values(), snapshot.taken_at, self._scene)
            self._scene = replace(scene, archive_above=snapshot.archive_above)
        self._digits = max(2, len(str(max((job.number for job in self._jobs), default=0))))
        self._longest = max((len(job.name) for job in self._jobs), default=0)
        self.show([job.id for job in self._jobs])

    def _arrived(self, chosen: tuple[str, ...]) -> None:
        """This choice is there: what was asked up to it is done; all is void where somebody else chose."""
        if chosen in self._asked:
            del self._asked[: self._asked.index(chosen) + 1]
        elif chosen != tuple(job.id for job in self._jobs[: len(chosen)]):
            self._asked.clear()

    def _chosen(self, comparison: Comparison) -> tuple[str, ...]:
        """What is compared as soon as all is there that was asked for."""
        return self._asked[-1] if self._asked else tuple(job.id for job in comparison.jobs)

    def _choose(self, job_ids: tuple[str, ...]) -> None:
        self._asked.append(job_ids)
        self.post_message(self.Picked(job_ids))

    def plan(self) -> Plan:
        """The columns that fit."""
        return plan(self.scrollable_content_region.width, self._digits, self._longest)

    def draw(self, row_number: int, width: int) -> Content:
        """A run as the History screen shows it, with its place in the comparison."""
        job, comparison = self._jobs[row_number], self.comparison
        assert self._scene is not None and comparison is not None
        compared = row_number < len(comparison.jobs)
        line = row(job, self.plan(), self._scene, compared)
        if compared and job.id == comparison.reference:
            line = Content.assemble(line[:2], ("=", "bold $accent"), line[3:])
        return line

    def on_toggle_picked(self, command: TogglePicked) -> None:
        """In or out; two runs stay at least."""
        command.stop()
        comparison = self.comparison
        if comparison is None or not self._jobs:
            return
        job = self._jobs[self.row]
        ids = self._chosen(comparison)
        if job.id not in ids:
            self._choose((*ids, job.id))
        elif len(ids) > 2:
            self._choose(tuple(other for other in ids if other != job.id))
        else:
            self.notify("A comparison needs two runs: take another in first.", timeout=3)

    def on_set_reference(self, command: SetReference) -> None:
        """Pin the reference, or let it be the best again."""
        command.stop()
        comparison = self.comparison
        if comparison is None or not self._jobs:
            return
        job = self._jobs[self.row]
        if job.id not in self._chosen(comparison):
            self.notify("Only a compared run can be the reference: space takes this one in.", timeout=3)
        else:
            self.post_message(self.Reference(None if job.id == comparison.reference else job.id))

    def clicked(self, x: int, chain: int) -> None:
        """The mark's column takes in and out, a double click opens."""
        if x < INDENT:
            self.post_message(TogglePicked())
        elif chain == 2:
            self.post_message(wishes.OpenJob(self.subject()))
