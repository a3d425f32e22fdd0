"""A recorded run played back is a job like any other, except that it says so."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.errors import BadInput, PodError
from engine.home import Home
from engine.job.events import Event, EventType, encode
from engine.job.folder import JobFolder, read_json, write_json
from engine.pods.replay import Recording, ReplayPod, prepare
from tests.processes import contiguous, events_of, until

JOB = "a-replay"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def record(path: Path, steps: int = 30, ending: str | None = "completed", packed: bool = True) -> Path:
    """A recorded run: a step a second, with its log."""
    path.mkdir()
    events = [Event(1, LONG_AGO, 1, EventType.STATE, None, {"status": "running"})]
    for step in range(1, steps + 1):
        data = {"loss": 1 / step, "type": "odd key", "sync": 1}
        events.append(Event(step + 1, LONG_AGO + timedelta(seconds=step), 1, EventType.TRAIN, step, data))
    events.append(Event(steps + 2, LONG_AGO + timedelta(seconds=steps + 1), 2, "news of v9", None, {}))
    if ending:
        ended = LONG_AGO + timedelta(seconds=steps + 2)
        events.append(Event(steps + 3, ended, 2, EventType.STATE, None, {"status": ending, "error": "why"}))
    lines = b"".join(map(encode, events))
    log = b"".join(b"step %d\n" % step for step in range(1, steps + 1))
    write_json(path / "job.json", {"name": "recorded"})
    for name, content in (("events.jsonl", lines), ("train.log", log)):
        if packed:
            (path / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (path / name).write_bytes(content)
    return path


@pytest.fixture
def folder(home: Path) -> JobFolder:
    place = Home(home)
    place.create()
    return place.job(JOB)


async def ended(folder: JobFolder) -> None:
    await asyncio.to_thread(until, folder.exit.exists)


@pytest.mark.parametrize("packed", [True, False])
async def test_every_event_and_every_log_line_is_played_with_the_time_of_now(
    tmp_path: Path, home: Path, folder: JobFolder, packed: bool
) -> None:
    recording = Recording.load(record(tmp_path / "recorded", packed=packed))
    prepare(folder, recording.path, speed=1000)
    pod = ReplayPod(Home(home))
    begun = datetime.now(UTC) - timedelta(seconds=1)
    await pod.start(JOB)
    assert await pod.alive(JOB)
    await ended(folder)
    played = events_of(folder.events)
    assert contiguous(played)
    assert [(e.type, e.attempt, e.step, e.data) for e in played] == [
        (e.type, e.attempt, e.step, e.data) for e in recording.events
    ]
    assert all(event.ts >= begun for event in played)
    assert folder.log.read_bytes() == recording.log
    assert read_json(folder.exit)["status"] == "completed"
    await pod.close()
    assert not await pod.alive(JOB)


async def test_a_replay_that_the_app_left_goes_on_at_the_same_event(
    tmp_path: Path, home: Path, folder: JobFolder
) -> None:
    recording = Recording.load(record(tmp_path / "recorded", steps=200))
    prepare(folder, recording.path, speed=100)
    for _ in range(3):
        pod = ReplayPod(Home(home))
        await pod.start(JOB)
        before = len(events_of(folder.events))
        await asyncio.to_thread(until, lambda before=before: len(events_of(folder.events)) > before + 5)
        await pod.close()
        assert not folder.exit.exists()
        assert not await pod.alive(JOB)
    pod = ReplayPod(Home(home))
    await pod.start(JOB)
    await ended(folder)
    await pod.close()
    played = events_of(folder.events)
    assert [event.step for event in played] == [event.step for event in recording.events]
    assert contiguous(played)
    assert folder.log.read_bytes() == recording.log


async def test_a_replay_can_be_stopped_and_nothing_else(
    tmp_path: Path, home: Path, folder: JobFolder
) -> None:
    prepare(folder, record(tmp_path / "recorded"), speed=1)
    pod = ReplayPod(Home(home))
    await pod.start(JOB)
    with pytest.raises(PodError, match="nothing else"):
        await pod.request(JOB, "learning_rate", 1e-3)
    await pod.request(JOB, "stop")
    await ended(folder)
    last = events_of(folder.events)[-1]
    assert (last.type, last.data["status"]) == (EventType.STATE, "cancelled")
    assert read_json(folder.exit)["status"] == "cancelled"
    await pod.start(JOB)
    # The player lets go of its lock a moment after it has told how it ended.
    for _ in range(1000):
        if not await pod.alive(JOB):
            break
        await asyncio.sleep(0.01)
    assert not await pod.alive(JOB)
    assert events_of(folder.events)[-1] == last
    await pod.close()


async def test_two_apps_do_not_play_the_same_replay_at_once(
    tmp_path: Path, home: Path, folder: JobFolder
) -> None:
    recording = Recording.load(record(tmp_path / "recorded"))
    prepare(folder, recording.path, speed=100)
    one, two = ReplayPod(Home(home)), ReplayPod(Home(home))
    await one.start(JOB)
    await two.start(JOB)
    await ended(folder)
    await one.close()
    await two.close()
    assert len(events_of(folder.events)) == len(recording.events)


async def test_a_recording_without_an_end_ends_as_what_it_is(
    tmp_path: Path, home: Path, folder: JobFolder
) -> None:
    prepare(folder, record(tmp_path / "recorded", steps=3, ending=None), speed=1000)
    pod = ReplayPod(Home(home))
    await pod.start(JOB)
    await ended(folder)
    await pod.close()
    assert events_of(folder.events)[-1].data == {"status": "cancelled", "reason": "the recording ends here"}


async def test_no_recording_is_one_clear_line(tmp_path: Path, home: Path, folder: JobFolder) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no recorded run"):
        Recording.load(tmp_path / "empty")
    prepare(folder, tmp_path / "empty", speed=1)
    pod = ReplayPod(Home(home))
    with pytest.raises(PodError, match="can't be played"):
        await pod.start(JOB)
    assert not await pod.alive(JOB)
    (tmp_path / "empty" / "events.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(BadInput, match="can't be unpacked"):
        Recording.load(tmp_path / "empty")
