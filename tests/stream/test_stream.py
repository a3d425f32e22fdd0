"""From a pod's files into the store: nothing lost, nothing doubled, whatever breaks on the way."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.errors import PodLost, StoreError
from engine.home import Home
from engine.job.events import EventType, EventWriter, Status
from engine.job.folder import JobFolder, write_json
from engine.pods.base import Chunk
from engine.pods.local import LocalPod
from engine.records import Job
from engine.store.base import Ingested
from engine.store.sqlite import SQLiteStore
from engine.stream import Backoff, JobStream, Mirror, catch_up, ingest
from tests.processes import contiguous, events_of, until

JOB = "a-job"


class Distant(LocalPod):
    """A pod whose folder is not the laptop's: real files elsewhere, and a connection that breaks on order.

    Args:
        home: The pod's own place.
        breaks: Chunks after which each connection breaks; when they are used up it holds.
    """

    in_place = False

    def __init__(self, home: Home, breaks: list[int] | None = None) -> None:
        super().__init__(home)
        self.breaks = breaks or []
        self.connections = 0
        self.largest = 0

    async def follow(self, job_id: str, cursors: Mapping[str, int]) -> AsyncIterator[Chunk]:
        self.connections += 1
        left = self.breaks.pop(0) if self.breaks else -1
        async for chunk in super().follow(job_id, cursors):
            # Cut small, and in the middle of lines.
            size = self.largest or len(chunk.data) or 1
            for start in range(0, len(chunk.data) or 1, size):
                if left == 0:
                    raise PodLost("the connection broke")
                left -= 1
                yield Chunk(
                    chunk.file, chunk.offset + start, chunk.data[start : start + size], chunk.restarted
                )

    async def alive(self, job_id: str) -> bool:
        return True


class InPlace(LocalPod):
    """This machine, where somebody other than a supervisor writes."""

    async def alive(self, job_id: str) -> bool:
        return True


@pytest.fixture
def here(tmp_path: Path) -> Home:
    here = Home(tmp_path / "here")
    here.create()
    return here


@pytest.fixture
def there(tmp_path: Path) -> Home:
    there = Home(tmp_path / "there")
    there.create()
    there.job(JOB).create()
    return there


@pytest.fixture
def store(here: Home) -> Iterator[SQLiteStore]:
    store = SQLiteStore(here.database)
    store.add(Job(id=JOB, name="a job", status=Status.QUEUED, created_at=datetime.now(UTC)))
    yield store
    store.close()


def write(folder: JobFolder, steps: range, *, end: bool = False) -> None:
    folder.create()
    with EventWriter(folder.events) as writer, folder.log.open("a") as log:
        for step in steps:
            writer.append(EventType.TRAIN, step, loss=1.0 / (step + 1), epoch=step / 10)
            log.write(f"step {step} größer\n")
        if end:
            writer.append(EventType.STATE, status=Status.COMPLETED)
    if end:
        write_json(folder.exit, {"status": "completed"})


def seqs(store: SQLiteStore) -> list[int]:
    return [event.seq for event in store.events(JOB)]


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def ends(stream: JobStream) -> None:
    async with asyncio.timeout(60):
        await stream.run()


async def comes(question: Callable[[], Any]) -> None:
    await asyncio.to_thread(until, question)


async def test_a_job_in_place_is_followed_to_its_end(store: SQLiteStore, here: Home) -> None:
    code = (
        "import sys, time; from pathlib import Path; from engine.job.folder import JobFolder\n"
        "from tests.stream.test_stream import write\n"
        "folder = JobFolder(Path(sys.argv[1]))\n"
        "for n in range(10): write(folder, range(n * 50, n * 50 + 50), end=n == 9); time.sleep(0.05)\n"
    )
    here.job(JOB).create()
    stream = JobStream(store, InPlace(here), here, JOB)
    root = Path(__file__).parents[2]
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(here.job(JOB).path), cwd=root
    )
    await ends(stream)
    assert await writer.wait() == 0
    assert seqs(store) == list(range(1, 502))
    assert store.job(JOB).status == Status.COMPLETED
    assert stream.link == "ended"


async def test_a_torn_line_is_kept_back_until_it_is_whole(store: SQLiteStore, here: Home) -> None:
    folder = here.job(JOB)
    write(folder, range(3))
    whole = folder.events.read_bytes()
    folder.events.write_bytes(whole[:-10])
    running = asyncio.create_task(JobStream(store, Distant(here), here, JOB).run())
    catch_up(store, here, JOB)
    assert seqs(store) == [1, 2]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    folder.events.write_bytes(whole)
    catch_up(store, here, JOB)
    assert seqs(store) == [1, 2, 3]
    assert store.job(JOB).bad_lines == 0


async def test_the_mirror_is_byte_exact_over_broken_connections(
    store: SQLiteStore, here: Home, there: Home
) -> None:
    folder, mirror = there.job(JOB), here.job(JOB)
    pod = Distant(there, breaks=[3, 1, 7, 2, 0, 11, 5, 4] * 3)
    pod.largest = 997
    stream = JobStream(store, pod, here, JOB, backoff=Backoff(0.001, 0.01))
    running = asyncio.create_task(ends(stream))
    for n in range(20):
        await asyncio.to_thread(write, folder, range(n * 50, n * 50 + 50), end=n == 19)
        await asyncio.sleep(0.02)
    await running
    assert pod.connections == 25
    for name in ("events.jsonl", "train.log", "exit.json"):
        assert sha(mirror.path / name) == sha(folder.path / name)
    assert seqs(store) == list(range(1, 1002))
    assert store.job(JOB).bad_lines == 0


async def test_a_new_stream_goes_on_at_the_mirrors_length(
    store: SQLiteStore, here: Home, there: Home
) -> None:
    folder, mirror = there.job(JOB), here.job(JOB)
    write(folder, range(100))
    running = asyncio.create_task(JobStream(store, Distant(there), here, JOB).run())
    await comes(lambda: len(seqs(store)) == 100)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    # The app died between the mirror and the store.
    write(folder, range(100, 200))
    mirror.events.write_bytes(folder.events.read_bytes()[:-33])
    write(folder, range(200, 300), end=True)
    await ends(JobStream(store, Distant(there), here, JOB))
    assert sha(mirror.events) == sha(folder.events)
    assert seqs(store) == list(range(1, 302))


async def test_the_link_is_shown_as_it_is(store: SQLiteStore, here: Home, there: Home) -> None:
    write(there.job(JOB), range(3))
    pod = Distant(there, breaks=[0])
    stream = JobStream(store, pod, here, JOB, backoff=Backoff(0.3, 0.3))
    running = asyncio.create_task(stream.run())
    await comes(lambda: stream.trouble)
    assert (stream.link, stream.trouble) == ("reconnecting", "the connection broke")
    await comes(lambda: stream.link == "live")
    assert stream.trouble == ""
    write(there.job(JOB), range(3, 4), end=True)
    await running
    assert stream.link == "ended"


async def test_a_connection_that_held_is_tried_again_at_once(
    store: SQLiteStore, here: Home, there: Home
) -> None:
    """A wait would be of five minutes."""
    write(there.job(JOB), range(3), end=True)
    pod = Distant(there, breaks=[1, 1])
    await ends(JobStream(store, pod, here, JOB, backoff=Backoff(600, 600, steady=0.0)))
    assert pod.connections == 3
    assert seqs(store) == [1, 2, 3, 4]


async def test_a_replaced_file_is_mirrored_anew_and_the_old_mirror_is_kept(
    store: SQLiteStore, here: Home, there: Home
) -> None:
    folder, mirror = there.job(JOB), here.job(JOB)
    folder.log.write_bytes(b"the old log\n")
    running = asyncio.create_task(JobStream(store, Distant(there), here, JOB).run())
    await comes(lambda: mirror.log.exists() and mirror.log.read_bytes() == b"the old log\n")
    folder.log.unlink()
    folder.log.write_bytes(b"another log, of another run\n")
    await comes(lambda: mirror.log.read_bytes() == b"another log, of another run\n")
    assert (mirror.path / "train.log.old").read_bytes() == b"the old log\n"
    write(folder, range(1), end=True)
    await running


def test_the_mirror_refuses_gaps_and_files_that_nobody_asked_for(here: Home) -> None:
    folder = here.job(JOB)
    mirror = Mirror(folder)
    with pytest.raises(PodLost, match="7 bytes of train"):
        mirror.take(Chunk("train.log", 7, b"x"))
    for name in ("../../evil", "/tmp/evil", "job.json", "control/stop"):
        with pytest.raises(PodLost, match="nobody asked for"):
            mirror.take(Chunk(name, 0, b"x"))
    assert not folder.path.exists() or not list(folder.path.iterdir())


def test_what_is_mirrored_already_is_not_doubled(here: Home) -> None:
    mirror = Mirror(here.job(JOB))
    for offset, data in ((0, b"01234"), (0, b"01234"), (3, b"3456"), (2, b"2"), (7, b"789")):
        mirror.take(Chunk("train.log", offset, data))
    assert here.job(JOB).log.read_bytes() == b"0123456789"
    assert mirror.cursors()["train.log"] == 10


async def test_bad_lines_are_counted_and_the_rest_goes_on(store: SQLiteStore, here: Home) -> None:
    folder = here.job(JOB)
    write(folder, range(2))
    with folder.events.open("ab") as file:
        file.write(b"garbage\n\x00\xff\n{}\n")
    write(folder, range(2, 4), end=True)
    await ends(JobStream(store, LocalPod(here), here, JOB))
    assert seqs(store) == [1, 2, 3, 4, 5]
    assert store.job(JOB).bad_lines == 3


def test_catching_up_twice_changes_nothing(store: SQLiteStore, here: Home) -> None:
    catch_up(store, here)
    write(here.job(JOB), range(10))
    for _ in range(2):
        catch_up(store, here)
        assert seqs(store) == list(range(1, 11))
    write(here.job(JOB), range(10, 20), end=True)
    catch_up(store, here)
    assert seqs(store) == list(range(1, 22))
    assert contiguous(events_of(here.job(JOB).events))


def test_a_big_backlog_and_a_huge_line_are_taken_in(store: SQLiteStore, here: Home) -> None:
    folder = here.job(JOB)
    write(folder, range(6000))
    with folder.events.open("ab") as file:
        file.write(b"x" * 3_000_000 + b"\n")
    write(folder, range(6000, 6100))
    size = folder.events.stat().st_size
    assert ingest(store, JOB, folder.events) == size
    assert store.offset(JOB, "events.jsonl") == size
    assert len(seqs(store)) == 6100
    assert store.job(JOB).bad_lines == 1


async def test_a_store_that_fails_for_a_while_loses_nothing(store: SQLiteStore, here: Home) -> None:
    failures = iter([True] * 3)
    take_in = store.ingest

    def failing(job_id: str, lines: bytes, at: int) -> Ingested:
        if next(failures, False):
            raise StoreError("podium.db: the disk is full")
        return take_in(job_id, lines, at)

    store.ingest = failing  # type: ignore[method-assign]
    write(here.job(JOB), range(50), end=True)
    stream = JobStream(store, LocalPod(here), here, JOB)
    running = asyncio.create_task(ends(stream))
    await comes(lambda: stream.trouble == "podium.db: the disk is full")
    await running
    assert seqs(store) == list(range(1, 52))


async def test_a_stream_ends_when_nobody_writes_any_more(store: SQLiteStore, here: Home) -> None:
    write(here.job(JOB), range(5))
    await ends(JobStream(store, LocalPod(here), here, JOB))
    assert seqs(store) == [1, 2, 3, 4, 5]


def test_two_processes_that_mirror_the_same_job_double_nothing(tmp_path: Path) -> None:
    """The app and a command may follow at the same time; a file's lock is each opening's own."""
    data = b"".join(b"line %d\n" % number for number in range(4000))
    folder = JobFolder(tmp_path / "mirror")

    def follow() -> None:
        mirror = Mirror(folder)
        for start in range(0, len(data), 50):
            mirror.take(Chunk("train.log", start, data[start : start + 50]))

    followers = [threading.Thread(target=follow) for _ in range(4)]
    for follower in followers:
        follower.start()
    for follower in followers:
        follower.join()
    assert folder.log.read_bytes() == data
