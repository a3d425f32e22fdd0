"""Every live job is followed in the background; a supervisor that died is replaced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from engine.controller.phases import mark
from engine.controller.pods import Pods
from engine.errors import NoSuchJob, NoSuchPod, PodiumError
from engine.home import Home
from engine.job.events import Status
from engine.job.folder import read_json
from engine.records import Job
from engine.store.base import Store
from engine.stream import Backoff, JobStream, Link, fetch
from engine.supervisor.locks import held

_DEATHS: Final = 5
"""How often in a row a supervisor may die soon before its job is given up."""
_SOON: Final = 60.0
"""Seconds."""

_INCOMPLETE: Final = "the launch was interrupted before the job's folder was complete"

Ended = Callable[[str], Awaitable[None]]
"""Called with a job that is not under way any more."""


async def untroubled(job_id: str) -> None:
    """Do nothing about it."""


class Following:
    """The streams of this session, each with its background task.

    Args:
        store: Where events go.
        home: Where the job folders are.
        pods: The pods that jobs are on.
        ended: What is to be done once a job is not under way any more.
    """

    def __init__(self, store: Store, home: Home, pods: Pods, ended: Ended = untroubled) -> None:
        self._ended = ended
        self._store, self._home, self._pods = store, home, pods
        self._streams: dict[str, JobStream] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._trouble: dict[str, str] = {}

    def __contains__(self, job_id: str) -> bool:
        """Is that job followed?"""
        task = self._tasks.get(job_id)
        return task is not None and not task.done()

    @property
    def attended(self) -> list[str]:
        """The jobs that are followed, or seen off."""
        return [job_id for job_id, task in self._tasks.items() if not task.done()]

    @property
    def links(self) -> Mapping[str, Link]:
        """What each followed job's stream says of its connection."""
        return {job_id: stream.link for job_id, stream in self._streams.items()}

    @property
    def trouble(self) -> str:
        """Why news of some job does not arrive, one line; empty when all is well."""
        told = (
            self._trouble.get(job_id) or stream.trouble or stream.lost
            for job_id, stream in self._streams.items()
        )
        return next(filter(None, (*told, *self._trouble.values())), "")

    def follow(self, job_id: str) -> None:
        """Follow a job whose supervisor was just started, if nobody does yet."""
        if job_id not in self:
            self._tasks[job_id] = asyncio.create_task(self._accompany(job_id))

    def see_off(self, job_id: str) -> None:
        """Do what is to be done after the end of a job that ended while nobody looked."""
        if job_id not in self:
            self._tasks[job_id] = asyncio.create_task(self._see_off(job_id))

    async def adopt(self, job: Job) -> None:
        """Find a job of an earlier session again, and follow it if it has not ended."""
        try:
            # A machine that is away must not keep the app from starting: its stream waits for it.
            if self._pods.of(job).in_place and await self._revive(job) is None:
                return
        except PodiumError as error:
            # Whoever follows it tries again.
            self._trouble[job.id] = str(error)
        self.follow(job.id)

    async def wait(self, job_ids: Sequence[str]) -> None:
        """Wait until none of these jobs is followed any more."""
        if waiting := [self._tasks[job_id] for job_id in job_ids if job_id in self._tasks]:
            await asyncio.wait(waiting)

    async def close(self) -> None:
        """Stop following; the jobs go on."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def end(self, job_id: str, error: str, status: Status = Status.FAILED) -> None:
        """End a job on behalf of a pod that can't say so itself."""
        moment = "failed_at" if status == Status.FAILED else "completed_at"
        columns = {"status": status, "error_message": error or None, moment: datetime.now(UTC)}
        await asyncio.to_thread(self._store.update, job_id, **columns)

    async def give_up(self, job_id: str, error: str) -> None:
        """End a job whose pod was ended from here: nothing more comes of it, and nobody waits for it."""
        await self.end(job_id, error)
        if (task := self._tasks.get(job_id)) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.see_off(job_id)

    async def _see_off(self, job_id: str) -> None:
        """Do what is to be done after a job's end, until it is done: there may be a machine that bills."""
        backoff = Backoff(0.5, 30.0)
        while True:
            try:
                await self._ended(job_id)
                self._trouble.pop(job_id, None)
                return
            except NoSuchJob:
                return
            except (PodiumError, OSError) as error:
                self._trouble[job_id] = _said(error)
            await backoff.wait()

    async def _accompany(self, job_id: str) -> None:
        """Follow a job to its end, and do what is to be done then."""
        try:
            await self._to_its_end(job_id)
            await self._see_off(job_id)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # Nobody must believe that it is still followed.
            said = f"{type(error).__name__}: {error}"[:300]
            self._trouble[job_id] = f"{job_id[:8]} is not followed any more ({said}): please report this"
            raise

    async def _to_its_end(self, job_id: str) -> None:
        """Follow a job, and replace its supervisor when that dies."""
        backoff, deaths = Backoff(0.5, 30.0), 0
        while True:
            begun = time.monotonic()
            try:
                job = await asyncio.to_thread(self._store.job, job_id)
                if self._unstarted(job):
                    while await asyncio.to_thread(held, self._home.launching(job_id)):  # noqa: ASYNC110
                        await asyncio.sleep(0.5)
                    job = await asyncio.to_thread(self._store.job, job_id)
                    if job.status.live and await self._go_on_launching(job) is None:
                        return
                self._streams[job_id] = JobStream(self._store, self._pods.of(job), self._home, job_id)
                await self._streams[job_id].run()
                started = await self._revive(await asyncio.to_thread(self._store.job, job_id))
                self._trouble.pop(job_id, None)
                if started is None:
                    return
                deaths = deaths + 1 if started and time.monotonic() - begun < _SOON else 0
                if deaths >= _DEATHS:
                    await self.end(job_id, "its supervisor dies again and again: see supervisor.log")
                    return
            except NoSuchJob:
                return
            except (PodiumError, OSError) as error:
                # This machine's disk may be full: whoever stops following leaves a machine that bills.
                self._trouble[job_id] = _said(error)
            await backoff.wait()

    def _unstarted(self, job: Job) -> bool:
        """Was its launch on a machine of its own cut off before anything came from there?"""
        return job.provider == "runpod" and not self._home.job(job.id).events.exists()

    async def _go_on_launching(self, job: Job) -> bool | None:
        """Start a job whose launch was cut off; None when there is nothing to start."""
        if await asyncio.to_thread(self._home.job(job.id).spec.exists):
            return await self._revive(job)
        await self.end(job.id, _INCOMPLETE)
        return None

    async def _revive(self, job: Job) -> bool | None:
        """See that a live job has a supervisor.

        Returns:
            None when the job is not live any more; else whether a supervisor had to be started.
        """
        pod, folder = self._pods.of(job), self._home.job(job.id)
        if await pod.alive(job.id):
            return False
        # Its last words may have been written after this machine last looked.
        await fetch(self._store, pod, self._home, job.id)
        if not (await asyncio.to_thread(self._store.job, job.id)).status.live:
            return None
        if ending := await asyncio.to_thread(read_json, folder.exit):
            await self._end_as(job.id, ending)
            return None
        if not await asyncio.to_thread(folder.spec.exists):
            await self.end(job.id, _INCOMPLETE)
            return None
        try:
            await pod.start(job.id)
            await asyncio.to_thread(mark, self._store, job.id, "")
        except NoSuchPod as error:
            await self.end(job.id, str(error))
            return None
        return True

    async def _end_as(self, job_id: str, ending: Mapping[str, Any]) -> None:
        """End a job by its exit.json: the disk was too full for its last event."""
        said = str(ending.get("status"))
        ended = [status for status in Status if status.ended and status == said]
        await self.end(job_id, str(ending.get("error") or ""), ended[0] if ended else Status.FAILED)


def _said(error: PodiumError | OSError) -> str:
    """An error in one line."""
    if isinstance(error, PodiumError):
        return str(error)
    return f"{error.filename or 'this machine'}: {error.strerror or type(error).__name__}"
