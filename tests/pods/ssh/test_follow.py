"""Following over SSH: byte-exact whatever happens to connection and files, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.errors import PodError, PodLost
from engine.home import Home
from engine.job.events import Status
from engine.job.folder import JobFolder
from engine.pods.base import Chunk
from engine.pods.frames import FrameReader, request
from engine.pods.remote import invocation
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from engine.stream import Backoff, JobStream
from tests.emulators.sshd import Server
from tests.pods.ssh.conftest import Connect
from tests.processes import contiguous, events_of, gone, until

pytestmark = pytest.mark.skipif(getpass.getuser() != "root", reason="sshd on loopback lets only root in here")

JOB = "a-job"
QUICK = 0.5
"""Seconds between signs of life, so that a loss is noticed after three of them."""

WRITER = """
import sys, time
from pathlib import Path
from engine.job.events import EventType, EventWriter, Status
from engine.job.folder import JobFolder, write_json
folder = JobFolder(Path(sys.argv[1])); go_on = Path(sys.argv[2])
with EventWriter(folder.events) as events, folder.log.open("ab") as log:
    step, begun, lines = 0, time.monotonic(), 0
    while go_on.exists():
        # What is due by the clock, however busy the machine: 50,000 lines a second.
        while lines < 50_000 * (time.monotonic() - begun) and go_on.exists():
            step, lines = step + 1, lines + 250
            events.append(EventType.TRAIN, step, loss=1 / step)
            line = b"step %d line %d gr\\xc3\\xb6\\xc3\\x9fer\\n"
            log.write(b"".join(line % (step, n) for n in range(250)))
        time.sleep(0.002)
    events.append(EventType.STATE, status=Status.COMPLETED)
write_json(folder.exit, {"status": "completed"})
"""


@pytest.fixture
def there(server: Server) -> JobFolder:
    folder = JobFolder(server.root / "jobs" / JOB)
    folder.create()
    return folder


@pytest.fixture
def store(here: Home) -> Iterator[SQLiteStore]:
    store = SQLiteStore(here.database)
    store.add(Job(id=JOB, name="a job", status=Status.RUNNING, created_at=datetime.now(UTC)))
    yield store
    store.close()


@pytest.fixture
def mirror(here: Home) -> JobFolder:
    mirror = here.job(JOB)
    mirror.create()
    return mirror


class Taken:
    """What a follower has said: the files as they are here."""

    def __init__(self, mirror: JobFolder) -> None:
        self.mirror, self.restarts, self.quiet = mirror, 0, 0

    async def take(self, chunks: AsyncIterator[Chunk]) -> None:
        async for chunk in chunks:
            self.quiet += not chunk.file
            self.restarts += chunk.restarted
            if chunk.file:
                path = self.mirror.path / chunk.file
                with path.open("wb" if chunk.restarted else "ab") as file:
                    assert file.tell() == chunk.offset
                    file.write(chunk.data)


async def comes(question: Any, what: str = "") -> None:
    await asyncio.to_thread(until, question, what)


def begun(code: str, *arguments: Path, cwd: str | None = None) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(argv, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("python", [sys.executable, "no-such-python"])
async def test_growth_truncation_replacement_and_rewriting_are_all_seen(
    connect: Connect, there: JobFolder, mirror: JobFolder, python: str
) -> None:
    """Also without Python there, over SFTP."""
    pod, taken = connect(python=python), Taken(mirror)
    running = asyncio.create_task(taken.take(pod.follow(JOB, {"train.log": 0, "events.jsonl": 0})))

    async def same() -> None:
        await comes(lambda: content(mirror.log) == content(there.log), "the same log")

    there.log.write_bytes(b"one\n")
    await same()
    with there.log.open("ab") as log:
        log.write(b"two \xff torn")
    await same()
    assert taken.restarts == 0
    there.log.write_bytes(b"cut\n")
    await same()
    there.log.unlink()
    there.log.write_bytes(b"another file, of the same name, longer than what was there\n")
    await same()
    there.log.write_bytes(b"written anew in place, and longer than what there was before this\n")
    await same()
    there.log.rename(there.path / "train.log.1")
    there.log.write_bytes(b"")
    await asyncio.sleep(0.1)
    there.log.write_bytes(b"rotated\n")
    await same()
    assert taken.restarts >= 3
    there.events.write_bytes(os.urandom(1_000_000))
    await comes(lambda: content(mirror.events) == content(there.events))
    before = taken.quiet
    await comes(lambda: taken.quiet > before, "a beat")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("python", [sys.executable, "no-such-python"])
async def test_a_file_that_was_replaced_while_nobody_looked_starts_again(
    connect: Connect, there: JobFolder, mirror: JobFolder, python: str
) -> None:
    mirror.log.write_bytes(b"what was there yesterday\n")
    there.log.write_bytes(b"something else, and longer than what is mirrored\n")
    mirror.events.write_bytes(b"{}\n")
    there.events.write_bytes(b"{}\n{}\n")
    taken = Taken(mirror)
    sizes = {"train.log": mirror.log.stat().st_size, "events.jsonl": 3}
    running = asyncio.create_task(taken.take(connect(python=python).follow(JOB, sizes)))
    await comes(lambda: content(mirror.log) == content(there.log))
    await comes(lambda: content(mirror.events) == content(there.events))
    assert taken.restarts == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_nothing_is_lost_or_doubled_while_connections_die_and_freeze_under_load(
    connect: Connect, server: Server, there: JobFolder, here: Home, store: SQLiteStore, tmp_path: Path
) -> None:
    go_on = tmp_path / "go-on"
    go_on.touch()
    root = str(Path(__file__).parents[3])
    writer = begun(WRITER, there.path, go_on, cwd=root)
    stream = JobStream(store, connect(keepalive=QUICK), here, JOB, backoff=Backoff(0.01, 0.1))
    running = asyncio.create_task(stream.run())
    dice, states = random.Random(5), set()
    try:
        for turn in range(50):
            await comes(lambda: stream.link == "live", f"live before break {turn}")
            await asyncio.sleep(dice.uniform(0, 0.15))
            frozen = server.freeze() if turn % 7 == 3 else []
            if not frozen:
                server.cut()
            else:
                await comes(lambda: stream.link == "reconnecting", "the loss is noticed")
                for pid in frozen:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            states.add(stream.link)
        go_on.unlink()
        assert await asyncio.to_thread(writer.wait, 60) == 0
        async with asyncio.timeout(60):
            await running
    finally:
        writer.kill()
        writer.wait()
        running.cancel()
    for name in ("events.jsonl", "train.log", "exit.json"):
        assert sha(here.job(JOB).path / name) == sha(there.path / name)
    assert not list(here.job(JOB).path.glob("*.old"))
    assert contiguous(events_of(there.events))
    assert [event.seq for event in store.events(JOB)] == [event.seq for event in events_of(there.events)]
    assert states & {"reconnecting"}
    await comes(lambda: server.started() == {}, "nothing left running on the pod")


async def test_a_server_that_is_away_for_a_while_is_waited_for(
    connect: Connect, server: Server, there: JobFolder, here: Home, store: SQLiteStore
) -> None:
    stream = JobStream(store, connect(keepalive=QUICK), here, JOB, backoff=Backoff(0.01, 0.1))
    # Somebody has to hold the lock, or the stream takes the job for over.
    holding = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(1, flush=True); input()"
    )
    holder = begun(holding, there.lock)
    assert holder.stdout is not None
    holder.stdout.readline()
    running = asyncio.create_task(stream.run())
    try:
        await comes(lambda: stream.link == "live")
        server.stop()
        await comes(lambda: stream.link == "reconnecting" and "can't be reached" in stream.trouble)
        there.log.write_bytes(b"meanwhile\n")
        server.start()
        await comes(lambda: content(here.job(JOB).log) == b"meanwhile\n")
        assert (stream.link, stream.trouble) == ("live", "")
    finally:
        holder.kill()
        holder.communicate()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_frozen_connection_is_noticed(
    connect: Connect, server: Server, there: JobFolder, mirror: JobFolder
) -> None:
    there.log.write_bytes(b"one\n")
    chunks = connect(keepalive=QUICK).follow(JOB, {"train.log": 0})
    assert (await anext(chunks)).data == b"one\n"
    frozen = server.freeze()
    try:
        with pytest.raises(PodLost):
            async with asyncio.timeout(60):
                async for _ in chunks:
                    pass
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGKILL)


async def test_a_file_that_cannot_be_read_is_said(
    connect: Connect, there: JobFolder, mirror: JobFolder
) -> None:
    there.log.mkdir()
    with pytest.raises(PodError, match=r"train.log: can't be read on the pod \(Is a directory\)"):
        async for _ in connect().follow(JOB, {"train.log": 0}):
            pass


def follower(there: JobFolder, mirror: JobFolder, **options: float) -> subprocess.Popen[bytes]:
    argv, text = invocation("follower", sys.executable)
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(text + request(str(there.path), {"train.log": 0}, mirror.path, **options))
    process.stdin.flush()
    return process


def test_the_follower_leaves_when_the_laptop_falls_silent(there: JobFolder, mirror: JobFolder) -> None:
    """A dead network tells neither side; and its own output may be stuck meanwhile."""
    there.log.write_bytes(bytes(10_000_000))
    process = follower(there, mirror, patience=0.5)
    try:
        until(lambda: process.poll() is not None, "its end")
    finally:
        process.kill()
        process.communicate()


def test_the_follower_leaves_with_its_input(there: JobFolder, mirror: JobFolder) -> None:
    process = follower(there, mirror)
    assert process.stdout is not None
    assert process.stdout.read(1) == b"B"
    process.communicate()
    assert gone(process.pid)


def frame(kind: bytes, name: bytes = b"", offset: int = 0, payload: bytes = b"") -> bytes:
    import struct

    return struct.pack(">cHQI", kind, len(name), offset, len(payload)) + name + payload


def test_frames_are_read_however_they_are_cut() -> None:
    sent = frame(b"D", b"train.log", 7, b"data") + frame(b"B") + frame(b"R", b"events.jsonl")
    for size in range(1, len(sent)):
        reader = FrameReader()
        found = [chunk for at in range(0, len(sent), size) for chunk in reader.feed(sent[at : at + size])]
        assert found == [
            Chunk("train.log", 7, b"data"),
            Chunk("", 0, b""),
            Chunk("events.jsonl", 0, b"", restarted=True),
        ]


@pytest.mark.parametrize(
    "junk", [b"Welcome to Ubuntu 24.04 LTS\n", frame(b"D", b"x", 0, b"")[:11] + b"\xff" * 9]
)
def test_what_is_no_frame_is_refused(junk: bytes) -> None:
    with pytest.raises(PodError, match="something else than the files"):
        list(FrameReader().feed(junk))


async def test_a_pod_that_sends_rubbish_does_no_harm(
    connect: Connect, tmp_path: Path, mirror: JobFolder
) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nprintf '\\033]0;evil\\007 hello hello hello hello'; cat >/dev/null\n")
    fake.chmod(0o755)
    with pytest.raises(PodError) as raised:
        async for _ in connect(python=str(fake)).follow(JOB, {"train.log": 0}):
            pass
    assert "hello" in str(raised.value)
    assert str(raised.value).isprintable()


def test_json_of_a_request_holds_the_fingerprint_of_what_is_here(mirror: JobFolder) -> None:
    mirror.log.write_bytes(b"x" * 300 + b"y" * 100)
    asked = json.loads(request("/there", {"train.log": 300, "events.jsonl": 0}, mirror.path))
    assert asked["files"] == {
        "train.log": [300, hashlib.sha256(b"x" * 256).hexdigest()],
        "events.jsonl": [0, ""],
    }
