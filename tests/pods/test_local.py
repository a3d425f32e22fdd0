"""This machine as a pod: real supervisors, real files."""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from engine.errors import PodError
from engine.home import Home
from engine.job.folder import write_json
from engine.pods.base import Chunk
from engine.pods.local import LocalPod
from engine.supervisor.locks import holder
from engine.supervisor.process import end_leftovers, start_of
from tests import standin
from tests.processes import events_of, gone, until

JOB = "a-job"


@pytest.fixture
def place(home: Path) -> Home:
    place = Home(home)
    place.create()
    place.job(JOB).create()
    write_json(place.job(JOB).spec, {"name": "test"})
    return place


@pytest.fixture
async def pod(place: Home) -> AsyncIterator[LocalPod]:
    pod = LocalPod(place, standin.argv(steps=1000, delay=0.02))
    yield pod
    await pod.close()
    if supervisor := holder(place.job(JOB).lock):
        os.kill(supervisor, 9)
        until(lambda: gone(supervisor))
    end_leftovers(place.job(JOB), None, None, grace=0)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def folder_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/cwd").readlink()


async def until_true(question: Callable[[], object]) -> None:
    await asyncio.to_thread(until, question)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to look a process up in")
async def test_a_started_supervisor_is_nobodys_child_and_in_a_session_of_its_own(
    pod: LocalPod, place: Home
) -> None:
    assert not await pod.alive(JOB)
    await pod.start(JOB)
    assert await pod.alive(JOB)
    supervisor = holder(place.job(JOB).lock)
    assert supervisor is not None
    assert os.getsid(supervisor) == supervisor
    assert parent_of(supervisor) != os.getpid()
    assert folder_of(supervisor) == Path("/")
    await pod.start(JOB)
    assert holder(place.job(JOB).lock) == supervisor
    assert start_of(supervisor)


async def test_a_stop_request_ends_the_job(pod: LocalPod, place: Home) -> None:
    await pod.start(JOB)
    await until_true(lambda: len(events_of(place.job(JOB).events)) > 5)
    await pod.request(JOB, "stop")
    await until_true(place.job(JOB).exit.exists)
    await until_true(lambda: holder(place.job(JOB).lock) is None)
    assert not await pod.alive(JOB)
    assert place.job(JOB).supervisor_log.read_text() == ""


async def test_only_the_secrets_that_a_trainer_needs_reach_it(
    place: Home, monkeypatch: pytest.MonkeyPatch, pod: LocalPod
) -> None:
    for name in ("HF_TOKEN", "RUNPOD_API_KEY", "SUPABASE_SECRET", "DB_PASSWORD", "PLAIN"):
        monkeypatch.setenv(name, f"value-of-{name}")
    script = (
        "import os, sys; print(sorted(v for v in os.environ.values() if v[:8] == 'value-of')); sys.exit(3)"
    )
    await LocalPod(place, [sys.executable, "-c", script]).start(JOB)
    await until_true(place.job(JOB).exit.exists)
    assert place.job(JOB).log.read_text() == "['value-of-HF_TOKEN', 'value-of-PLAIN']\n"


async def test_a_folder_that_is_not_there_is_one_clear_line(pod: LocalPod) -> None:
    with pytest.raises(PodError, match=r"no-such-job.*No such file or directory"):
        await pod.start("no-such-job")


async def test_run_gives_status_and_output_and_kills_what_takes_too_long(
    pod: LocalPod, tmp_path: Path
) -> None:
    done = await pod.run([sys.executable, "-c", "import sys; print(1); sys.stderr.write('2'); sys.exit(7)"])
    assert (done.code, done.out, done.err) == (7, b"1\n", b"2")
    with pytest.raises(PodError, match="no-such-program"):
        await pod.run(["no-such-program"])
    script = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    with pytest.raises(PodError, match="not done after"):
        await pod.run([sys.executable, "-c", script], timeout=2)
    assert gone(int((tmp_path / "pid").read_text()))


async def test_put_and_get_copy_files_and_folders_and_leave_links_links(
    pod: LocalPod, tmp_path: Path
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 1000)
    (tmp_path / "a" / "link").symlink_to("/etc/hostname")
    await pod.put(tmp_path / "a", str(tmp_path / "copy"))
    await pod.get(str(tmp_path / "copy" / "b" / "file"), tmp_path / "new" / "back")
    assert (tmp_path / "new" / "back").read_bytes() == b"x" * 1000
    assert (tmp_path / "copy" / "link").is_symlink()
    with pytest.raises(PodError, match="nothing"):
        await pod.get(str(tmp_path / "nothing"), tmp_path / "new" / "x")


async def next_with(stream: AsyncIterator[Chunk], *, data: bool) -> Chunk:
    async with asyncio.timeout(60):
        async for chunk in stream:
            if bool(chunk.data) == data:
                return chunk
    raise AssertionError("the stream ended")


async def test_follow_yields_every_byte_in_order_and_a_beat_at_the_end(pod: LocalPod, place: Home) -> None:
    folder = place.job(JOB)
    content = os.urandom(700_000)
    folder.log.write_bytes(content[:600_000])
    stream = pod.follow(JOB, {"events.jsonl": 0, "train.log": 100})
    got = b""
    while len(got) < 599_900:
        chunk = await next_with(stream, data=True)
        assert (chunk.file, chunk.offset) == ("train.log", 100 + len(got))
        assert len(chunk.data) <= 1 << 18
        got += chunk.data
    await next_with(stream, data=False)
    with folder.log.open("ab") as file:
        file.write(content[600_000:])
    folder.events.write_bytes(b"late")
    late = [await next_with(stream, data=True), await next_with(stream, data=True)]
    assert {chunk.file: chunk.data for chunk in late} == {
        "train.log": content[600_000:],
        "events.jsonl": b"late",
    }
    assert got == content[100:600_000]
    await next_with(stream, data=False)


@pytest.mark.parametrize("how", ["truncated", "replaced", "rewritten", "shorter than known"])
async def test_follow_tells_when_a_file_is_another_one(pod: LocalPod, place: Home, how: str) -> None:
    log = place.job(JOB).log
    log.write_bytes(b"0123456789")
    stream = pod.follow(JOB, {"train.log": 99 if how == "shorter than known" else 0})
    if how != "shorter than known":
        assert (await next_with(stream, data=True)).restarted is False
        if how == "truncated":
            log.write_bytes(b"new")
        elif how == "rewritten":
            # The same inode, and longer than before.
            log.write_bytes(b"new content, longer than the old one")
        else:
            log.with_name("aside").write_bytes(b"new content, longer than the old one")
            log.with_name("aside").replace(log)
    chunk = await next_with(stream, data=True)
    assert chunk.restarted
    assert chunk.offset == 0
    assert chunk.data == log.read_bytes()


async def test_following_does_not_block_the_loop_and_many_can_follow(pod: LocalPod, place: Home) -> None:
    streams = [pod.follow(JOB, {"train.log": 0}) for _ in range(20)]
    waiting = [asyncio.create_task(next_with(stream, data=True)) for stream in streams]
    await asyncio.sleep(0.3)
    place.job(JOB).log.write_bytes(gzip.compress(b"x"))
    chunks = await asyncio.gather(*waiting)
    assert len({chunk.data for chunk in chunks}) == 1


async def test_a_control_folder_that_can_not_be_written_is_one_clear_line(pod: LocalPod, place: Home) -> None:
    place.job(JOB).control.rmdir()
    place.job(JOB).control.write_text("a file where a folder should be")
    with pytest.raises(PodError, match="can't leave the request stop"):
        await pod.request(JOB, "stop")


def test_the_home_keeps_job_ids_inside(place: Home) -> None:
    for job_id in ("", ".", "..", "../x", "a/b", "/etc", "a\0"):
        with pytest.raises(ValueError, match="no job id"):
            place.job(job_id)
        with pytest.raises(ValueError, match="no job id"):
            place.trashed(job_id)
