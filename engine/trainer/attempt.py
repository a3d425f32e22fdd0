"""One attempt at a job: what all parts of the trainer share, and the events they write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from engine.job.events import EventType, EventWriter, Phase
from engine.job.folder import JobFolder
from engine.job.spec import JobSpec
from engine.trainer import log
from engine.trainer.distributed import Ranks
from engine.trainer.gpus import Peaks
from engine.trainer.meter import Clock, Meter
from engine.trainer.progress import Progress
from engine.trainer.stop import StopRequest
from scorer import Score


@dataclass(slots=True)
class Attempt:
    """What the parts of the trainer share.

    Args:
        folder: The job's folder.
        spec: The job, adapted to this machine.
        events: The wire.
        stop: Has SIGTERM come?
        progress: How far the job is.
        meter: How fast it goes.
        score: The newest evaluation's score.
        clock: The time that this attempt takes.
        exhausted: What said that memory ran out, the last time it did.
        diverged: How training diverged, the last time it did.
        rollbacks: How often this process went back because it did.
        rate: The peak learning rate to go on with after that; None leaves the schedule's.
        peaks: The most GPU memory that each phase takes.
        ranks: The processes that train together.
        evaluating: Was it in an evaluation that memory ran out?
    """

    folder: JobFolder
    spec: JobSpec
    events: EventWriter
    stop: StopRequest
    progress: Progress = field(default_factory=Progress)
    meter: Meter = field(default_factory=Meter)
    score: Score | None = None
    clock: Clock = field(default_factory=Clock)
    exhausted: str = ""
    diverged: Any = None
    rollbacks: int = 0
    rate: float | None = None
    peaks: Peaks = field(default_factory=Peaks)
    ranks: Ranks = field(default_factory=Ranks)
    evaluating: bool = False

    def leaving(self) -> bool:
        """Has any rank been asked to save and leave? All must ask at the same time."""
        return self.agreed()[0]

    def agreed(self, *flags: bool) -> list[bool]:
        """`leaving`, and which other flags some rank has raised; all must ask at the same time.

        A signal that comes meanwhile is none that the ranks agreed on: it is kept for the next time.
        """
        found = self.ranks.any(self.stop.requested, *flags)
        if found[0]:
            self.stop.requested = True
        return found

    def restore(self, progress: Progress) -> None:
        """Go on from a checkpoint's progress, with what was learnt about memory before and since."""
        progress.shrunk |= self.progress.shrunk
        self.progress = progress
        self.shrink(**progress.shrunk)

    def shrink(self, **training: Any) -> None:
        """Change settings of the spec's training section because memory is short; resumes remember them."""
        self.progress.shrunk |= training
        changed = self.spec.training.model_copy(update=training)
        self.spec = self.spec.model_copy(update={"training": changed})

    def looks_closely_at(self, step: int) -> bool:
        """Are gradients by layer and lengths of rows told at a step?"""
        every = self.spec.training.statistics_steps
        return every > 0 and (step == 1 or step % every == 0)

    def phase(self, phase: Phase, step: int | None = None, **about: Any) -> None:
        """Tell what the job is busy with now, and the most GPU memory that it took before.

        Several ranks tell that later, together: not all of them come to every phase.
        """
        self.peaks.turn(phase)
        if self.ranks.alone:
            self.tell_peaks(step)
        self.events.append(EventType.PHASE, step, phase=phase, **about)

    def tell_peaks(self, step: int | None = None) -> None:
        """Tell the most GPU memory that phases took, where that is news; all ranks that train must ask."""
        for took in self.peaks.news(self.ranks):
            self.events.append(EventType.MEMORY, step, **took)

    def alert(
        self, name: str, message: str, severity: Literal["info", "warning", "error"], step: int | None = None
    ) -> None:
        """Tell something that somebody should know, in the log too."""
        log.line(f"{severity}: {message}")
        self.events.append(EventType.ALERT, step, sync=True, alert=name, severity=severity, message=message)

    def recovery(self, failure: str, action: str, step: int | None = None) -> None:
        """Tell what went wrong and what was done about it, in the log too."""
        log.line(f"{failure}: {action}")
        self.events.append(EventType.RECOVERY, step, sync=True, failure=failure, action=action)
