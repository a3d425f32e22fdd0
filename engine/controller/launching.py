"""A launch: the row, the folder, the machine, the start; whatever dies in between can be told apart."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from engine.controller import preparation
from engine.controller.following import Following
from engine.controller.phases import mark
from engine.controller.pods import Pods
from engine.controller.renting import Renting
from engine.errors import PodError, PodiumError, StartLost, StoreError
from engine.home import Home
from engine.job.events import Status
from engine.job.folder import JobFolder
from engine.pods.base import Pod
from engine.records import Job
from engine.store.base import Store
from engine.supervisor.locks import Lock

Begun = Callable[[Job], None]
"""Told of a job that is kept from now on."""


def unheard(job: Job) -> None:
    """Tell nobody."""


class Launching:
    """Begins jobs.

    Args:
        store: Where jobs are kept.
        home: Where their folders are.
        pods: The pods of this session.
        renting: Who ends what was rented for a launch that came to nothing.
        following: Who follows what has been started.
    """

    def __init__(self, store: Store, home: Home, pods: Pods, renting: Renting, following: Following) -> None:
        self._store, self._home, self._pods = store, home, pods
        self._renting, self._following = renting, following

    async def begin(
        self,
        job: Job,
        lay_out: Callable[[JobFolder], None],
        rent: Callable[[], Awaitable[None]] | None = None,
        begun: Begun = unheard,
    ) -> Job:
        """Store the row, write the folder, rent, start.

        Args:
            job: The new job.
            lay_out: Writes its folder; may block.
            rent: Rents its machine; None where it needs none.
            begun: Told of the job as soon as it is kept.

        Raises:
            StoreError: It can't be kept, and nothing is left of it; or it was, and what was rented is ended.
            PodError: Nothing starts; the job is kept as failed, and what was rented is ended.
        """
        lock = await asyncio.to_thread(self._claimed, job.id)
        # Who takes this for a launch that was cut off would go on with it, or clear it away.
        launching = Lock(self._home.launching(job.id))
        try:
            job = await self._added(job)
            begun(job)
            await self._started(job, lay_out, rent, lock, launching)
        finally:
            lock.release()
            launching.release()
        self._following.follow(job.id)
        return job

    async def _added(self, job: Job) -> Job:
        try:
            return await asyncio.to_thread(self._store.add, job)
        except StoreError:
            await asyncio.to_thread(shutil.rmtree, self._home.job(job.id).path, ignore_errors=True)
            raise

    async def _started(
        self,
        job: Job,
        lay_out: Callable[[JobFolder], None],
        rent: Callable[[], Awaitable[None]] | None,
        lock: Lock,
        launching: Lock,
    ) -> None:
        """Bring a job that is kept to its start; what was rented for one that has none is ended."""
        try:
            await asyncio.to_thread(lay_out, self._home.job(job.id))
            lock.release()
            if rent is not None:
                # Of a run on this machine nothing is kept there, and there is nothing to rent.
                if launching.path.parent.exists():
                    await asyncio.to_thread(launching.take)
                await rent()
            await self.start(self._pods.of(job), job.id)
        except (PodError, StoreError, OSError) as error:
            failure = error if isinstance(error, PodiumError) else _unwritable(error)
            await self._over(job, str(failure), Status.FAILED)
            await self._clear_away(job, failure)
            raise failure from None
        except asyncio.CancelledError:
            if job.provider == "runpod":
                await self._over(job, "the launch was interrupted", Status.CANCELLED)
                await self._clear_away(job, None)
            raise

    async def _over(self, job: Job, why: str, status: Status) -> None:
        """Write down how it ended; a store that can't be written to keeps no machine alive."""
        with contextlib.suppress(StoreError):
            await self._following.end(job.id, why, status)

    async def _clear_away(self, job: Job, failure: PodiumError | None) -> None:
        """End the machine of a launch that came to nothing; the failure says so if it can't be done now."""
        if job.provider != "runpod":
            return
        try:
            await self._renting.end(job.id, str(failure or "the launch was interrupted"))
        except StoreError:
            return  # it is gone; what it cost is not written down
        except PodError as error:
            if failure is not None:
                raise PodError(
                    f"{str(failure).rstrip('.')}. Its pod may still bill: {error.what}",
                    "`podium pods reap` ends it.",
                ) from None

    async def start(self, pod: Pod, job_id: str) -> None:
        """Start a job's supervisor; from then on events tell what the time goes into.

        Raises:
            PodError: It is not at work.
        """
        with contextlib.suppress(StartLost):
            # It may be at work there: whoever follows it finds out, and starts it if it is not.
            await pod.start(job_id)
        # What is at work goes on, whether its ledger can be written or not.
        with contextlib.suppress(StoreError):
            await asyncio.to_thread(mark, self._store, job_id, "")

    def _claimed(self, job_id: str) -> Lock:
        """The job's lock, so that no other app takes the half-made folder for that of a dead supervisor."""
        folder = self._home.job(job_id)
        lock = Lock(folder.lock)
        try:
            folder.create()
            lock.take()
        except OSError as error:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise preparation.unwritable(folder, error) from None
        return lock


def _unwritable(error: OSError) -> PodError:
    """What this machine's disk refused, in a line."""
    where = Path(str(error.filename)) if error.filename else "this machine"
    return PodError(f"{where}: can't be written ({error.strerror})", "Make room there.")
