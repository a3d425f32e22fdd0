"""What following a pod costs, over a real SSH server on loopback: backlog, latency, many pods, reconnecting.

    python benchmarks/stream.py [--lines N] [--pods N] [--seconds S] [--json]

Needs root and /usr/sbin/sshd. The mirror's bytes are compared with the pod's; a wrong byte ends in an error.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engine.home import Home
from engine.job.folder import JobFolder
from engine.pods.ssh import SSHPod
from engine.pods.ssh_address import SSHAddress
from engine.stream import Mirror
from tests.emulators.sshd import Server, sshd

LINE = b"step %08d loss 1.2345 grad_norm 0.9876 learning_rate 0.0001 tokens 123456789 {'epoch': 1.25}\n"
LOG = "train.log"


class Followed:
    """One pod's log, followed into its mirror as the stream does it."""

    def __init__(self, server: Server, home: Home, job_id: str) -> None:
        self.there, self.here = JobFolder(server.root / "jobs" / job_id), home.job(job_id)
        for folder in (self.there, self.here):
            folder.create()
        address = SSHAddress("127.0.0.1", "root", server.port, str(server.key))
        self.pod = SSHPod(job_id, address, home, python=sys.executable, root=str(server.root), config=[])
        self.mirror, self.job_id = Mirror(self.here), job_id
        self.seen: list[tuple[float, int]] = []
        self.task: asyncio.Task[None] | None = None

    async def follow(self) -> None:
        async for chunk in self.pod.follow(self.job_id, self.mirror.cursors()):
            if chunk.data:
                await asyncio.to_thread(self.mirror.take, chunk)
                self.seen.append((time.perf_counter(), chunk.offset + len(chunk.data)))

    def write(self, data: bytes) -> None:
        with self.there.log.open("ab") as log:
            log.write(data)

    async def has(self, size: int) -> float:
        """The moment at which so many bytes were here."""
        while True:
            for moment, reached in self.seen:
                if reached >= size:
                    return moment
            await asyncio.sleep(0.0005)

    def verify(self) -> None:
        sums = [hashlib.sha256(folder.log.read_bytes()).hexdigest() for folder in (self.there, self.here)]
        if sums[0] != sums[1]:
            sys.exit(f"{self.job_id}: the mirror is not what the pod has")


@contextlib.asynccontextmanager
async def following(server: Server, home: Home, job_id: str) -> AsyncIterator[Followed]:
    followed = Followed(server, home, job_id)
    followed.task = asyncio.create_task(followed.follow())
    try:
        yield followed
        followed.verify()
    finally:
        followed.task.cancel()
        await asyncio.gather(followed.task, return_exceptions=True)
        await followed.pod.close()


async def backlog(server: Server, home: Home, lines: int) -> dict[str, Any]:
    followed = Followed(server, home, "backlog")
    for start in range(0, lines, 10_000):
        followed.write(b"".join(LINE % n for n in range(start, min(lines, start + 10_000))))
    size = followed.there.log.stat().st_size
    await followed.pod.run(["true"])
    started, cpu = time.perf_counter(), time.process_time()
    followed.task = asyncio.create_task(followed.follow())
    seconds = await followed.has(size) - started
    used = time.process_time() - cpu
    followed.task.cancel()
    await asyncio.gather(followed.task, return_exceptions=True)
    await followed.pod.close()
    followed.verify()
    return {
        "lines": lines,
        "bytes": size,
        "lines_per_second": round(lines / seconds),
        "cpu_seconds": round(used, 2),
    }


async def latency(server: Server, home: Home, count: int = 200) -> dict[str, Any]:
    waits = []
    async with following(server, home, "latency") as followed:
        size = 0
        for n in range(count):
            data = LINE % n
            size += len(data)
            written = time.perf_counter()
            followed.write(data)
            waits.append(1000 * (await followed.has(size) - written))
            followed.seen.clear()
            await asyncio.sleep(0.05 + 0.0137 * (n % 7))
    ranks = statistics.quantiles(waits, n=100)
    return {"count": count, "p50_ms": round(ranks[49], 1), "p99_ms": round(ranks[98], 1)}


async def many(servers: list[Server], home: Home, pods: int, seconds: float) -> dict[str, Any]:
    async with contextlib.AsyncExitStack() as stack:
        all_pods = [
            await stack.enter_async_context(following(servers[n % len(servers)], home, f"pod-{n}"))
            for n in range(pods)
        ]
        for followed in all_pods:
            followed.write(LINE % 0)
        await asyncio.gather(*(followed.has(1) for followed in all_pods))
        before, started, lines = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter(), 0
        writing = 0.0
        while time.perf_counter() - started < seconds:
            begun = time.process_time()
            for followed in all_pods:
                followed.write(LINE % lines)
            writing += time.process_time() - begun
            lines += 1
            await asyncio.sleep(max(0.0, started + lines / 10 - time.perf_counter()))
        lasted, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - writing
        sizes = [followed.there.log.stat().st_size for followed in all_pods]
        await asyncio.gather(*(pod.has(size) for pod, size in zip(all_pods, sizes, strict=True)))
    return {"pods": pods, "lines": lines * pods, "core_percent": round(100 * cpu / lasted, 1)}


async def reconnecting(server: Server, home: Home, count: int = 15) -> dict[str, Any]:
    """From a connection that was lost to the first byte over the next one."""
    waits = []
    followed = Followed(server, home, "reconnecting")
    size = 0
    for n in range(count):
        followed.write(LINE % n)
        size += len(LINE % n)
        started = time.perf_counter()
        followed.task = asyncio.create_task(followed.follow())
        waits.append(await followed.has(size) - started)
        followed.seen.clear()
        server.cut()
        await asyncio.gather(followed.task, return_exceptions=True)
    await followed.pod.close()
    followed.verify()
    return {"count": count, "p50_s": round(statistics.median(waits), 2), "worst_s": round(max(waits), 2)}


async def measure(lines: int, pods: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        home.create()
        servers = [sshd(Path(folder) / f"server-{n}") for n in range(3)]
        try:
            return {
                "backlog": await backlog(servers[0], home, lines),
                "latency": await latency(servers[0], home),
                "many": await many(servers, home, pods, seconds),
                "reconnect": await reconnecting(servers[0], home),
            }
        finally:
            for server in servers:
                server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--pods", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = asyncio.run(measure(options.lines, options.pods, options.seconds))
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, figures in found.items():
        print(f"{name:10} " + " · ".join(f"{key} {value:,}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
