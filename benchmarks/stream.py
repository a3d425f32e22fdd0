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
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engine.home import Home
from engine.job.events import EventType, EventWriter, Status
from engine.job.folder import JobFolder
from engine.pods.ssh import SSHPod
from engine.pods.ssh_address import SSHAddress
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from engine.stream import JobStream, Mirror
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


def plain_ssh(server: Server, *command: str | Path) -> float:
    """Seconds that the OpenSSH client takes for a command, its connection included: what to compare with."""
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    argv: list[str | Path] = ["ssh", "-F", "/dev/null", "-p", str(server.port), "-i", server.key]
    for option in options:
        argv += ["-o", option]
    started = time.perf_counter()
    subprocess.run([*argv, "root@127.0.0.1", *command], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


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
    cat = await asyncio.to_thread(plain_ssh, server, "cat", followed.there.log)
    return {
        "lines": lines,
        "bytes": size,
        "lines_per_second": round(lines / seconds),
        "ssh_cat_lines_per_second": round(lines / cat),
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


GPUS = [
    {"index": n, "name": "NVIDIA H100 80GB HBM3", "utilization_percent": 97.0, "memory_used_gb": 61.2}
    | {"memory_total_gb": 85.5, "temperature_c": 61.0, "power_w": 512.3}
    for n in range(8)
]
HOST = {"cpu_percent": 12.5, "memory_used_gb": 40.1, "memory_total_gb": 128.0, "disk_free_gb": 310.2}


class Streamed:
    """One pod's job, all the way into the store: ten lines of log a second, and its GPUs every two."""

    def __init__(self, server: Server, home: Home, store: SQLiteStore, job_id: str) -> None:
        self.there, self.here = JobFolder(server.root / "jobs" / job_id), home.job(job_id)
        self.there.create()
        now = datetime.now(UTC)
        store.add(Job(id=job_id, name=job_id, status=Status.RUNNING, created_at=now, provider="ssh"))
        address = SSHAddress("127.0.0.1", "root", server.port, str(server.key))
        self.pod = SSHPod(job_id, address, home, python=sys.executable, root=str(server.root), config=[])
        self.events = EventWriter(self.there.events)
        self.task = asyncio.create_task(JobStream(store, self.pod, home, job_id).run())

    def write(self, n: int) -> None:
        with self.there.log.open("ab") as log:
            log.write(LINE % n)
        if n % 20 == 0:
            self.events.append(EventType.HEARTBEAT, host=HOST, gpus=GPUS)

    def arrived(self) -> bool:
        pairs = [(self.there.log, self.here.log), (self.there.events, self.here.events)]
        return all(here.exists() and here.stat().st_size == there.stat().st_size for there, here in pairs)

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.pod.close()
        self.events.close()


async def everything(streamed: list[Streamed]) -> None:
    while True:
        if all(each.arrived() for each in streamed):
            return
        await asyncio.sleep(0.05)


async def many(servers: list[Server], home: Home, pods: int, seconds: float) -> dict[str, Any]:
    """What this process takes for it; what the writing of the lines takes is left out."""
    store = SQLiteStore(home.database)
    streamed = [Streamed(servers[n % len(servers)], home, store, f"pod-{n}") for n in range(pods)]
    try:
        for each in streamed:
            each.write(0)
        await everything(streamed)
        before, started, lines = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter(), 0
        writing = 0.0
        while time.perf_counter() - started < seconds:
            begun, lines = time.thread_time(), lines + 1
            for each in streamed:
                each.write(lines)
            writing += time.thread_time() - begun
            await asyncio.sleep(max(0.0, started + lines / 10 - time.perf_counter()))
        lasted, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - writing
        await everything(streamed)
    finally:
        for each in streamed:
            await each.close()
    samples = sum(len(store.host_samples(f"pod-{n}")) for n in range(pods))
    store.close()
    percent = round(100 * cpu / lasted, 1)
    return {"pods": pods, "lines": lines * pods, "gpu_rows": samples * len(GPUS), "core_percent": percent}


async def reconnecting(server: Server, home: Home, count: int = 15) -> dict[str, Any]:
    """From a connection that was lost to the first byte over the next one."""
    waits, plain = [], []
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
        plain.append(await asyncio.to_thread(plain_ssh, server, "true"))
    await followed.pod.close()
    followed.verify()
    return {
        "count": count,
        "p50_s": round(statistics.median(waits), 2),
        "worst_s": round(max(waits), 2),
        "ssh_true_p50_s": round(statistics.median(plain), 2),
    }


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
