"""The curator: frees the disk of what the user no longer wants, and never of anything else. Blocking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from engine.analysis.curation import surplus
from engine.controller.disk import remove, size_of
from engine.errors import BadInput, PodError
from engine.home import Home
from engine.records import Checkpoint, Job
from engine.store.base import Store
from engine.supervisor.locks import Lock, held

TRASH_DAYS: Final = 30.0
"""How long a deleted run is kept before `purge` takes it unasked-for, days."""

_GOING: Final = ".purged-"
"""What a folder's name begins with once its run is being purged."""


@dataclass(frozen=True, slots=True)
class Purged:
    """A run whose files are, or would be, gone.

    Args:
        job: The run.
        bytes: What its folder takes on this machine.
    """

    job: Job
    bytes: int


@dataclass(frozen=True, slots=True)
class Thinned:
    """A run that has, or would have, fewer checkpoints.

    Args:
        job: The run.
        checkpoints: Those that go.
        bytes: What they take on this machine.
    """

    job: Job
    checkpoints: tuple[Checkpoint, ...]
    bytes: int


Progress = Callable[[int, int], None]
"""Told how many of how many runs are done."""


def _quiet(done: int, of: int) -> None:
    """Tell nobody."""


class Curator:
    """Purges the trash and thins out checkpoints.

    What is said first (`purgeable`, `thinnable`) is what is done then (`purge`, `thin`), run by run, each
    wholly or not at all: a process that dies in between leaves nothing that `put_right` can't finish.

    Args:
        store: Where runs are kept.
        home: Where their folders are.
    """

    def __init__(self, store: Store, home: Home) -> None:
        self._store, self._home = store, home

    # ---- the trash

    def purgeable(self, now: datetime, days: float = TRASH_DAYS) -> list[Purged]:
        """The runs that have been in the trash for so many days or longer, oldest first."""
        deleted = [job for job in self._store.jobs(archived=True, deleted=True) if job.deleted_at is not None]
        due = [job for job in deleted if job.deleted_at and now - job.deleted_at >= timedelta(days=days)]
        return [self._sized(job) for job in sorted(due, key=lambda job: (job.deleted_at or now, job.id))]

    def named(self, jobs: Iterable[Job]) -> list[Purged]:
        """These runs, if all of them are in the trash.

        Raises:
            BadInput: One of them is not.
        """
        found = list(jobs)
        for job in found:
            if not job.deleted:
                raise BadInput(f"{job.name} is not in the trash", "podium delete puts it there.")
        return [self._sized(job) for job in found]

    def _sized(self, job: Job) -> Purged:
        return Purged(job, size_of(self._home.trashed(job.id)))

    def purge(self, runs: Sequence[Purged], progress: Progress = _quiet) -> int:
        """Remove runs in the trash for good.

        The folder is renamed, then the row goes, then the files: at every moment either the run can be
        restored whole, or it is gone and what is left of it is only bytes.

        Returns:
            The bytes that are free now.

        Raises:
            BadInput: A run is no longer in the trash; those before it are purged.
            PodError: A folder can't be removed; its run is back in the trash.
        """
        freed = 0
        with self._alone():
            for done, run in enumerate(runs, 1):
                if held(self._home.trashed(run.job.id) / "supervisor.lock"):
                    raise PodError(f"{run.job.name} is still at work in the trash", "Stop it first.")
                freed += self._purge(run.job)
                progress(done, len(runs))
        return freed

    def _purge(self, job: Job) -> int:
        trashed, going = self._home.trashed(job.id), self._going(job.id)
        if trashed.is_symlink() or trashed.exists():
            trashed.rename(going)
        try:
            self._store.forget([job.id])
        except BadInput:
            if going.is_symlink() or going.exists():
                going.rename(trashed)
            raise
        return remove(going, self._home.trash)

    def put_right(self) -> None:
        """Finish what a purge that died began, or take it back where its run is still known.

        Raises:
            PodError: A folder can't be removed.
        """
        if not any(self._home.trash.glob(f"{_GOING}*")):
            return
        with self._alone():
            self._put_right()

    def _put_right(self) -> None:
        known = {job.id for job in self._store.jobs(archived=True, deleted=True)}
        for folder in self._home.trash.glob(f"{_GOING}*"):
            job_id = folder.name.removeprefix(_GOING)
            if job_id in known:
                folder.rename(self._home.trashed(job_id))
            else:
                remove(folder, self._home.trash)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process purge at the same time.

        Raises:
            PodError: One does.
        """
        lock = Lock(self._home.trash / ".lock")
        if not lock.take():
            raise PodError("the trash is being purged by another Podium", "Try again when it is done.")
        try:
            yield
        finally:
            lock.release()

    def _going(self, job_id: str) -> Path:
        """A folder that is on its way out."""
        trashed = self._home.trashed(job_id)
        return trashed.with_name(f"{_GOING}{trashed.name}")

    # ---- checkpoints

    def thinnable(self, jobs: Iterable[Job], keep: int) -> list[Thinned]:
        """The runs that have more checkpoints here than the best `keep` and those that always stay.

        Only runs that have ended; what is on a pod and not here is not counted, nor what lies behind a link.
        """
        found = []
        for job in jobs:
            if not job.status.ended or job.deleted or self._linked(job):
                continue
            gone = tuple(
                item for item in surplus(self._store.checkpoints(job.id), keep) if self._folder(item).is_dir()
            )
            if gone:
                found.append(Thinned(job, gone, sum(size_of(self._folder(item)) for item in gone)))
        return found

    def thin(self, runs: Sequence[Thinned], progress: Progress = _quiet) -> int:
        """Remove the files of checkpoints; their numbers stay.

        The store is told first: a process that dies in between leaves bytes, never a checkpoint that is
        believed to be there and is not.

        Returns:
            The bytes that are free now.

        Raises:
            PodError: A run is at work again, its checkpoints lie behind a link, or a folder can't be removed;
                those before it are thinned.
        """
        freed = 0
        for done, run in enumerate(runs, 1):
            folder = self._home.job(run.job.id)
            if held(folder.lock):
                raise PodError(f"{run.job.name} is at work again", "Its checkpoints were left as they are.")
            if self._linked(run.job):
                raise PodError(
                    f"{folder.checkpoints}: leads out of the run's folder", "It was left alone."
                )
            self._store.drop_checkpoints(run.job.id, [item.step for item in run.checkpoints])
            freed += sum(remove(self._folder(item), folder.checkpoints) for item in run.checkpoints)
            progress(done, len(runs))
        return freed

    def _linked(self, job: Job) -> bool:
        """Do the run's checkpoints lie elsewhere, behind a link?"""
        folder = self._home.job(job.id)
        return folder.path.is_symlink() or folder.checkpoints.is_symlink()

    def _folder(self, checkpoint: Checkpoint) -> Path:
        return self._home.job(checkpoint.job_id).checkpoint(checkpoint.step)
