"""The way down: a pod's bytes -> the mirror on this machine -> events -> the store.

What is mirrored is byte-exact and goes on at the mirror's length; what is ingested goes on at the offset
that the store keeps in the same transaction as the rows. So a crash anywhere, or a lost connection,
loses nothing and doubles nothing: the store reads from the mirror, never from the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from engine.errors import PodError, PodLost, StoreError
from engine.home import Home
from engine.job.folder import JobFolder
from engine.pods.base import Chunk, Pod
from engine.store.base import Store

if TYPE_CHECKING:
    from engine.pods.ssh_group import SSHGroup

Link = Literal["live", "reconnecting", "ended"]
"""What a stream says of its connection."""

EVENTS: Final = "events.jsonl"
MIRRORED: Final = (EVENTS, "train.log", "supervisor.log", "exit.json")
"""The files that a mirror has; of another node in `nodes/N/`."""
_OF_A_NODE: Final = re.compile(r"nodes/[1-9][0-9]{0,2}/(.+)")

_BATCH: Final = 1 << 19
"""Bytes of events that one transaction takes in."""
_LONGEST_LINE: Final = 1 << 26
"""A line that is no end of: more is not kept in memory for it (bytes)."""
_QUIET: Final = 5.0
"""Seconds without a byte until it is asked whether the supervisor lives."""


class Backoff:
    """Waits that double, with jitter, up to a limit; seconds.

    Args:
        first: The first one, at most.
        longest: What they double up to.
        steady: What has held for so long is tried again at once when it is lost.
    """

    def __init__(self, first: float = 0.5, longest: float = 30.0, steady: float = 2.0) -> None:
        self._first, self._longest, self.steady = first, longest, steady
        self.reset()

    def reset(self) -> None:
        """Begin again with short waits."""
        self._next = self._first

    async def wait(self) -> None:
        """Wait, the longer the more often it was in vain."""
        await asyncio.sleep(random.uniform(0.5, 1.0) * self._next)
        self._next = min(self._longest, self._next * 2)


class Mirror:
    """A job's folder on this machine, kept byte-equal with the pod's.

    Args:
        folder: The folder here; made when missing.
    """

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder

    def cursors(self) -> dict[str, int]:
        """How much of each file is here."""
        return {name: _size(self._folder.path / name) for name in MIRRORED}

    def take(self, chunk: Chunk) -> None:
        """Append a chunk; what is here already is skipped. An older file is kept beside as `.old`.

        Several processes may mirror the same job, the app and a command: a file is locked meanwhile.

        Raises:
            PodLost: Bytes are missing before it: the connection has to be made anew.
            OSError: It can't be written.
        """
        found = _OF_A_NODE.fullmatch(chunk.file)
        if (found[1] if found else chunk.file) not in MIRRORED:
            raise PodLost(f"the pod sent a file that nobody asked for ({chunk.file[:100]!r})")
        path = self._folder.path / chunk.file
        path.parent.mkdir(parents=True, exist_ok=True)
        if chunk.restarted and _size(path):
            path.replace(path.with_name(f"{path.name}.old"))
        _no_gap(chunk, _size(path))
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = os.fstat(file.fileno()).st_size
            _no_gap(chunk, size)
            if fresh := chunk.data[size - chunk.offset :]:
                file.write(fresh)


def _no_gap(chunk: Chunk, size: int) -> None:
    if chunk.offset > size:
        raise PodLost(f"{chunk.offset - size} bytes of {chunk.file} are missing")


class JobStream:
    """Follows one job from its pod into the store, until it ends.

    Args:
        store: Where events go.
        pod: Where the job runs.
        home: Where its folder, or the mirror of it, is.
        job_id: The job.
        backoff: The waits between attempts to reconnect.
    """

    def __init__(
        self, store: Store, pod: Pod, home: Home, job_id: str, *, backoff: Backoff | None = None
    ) -> None:
        self._store, self._pod, self._job_id = store, pod, job_id
        self._folder = home.job(job_id)
        self._mirror = None if pod.in_place else Mirror(self._folder)
        self._backoff = backoff or Backoff()
        self._patience = Backoff(0.2, 5.0)
        self._grown = asyncio.Event()
        self._complete = False
        self._quiet_since = self._live_since = time.monotonic()
        self.link: Link = "reconnecting"
        self.trouble = ""
        """Why nothing arrives, or can be taken in, one line; empty when all is well."""

    async def run(self) -> None:
        """Follow until nobody writes any more and everything is in the store; reconnect for ever."""
        ingesting = asyncio.create_task(self._ingest())
        try:
            while not await self._connected():
                held = self.link == "live" and time.monotonic() - self._live_since >= self._backoff.steady
                self.link = "reconnecting"
                if not held:
                    await self._backoff.wait()
            self._complete = True
            self._grown.set()
            await ingesting
        finally:
            ingesting.cancel()
            await asyncio.gather(ingesting, return_exceptions=True)
            self.link = "ended"

    async def _connected(self) -> bool:
        """Follow over one connection; True when there is nothing more to come."""
        try:
            await self._follow()
        except PodError as error:
            self.trouble = str(error)
        except OSError as error:
            self.trouble = f"{error.filename or self._folder.path}: {error.strerror}"
        else:
            return True
        return False

    async def _follow(self) -> None:
        cursors = await asyncio.to_thread(self._cursors)
        self._grown.set()
        async for chunk in self._pod.follow(self._job_id, cursors):
            if self.link != "live":
                self.link, self.trouble, self._live_since = "live", "", time.monotonic()
            self._backoff.reset()
            if chunk.data or chunk.restarted:
                # Another node's words don't say that node 0's supervisor lives, and only that is the job's.
                if not _OF_A_NODE.fullmatch(chunk.file):
                    self._quiet_since = time.monotonic()
                if self._mirror is not None:
                    await asyncio.to_thread(self._mirror.take, chunk)
                self._grown.set()
            elif await self._over():
                return

    @property
    def lost(self) -> str:
        """Which of several machines nothing is heard of, one line; empty when all is well, or over."""
        return "" if self.link == "ended" else str(getattr(self._pod, "trouble", ""))

    def _cursors(self) -> dict[str, int]:
        """Where to go on; of a folder that is in place, only news of its growth is wanted."""
        if self._mirror is not None:
            return self._mirror.cursors()
        return {EVENTS: _size(self._folder.events)}

    async def _over(self) -> bool:
        """All files are at their ends: does anybody still write?"""
        if await asyncio.to_thread(self._folder.exit.exists):
            return True
        # Asking a distant machine costs a round trip.
        if self._mirror is not None and time.monotonic() - self._quiet_since < _QUIET:
            return False
        return not await self._pod.alive(self._job_id)

    async def _ingest(self) -> None:
        """Take in what has grown, again and again."""
        while True:
            await self._grown.wait()
            self._grown.clear()
            complete = self._complete
            if not await self._take_in():
                await self._patience.wait()
                self._grown.set()
            elif complete:
                return

    async def _take_in(self) -> bool:
        """Take in all whole lines that are here; False when the store can't."""
        taking = asyncio.create_task(asyncio.to_thread(self._ingest_all))
        try:
            await asyncio.shield(taking)
        except StoreError as error:
            self.trouble = str(error)
            return False
        except OSError as error:
            self.trouble = f"{self._folder.events}: can't be read ({error.strerror})"
            return False
        except asyncio.CancelledError:
            # A thread can't be cancelled, and the store may be closed next.
            await asyncio.wait([taking])
            raise
        self._patience.reset()
        return True

    def _ingest_all(self) -> None:
        ingest(self._store, self._job_id, self._folder.events)
        ingest_nodes(self._store, self._job_id, self._folder)


async def fetch(store: Store, pod: Pod, home: Home, job_id: str) -> None:
    """Bring mirror and store up to what the pod has by now; nothing to do for a job that is in place.

    Args:
        store: Where events go.
        pod: Where the job is.
        home: Where its mirror is.
        job_id: The job.

    Raises:
        PodError: The pod can't be reached, or refuses.
    """
    folder = home.job(job_id)
    if not pod.in_place:
        mirror = Mirror(folder)
        async with contextlib.aclosing(pod.follow(job_id, mirror.cursors())) as chunks:
            async for chunk in chunks:
                if not chunk.data and not chunk.restarted:
                    break
                await asyncio.to_thread(mirror.take, chunk)
    await asyncio.to_thread(ingest, store, job_id, folder.events)
    await asyncio.to_thread(ingest_nodes, store, job_id, folder)


async def fetch_nodes(store: Store, group: SSHGroup, home: Home, job_id: str) -> None:
    """Bring the mirrors of a job's other machines up to what these have by now, where they can be reached.

    Raises:
        StoreError: The store can't take their figures.
    """
    folder = home.job(job_id)
    mirror = Mirror(folder)
    async with contextlib.aclosing(group.rest(job_id, MIRRORED)) as chunks:
        async for chunk in chunks:
            await asyncio.to_thread(mirror.take, chunk)
    await asyncio.to_thread(ingest_nodes, store, job_id, folder)


def ingest(store: Store, job_id: str, path: Path) -> int:
    """Take the whole lines of an events file that the store has not seen; a torn tail is left for later.

    Args:
        store: Where they go.
        job_id: Whose they are.
        path: The file; a missing one is an empty one.

    Returns:
        How many bytes were taken in.

    Raises:
        StoreError: The store can't take them.
    """
    start = offset = store.offset(job_id, EVENTS)
    window = _BATCH
    while data := _read(path, offset, window):
        end = data.rfind(b"\n") + 1
        if end:
            offset = max(offset + end, store.ingest(job_id, data[:end], offset).offset)
            window = _BATCH
        elif len(data) < window or window >= _LONGEST_LINE:
            break
        else:
            window *= 4
    return offset - start


def ingest_nodes(store: Store, job_id: str, folder: JobFolder) -> None:
    """Take in what other machines of the job said of themselves: their figures are kept, no more.

    Raises:
        StoreError: The store can't take them.
    """
    for node in folder.other_nodes:
        _ingest_node(store, job_id, node, folder.of_node(node).events)


def _ingest_node(store: Store, job_id: str, node: int, path: Path) -> None:
    offset = store.offset(job_id, f"nodes/{node}/{EVENTS}")
    if _size(path) < offset:
        offset = 0  # begun again there, with what it had kept aside
    while data := _read(path, offset, _BATCH):
        end = data.rfind(b"\n") + 1
        if not end:
            return
        store.ingest_node(job_id, node, data[:end], offset + end)
        offset += end


def catch_up(store: Store, home: Home, job_id: str | None = None) -> None:
    """Take in what jobs have written here since anybody looked; for commands without an event loop.

    Args:
        store: Where events go.
        home: Where the job folders are.
        job_id: The job; all jobs that are under way or paused when None.

    Raises:
        StoreError: The store can't take them.
    """
    waiting = (
        [job for job in store.jobs(archived=True) if not job.status.ended]
        if job_id is None
        else [store.job(job_id)]
    )
    for job in waiting:
        ingest(store, job.id, home.job(job.id).events)
        ingest_nodes(store, job.id, home.job(job.id))


def _read(path: Path, offset: int, length: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)
    except FileNotFoundError:
        return b""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
