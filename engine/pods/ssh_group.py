"""Several SSH machines that train one job: node 0 is the job, the others start, go on and end with it.

Each has a supervisor and a job folder of its own, and `node.json` says which one it is. What the others write
is mirrored beside the job's own files, as `nodes/1/train.log` and so on. A machine that is lost, or whose
supervisor is dead, breaks nobody's stream: it is looked for, and started again, while node 0 is at work.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Final

from engine.errors import PodError, PodLost, StartLost
from engine.home import Home
from engine.job.folder import NODES, read_json
from engine.pods.base import Chunk, Completed
from engine.pods.ssh import SSHPod

SHARED: Final = ("stop", "pause", "limits")
"""The requests that every node has to know of: the first one alone takes the others."""

_QUIET: Final = 8.0
"""Seconds without news from a node until it is asked whether its supervisor lives."""
_WAITS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between two tries to reach a node, or to start it again; the last one for ever."""
_STEADY: Final = 60.0
"""Seconds after which a connection has held."""
_LEAVING: Final = 90.0
"""Seconds that a supervisor may take to leave once it was told to."""


class SSHGroup:
    """The machines of one job.

    Args:
        machines: In order: the first one is node 0.
        home: Where mirrors are.
        address: Where the others reach node 0; None is as SSH reached it.
        port: Where they meet there; None is one that is free.
    """

    in_place = False

    def __init__(
        self, machines: Sequence[SSHPod], home: Home, *, address: str | None = None, port: int | None = None
    ) -> None:
        self.machines, self._home = tuple(machines), home
        self._address, self._port = address, port
        self._lost: dict[int, str] = {}
        self.id = self.head.id

    @property
    def head(self) -> SSHPod:
        """Node 0's machine."""
        return self.machines[0]

    @property
    def trouble(self) -> str:
        """Which node nothing is heard of, one line; empty when all is well."""
        return "; ".join(f"node {node}: {why}" for node, why in sorted(self._lost.items()))

    def folder(self, job_id: str) -> str:
        """The job's folder on each."""
        return self.head.folder(job_id)

    async def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60  # noqa: ASYNC109
    ) -> Completed:
        """Run a command on node 0."""
        return await self.head.run(argv, env=env, timeout=timeout)

    # ------------------------------------------------------------------ starting

    async def start(self, job_id: str) -> None:
        """Bring the job to all of them at once, and start every supervisor that is not at work.

        Raises:
            StartLost: One of them may be at work by now, and all others are.
            PodError: One of them can't be started. Of a job that was at work nowhere, nothing is then.
        """
        fresh = not any(await asyncio.gather(*(machine.alive(job_id) for machine in self.machines)))
        await self._place(job_id)
        begun = await asyncio.gather(
            *(self._begin(job_id, node) for node in range(len(self.machines))), return_exceptions=True
        )
        failures = [failure for failure in begun if failure is not None]
        if failures and all(isinstance(failure, StartLost) for failure in failures):
            raise StartLost(str(failures[0]))
        if fresh and any(begun):
            ends = (self._end(job_id, node) for node, failure in enumerate(begun) if failure is None)
            await asyncio.gather(*ends, return_exceptions=True)
        for node, failure in enumerate(begun):
            if isinstance(failure, PodError):
                raise PodError(f"node {node}: {failure.what}", failure.advice)
            if failure is not None:
                raise failure

    async def _place(self, job_id: str) -> None:
        """Tell each which one it is, and where they meet: as before, where node 0 is the same."""
        before = await self.head.node(job_id)
        address, port = self._address, self._port
        if address is None or port is None:
            reached, free = await self.head.meeting()
            address = address or reached
            same = before.get("address") == address and before.get("nodes") == len(self.machines)
            port = port or (int(before["port"]) if same and before.get("port") else free)
        places = [
            {"node": node, "nodes": len(self.machines), "address": address, "port": port}
            for node in range(len(self.machines))
        ]
        for machine, place in zip(self.machines, places, strict=True):
            await machine.be_node(job_id, place)
        found = await asyncio.gather(*(machine.node(job_id) for machine in self.machines))
        for node, (place, there) in enumerate(zip(places, found, strict=True)):
            if there != place:
                raise PodError(
                    f"{self.machines[node].address} and another of the machines share {self.folder(job_id)}",
                    "Each needs a folder of its own: give pod.folder a path that is not shared.",
                )

    async def _begin(self, job_id: str, node: int) -> None:
        if node and not await self.machines[node].alive(job_id):
            await self.machines[node].forget_end(job_id)
        await self.machines[node].start(job_id)

    async def alive(self, job_id: str) -> bool:
        """Does node 0's supervisor live?"""
        return await self.head.alive(job_id)

    async def request(self, job_id: str, name: str, value: object = True) -> None:
        """Leave a request with node 0; an end with the others too, should no training tell them."""
        await self.head.request(job_id, name, value)
        if name in SHARED:
            told = (self._tell(job_id, node, name, value) for node in range(1, len(self.machines)))
            await asyncio.gather(*told)

    async def _tell(self, job_id: str, node: int, name: str, value: object) -> None:
        """Leave a request with a node that is at work; one that can't be reached hears of it in training."""
        machine = self.machines[node]
        with contextlib.suppress(PodError):
            if await machine.alive(job_id):
                await machine.request(job_id, name, value)

    async def end_others(self, job_id: str) -> None:
        """See that no other node goes on when node 0 has ended for good: it would wait for it.

        Raises:
            PodError: One of them could not be told.
        """
        ended = await asyncio.gather(
            *(self._end(job_id, node) for node in range(1, len(self.machines))), return_exceptions=True
        )
        for node, failure in enumerate(ended, start=1):
            if isinstance(failure, PodError):
                self._lost[node] = failure.what
                raise PodError(f"node {node} may still be at work: {failure.what}", failure.advice)
            if failure is not None:
                raise failure

    async def _end(self, job_id: str, node: int) -> None:
        machine, until = self.machines[node], time.monotonic() + _LEAVING
        while await machine.alive(job_id):
            await machine.request(job_id, "stop")
            if time.monotonic() > until:
                raise PodError(f"{machine.address}: its supervisor does not leave", "End it there by hand.")
            await asyncio.sleep(0.5)

    # ------------------------------------------------------------------ following

    async def follow(self, job_id: str, cursors: Mapping[str, int]) -> AsyncGenerator[Chunk, None]:
        """Stream node 0's files, and the others' by the names of their mirrors; beats are node 0's."""
        names = [name for name in cursors if not name.startswith(f"{NODES}/")]
        queue: asyncio.Queue[Chunk | BaseException] = asyncio.Queue(maxsize=64)
        pumps = [
            asyncio.create_task(self._pump(job_id, {name: cursors[name] for name in names}, queue)),
            *(
                asyncio.create_task(self._accompany(job_id, node, names, queue))
                for node in range(1, len(self.machines))
            ),
        ]
        try:
            while True:
                found = await queue.get()
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, job_id: str, cursors: Mapping[str, int], queue: asyncio.Queue[Chunk | BaseException]
    ) -> None:
        """Node 0's chunks; its end is the stream's, whatever it comes from."""
        try:
            async with contextlib.aclosing(self.head.follow(job_id, cursors)) as chunks:
                async for chunk in chunks:
                    await queue.put(chunk)
            raise PodLost(f"{self.head.address}: the follower ended")
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            await queue.put(error)
            if not isinstance(error, (PodError, OSError)):
                raise

    async def _accompany(
        self, job_id: str, node: int, names: Sequence[str], queue: asyncio.Queue[Chunk | BaseException]
    ) -> None:
        """Another node's chunks, for ever; what is lost is looked for again."""
        tries = 0
        while True:
            begun = time.monotonic()
            try:
                await self._follow_node(job_id, node, names, queue)
            except (PodError, OSError) as error:
                self._lost[node] = str(error)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self._lost[node] = f"not followed any more ({type(error).__name__}): please report this"
                raise
            tries = 0 if time.monotonic() - begun > _STEADY else tries + 1
            await asyncio.sleep(_WAITS[min(tries, len(_WAITS) - 1)])

    async def _follow_node(
        self, job_id: str, node: int, names: Sequence[str], queue: asyncio.Queue[Chunk | BaseException]
    ) -> None:
        """Follow a node until its supervisor has to be started again."""
        mirror, prefix = self._home.job(job_id).of_node(node).path, f"{NODES}/{node}/"
        cursors = await asyncio.to_thread(_sizes, mirror, names)
        heard = time.monotonic()
        chunks = self.machines[node].follow(job_id, cursors, mirror)
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                self._lost.pop(node, None)
                if chunk.data or chunk.restarted:
                    heard = time.monotonic()
                    if chunk.file not in names:
                        raise PodError(f"a file came that nobody asked for ({chunk.file[:100]!r})")
                    await queue.put(Chunk(prefix + chunk.file, chunk.offset, chunk.data, chunk.restarted))
                elif time.monotonic() - heard >= _QUIET:
                    heard = time.monotonic()
                    if await self._dead(job_id, node):
                        self._lost[node] = "its supervisor was dead, and is started again"
                        await self._begin(job_id, node)
                        return

    async def rest(self, job_id: str, names: Sequence[str]) -> AsyncGenerator[Chunk, None]:
        """What the other nodes' files have by now and is not here, of those that can be reached."""
        for node in range(1, len(self.machines)):
            mirror, prefix = self._home.job(job_id).of_node(node).path, f"{NODES}/{node}/"
            cursors = await asyncio.to_thread(_sizes, mirror, names)
            try:
                async with contextlib.aclosing(
                    self.machines[node].follow(job_id, cursors, mirror)
                ) as chunks:
                    async for chunk in chunks:
                        if not chunk.data and not chunk.restarted:
                            break
                        yield Chunk(prefix + chunk.file, chunk.offset, chunk.data, chunk.restarted)
            except PodError as error:
                self._lost[node] = str(error)

    async def _dead(self, job_id: str, node: int) -> bool:
        """Is a supervisor missing that node 0 waits for? One that has done its part has left its exit."""
        if await self.machines[node].alive(job_id) or not await self.head.alive(job_id):
            return False
        if await self.head.asked_to_end(job_id):
            return False
        ended = await asyncio.to_thread(read_json, self._home.job(job_id).of_node(node).exit)
        return bool(ended.get("status", "failed") == "failed")

    # ------------------------------------------------------------------ as any pod

    async def put(self, local: Path, remote: str) -> None:
        """Copy a file or a folder to node 0."""
        await self.head.put(local, remote)

    async def get(self, remote: str, local: Path) -> None:
        """Copy a file or a folder from node 0, which has all that training makes."""
        await self.head.get(remote, local)

    async def close(self) -> None:
        """Let go of the connections; what runs there goes on."""
        await asyncio.gather(*(machine.close() for machine in self.machines))


def _sizes(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """How much of each file is here."""
    return {name: _size(folder / name) for name in names}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
