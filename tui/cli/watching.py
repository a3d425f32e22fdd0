"""Lines on how some jobs are getting on, until none of them is under way any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from engine.analysis import format as words
from engine.job.events import Status
from engine.records import Checkpoint, Job
from engine.store.base import Store

if TYPE_CHECKING:
    from engine.controller import Controller

Say = Callable[[str], None]

PERIOD: Final = 0.25
"""Seconds between two looks at the store."""


async def watch(controller: Controller, store: Store, jobs: Sequence[Job], say: Say) -> list[Job]:
    """Tell of each change of state, each checkpoint and each trouble, and return the jobs as they ended."""
    reporters = [Reporter(store, job, say) for job in jobs]
    trouble = ""
    settled = asyncio.create_task(controller.settle([job.id for job in jobs]))
    try:
        while not settled.done():
            for reporter in reporters:
                await asyncio.to_thread(reporter.look)
            if controller.trouble not in (trouble, controller.met, ""):
                say(controller.trouble)
            trouble = controller.trouble
            await asyncio.wait([settled], timeout=PERIOD)
        for reporter in reporters:
            await asyncio.to_thread(reporter.look)
        return await settled
    finally:
        settled.cancel()


class Reporter:
    """Tells what is new of one job.

    Args:
        store: Where it is read.
        job: The job.
        say: What to do with a line.
    """

    def __init__(self, store: Store, job: Job, say: Say) -> None:
        self._store, self._id, self._say = store, job.id, say
        self._status: Status | None = None
        self._told = -1
        """The step of the last checkpoint that was told."""

    def look(self) -> None:
        """Read the store and tell."""
        job = self._store.job(self._id)
        ended = job.status != self._status and not job.status.live
        if job.status != self._status and not ended:
            self._say(f"{job.name} · {job.status}")
        if job.current_step is not None and job.current_step > self._told:
            for checkpoint in self._store.checkpoints(self._id):
                if checkpoint.step > self._told and checkpoint.eval_loss is not None:
                    self._say(line_of(job, checkpoint))
                    self._told = checkpoint.step
        if ended:
            self._say(
                f"{job.name} · {job.status}{': ' if job.error_message else ''}{job.error_message or ''}"
            )
        self._status = job.status


def line_of(job: Job, checkpoint: Checkpoint) -> str:
    """A checkpoint in one line."""
    total = f" / {words.count(job.total_steps)}" if job.total_steps else ""
    parts = [
        job.name,
        f"step {words.count(checkpoint.step)}{total}",
        f"train {words.loss(checkpoint.train_loss)}",
        f"eval {words.loss(checkpoint.eval_loss)}",
        f"score {words.loss(checkpoint.score.total if checkpoint.score else None)}",
    ]
    if checkpoint.is_best:
        parts.append("★ best so far")
    return " · ".join(parts)
