"""What the user wants happens to real processes, and whatever dies on the way is found again."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.controller import Controller, following
from engine.errors import BadDataset, BadInput, PodError, StoreError
from engine.home import Home
from engine.job.events import EventType, EventWriter, Status
from engine.job.folder import JobFolder, read_json, write_json
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from engine.supervisor.locks import Lock, holder
from tests.controller import app
from tests.controller.app import spec
from tests.controller.conftest import Session, kill_supervisor
from tests.pods.test_replay import record
from tests.processes import contiguous, events_of, gone, until

SLOW = {"steps": 100_000, "delay": 0.02}


async def comes(question: Callable[[], object], what: str = "") -> None:
    await asyncio.to_thread(until, question, what)


async def settled(controller: Controller, *jobs: Job) -> list[Job]:
    async with asyncio.timeout(90):
        return await controller.settle([job.id for job in jobs])


def steps(store: SQLiteStore, job: Job) -> int:
    return store.job(job.id).current_step or 0


def same_as_file(store: SQLiteStore, home: Home, job_id: str) -> bool:
    """Does the store hold each event of the file once, none missing?"""
    written = events_of(home.job(job_id).events)
    kept = store.events(job_id)
    return contiguous(written) and [event.seq for event in kept] == [event.seq for event in written]


async def test_a_launched_job_is_trained_and_told_to_the_store(
    session: Session, store: SQLiteStore, place: Home, data: Path
) -> None:
    controller = await session.open(steps=10, weights=1000)
    job = await controller.launch(spec(data, lora=None, tags=["a", "b"]), name="mine")
    assert (job.name, job.number, job.status, job.provider) == ("mine", 1, Status.QUEUED, "local")
    (ended,) = await settled(controller, job)
    assert ended.status == Status.COMPLETED
    assert ended.current_step == ended.total_steps == 10
    assert ended.tags == ("a", "b")
    assert same_as_file(store, place, job.id)
    folder = place.job(job.id)
    assert read_json(folder.spec)["name"] == "mine"
    assert len(folder.dataset.read_text().splitlines()) == 20
    assert not folder.eval_dataset.exists()
    assert [item.step for item in store.checkpoints(job.id)] == [5, 10]
    # There is nothing to fetch, but "every hash is right" is said only of what was looked at.
    assert (await controller.pull(job.id, "10", lambda *_: None))[1] == folder.checkpoint(10)
    (folder.checkpoint(10) / "adapter" / "weights.bin").write_bytes(bytes(1000))
    with pytest.raises(PodError, match="a hash is wrong"):
        await controller.pull(job.id, "10", lambda *_: None)
    assert controller.log_path(job).read_text().startswith("attempt 1")
    assert controller.links == {job.id: "ended"}


async def test_json_and_gzip_and_eval_data_are_laid_out_as_plain_lines(
    session: Session, place: Home, tmp_path: Path, data: Path
) -> None:
    rows = rows_of(data)
    listed = tmp_path / "data.json.gz"
    listed.write_bytes(gzip.compress(json.dumps(rows).encode()))
    (tmp_path / "eval.jsonl").write_text('{"prompt": "7?", "completion": "7"}\n')
    dataset = {"path": str(listed), "eval_path": str(tmp_path / "eval.jsonl"), "max_samples": 5}
    controller = await session.open()
    job = await controller.launch(spec(data, dataset=dataset))
    await settled(controller, job)
    assert rows_of(place.job(job.id).dataset) == rows[:5]
    assert rows_of(place.job(job.id).eval_dataset) == [{"prompt": "7?", "completion": "7"}]


def rows_of(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_bad_data_is_refused_before_anything_is_written(
    session: Session, store: SQLiteStore, place: Home, data: Path, tmp_path: Path
) -> None:
    controller = await session.open()
    rows = [*rows_of(data)[:6], {"prompt": 7}, *rows_of(data)[7:]]
    (tmp_path / "bad.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(BadDataset, match="row 7"):
        await controller.launch(spec(tmp_path / "bad.jsonl"))
    with pytest.raises(BadDataset, match="none"):
        await controller.launch(spec(tmp_path / "none.jsonl"))
    with pytest.raises(BadDataset, match="every training row"):
        await controller.launch(spec(data, dataset={"path": str(data), "eval_path": str(data)}))
    assert store.jobs(archived=True, deleted=True) == []
    assert list(place.jobs.iterdir()) == []


async def test_a_folder_that_can_not_be_made_is_one_clear_line_and_no_job(
    session: Session, store: SQLiteStore, place: Home, data: Path
) -> None:
    controller = await session.open()
    place.jobs.rmdir()
    place.jobs.write_text("in the way")
    with pytest.raises(PodError, match="PODIUM_HOME"):
        await controller.launch(spec(data))
    assert store.jobs() == []
    place.jobs.unlink()
    place.jobs.mkdir()


async def test_two_jobs_train_one_after_the_other(session: Session, store: SQLiteStore, data: Path) -> None:
    controller = await session.open(steps=30, delay=0.03)
    first = await controller.launch(spec(data))
    await comes(lambda: steps(store, first) > 1)
    second = await controller.launch(spec(data))
    await comes(lambda: store.job(second.id).status == Status.QUEUED)
    ended = await settled(controller, first, second)
    assert [job.status for job in ended] == [Status.COMPLETED] * 2
    assert ended[1].started_at is not None
    assert ended[0].completed_at is not None
    assert ended[1].started_at >= ended[0].completed_at


async def test_stop_saves_and_cancels_and_a_second_stop_is_refused(
    session: Session, store: SQLiteStore, data: Path
) -> None:
    controller = await session.open(**SLOW)
    job = await controller.launch(spec(data))
    await comes(lambda: steps(store, job) > 2)
    await controller.stop(job.id)
    (ended,) = await settled(controller, job)
    assert ended.status == Status.CANCELLED
    assert store.checkpoints(job.id)[-1].step == ended.current_step
    with pytest.raises(BadInput, match="is cancelled already"):
        await controller.stop(job.id)


async def test_pause_and_resume_go_on_without_a_gap(
    session: Session, store: SQLiteStore, place: Home, data: Path
) -> None:
    controller = await session.open(steps=60, delay=0.02)
    job = await controller.launch(spec(data))
    await comes(lambda: steps(store, job) > 7)
    with pytest.raises(BadInput, match="only a paused job can be resumed"):
        await controller.resume(job.id)
    await controller.pause(job.id)
    (paused,) = await settled(controller, job)
    assert paused.status == Status.PAUSED
    with pytest.raises(BadInput, match="nothing to pause"):
        await controller.pause(job.id)
    await controller.resume(job.id)
    (ended,) = await settled(controller, job)
    assert ended.status == Status.COMPLETED
    trained = [event.step for event in store.events(job.id, [EventType.TRAIN])]
    assert trained == list(range(1, 61))
    assert same_as_file(store, place, job.id)


async def test_a_paused_job_can_be_stopped_for_good(session: Session, store: SQLiteStore, data: Path) -> None:
    controller = await session.open(**SLOW)
    job = await controller.launch(spec(data))
    await comes(lambda: steps(store, job) > 1)
    await controller.pause(job.id)
    await settled(controller, job)
    await controller.stop(job.id)
    (ended,) = await settled(controller, job)
    assert ended.status == Status.CANCELLED


async def test_requests_reach_a_running_job_and_no_other(
    session: Session, store: SQLiteStore, place: Home, data: Path
) -> None:
    controller = await session.open(**SLOW)
    job = await controller.launch(spec(data))
    await comes(lambda: steps(store, job) > 1)
    await controller.save(job.id)
    await controller.learning_rate(job.id, 0.0)
    assert place.job(job.id).take_request("save") is True
    assert place.job(job.id).take_request("learning_rate") == 0.0
    for value in (-1.0, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="is no learning rate"):
            await controller.learning_rate(job.id, value)
    await controller.stop(job.id)
    await settled(controller, job)
    with pytest.raises(BadInput, match="is cancelled, not running"):
        await controller.save(job.id)


async def test_a_killed_app_misses_nothing(
    store: SQLiteStore, place: Home, data: Path, session: Session
) -> None:
    options = {"trainer": {"steps": 60, "delay": 0.05}, "jobs": 2}
    process = await asyncio.to_thread(
        subprocess.Popen, [sys.executable, app.__file__, str(place.path), str(data), json.dumps(options)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    try:
        await comes(
            lambda: len(store.jobs()) == 2 and any((job.current_step or 0) > 3 for job in store.jobs())
        )
    finally:
        process.kill()
        process.wait()
    seen = max(job.current_step or 0 for job in store.jobs())
    first, second = sorted(store.jobs(), key=lambda job: job.created_at)
    # The run goes on with nobody watching, and so does the queue.
    await comes(place.job(first.id).exit.exists)
    assert store.job(first.id).current_step == seen < 60
    await comes(lambda: any(event.step for event in events_of(place.job(second.id).events)))
    before = hashlib.sha256(place.job(first.id).events.read_bytes()).hexdigest()
    controller = await session.open(steps=60, delay=0.05)
    ended = await settled(controller, first, second)
    assert [job.status for job in ended] == [Status.COMPLETED] * 2
    assert hashlib.sha256(place.job(first.id).events.read_bytes()).hexdigest() == before
    for job in (first, second):
        assert same_as_file(store, place, job.id)
        assert [event.step for event in store.events(job.id, [EventType.TRAIN])] == list(range(1, 61))
        assert store.job(job.id).attempt == 1


async def test_a_supervisor_killed_while_no_app_was_open_is_replaced_at_the_next_start(
    session: Session, store: SQLiteStore, place: Home, data: Path
) -> None:
    controller = await session.open(steps=60, delay=0.03)
    job = await controller.launch(spec(data))
    await comes(lambda: steps(store, job) > 7)
    await controller.close()
    trainer = trainer_of(place.job(job.id))
    kill_supervisor(place, job.id)
    await comes(lambda: gone(trainer), "no trainer outlives its supervisor")
    controller = await session.open(steps=60, delay=0.03)
    (ended,) = await settled(controller, job)
    assert (ended.status, ended.attempt) == (Status.COMPLETED, 2)
    assert same_as_file(store, place, job.id)
    assert [alert.alert for alert in store.alerts(job.id)] == ["supervisor_lost"]
    again = [event.step for event in store.events(job.id, [EventType.TRAIN]) if event.attempt == 2]
    assert again[-1] == 60
    assert again[0] > 1


async def test_a_supervisor_killed_before_our_eyes_is_replaced_at_once(
    session: Session, store: SQLiteStore, place: Home, data: Path
) -> None:
    controller = await session.open(steps=60, delay=0.03)
    job = await controller.launch(spec(data))
    await comes(lambda: steps(store, job) > 7)
    await asyncio.to_thread(kill_supervisor, place, job.id)
    (ended,) = await settled(controller, job)
    assert (ended.status, ended.attempt) == (Status.COMPLETED, 2)


async def test_a_trainer_killed_before_our_eyes_is_resumed(
    session: Session, store: SQLiteStore, place: Home, data: Path
) -> None:
    controller = await session.open(steps=60, delay=0.03)
    job = await controller.launch(spec(data))
    await comes(lambda: steps(store, job) > 7)
    os.kill(trainer_of(place.job(job.id)), signal.SIGKILL)
    (ended,) = await settled(controller, job)
    assert (ended.status, ended.attempt) == (Status.COMPLETED, 2)
    assert store.events(job.id, [EventType.RECOVERY])[0].data["failure"] == "killed by SIGKILL"


def trainer_of(folder: JobFolder) -> int:
    said = [line for line in folder.log.read_text().splitlines() if " pid " in line]
    return int(said[-1].split()[-1])


def row(job_id: str = "a-job", status: Status = Status.RUNNING) -> Job:
    return Job(id=job_id, name="a job", status=status, created_at=datetime.now(UTC), provider="local")


async def test_a_launch_that_died_before_its_folder_was_complete_is_failed(
    session: Session, store: SQLiteStore, place: Home
) -> None:
    store.add(row())
    place.job("a-job").create()
    await session.open()
    job = store.job("a-job")
    assert job.status == Status.FAILED
    assert "launch was interrupted" in (job.error_message or "")


async def test_a_launch_that_died_before_its_start_is_started(
    session: Session, store: SQLiteStore, place: Home
) -> None:
    store.add(row(status=Status.QUEUED))
    place.job("a-job").create()
    write_json(place.job("a-job").spec, {"name": "a job"})
    controller = await session.open(steps=5)
    (ended,) = await settled(controller, row())
    assert ended.status == Status.COMPLETED


async def test_a_launch_under_way_in_another_app_is_let_be(
    session: Session, store: SQLiteStore, place: Home
) -> None:
    store.add(row(status=Status.QUEUED))
    place.job("a-job").create()
    other = Lock(place.job("a-job").lock)
    assert other.take()
    await session.open(steps=5)
    assert store.job("a-job").status == Status.QUEUED
    other.release()


async def test_a_job_that_ended_unseen_is_ended_and_one_whose_last_event_is_missing_too(
    session: Session, store: SQLiteStore, place: Home
) -> None:
    for job_id, status in (("told", Status.COMPLETED), ("untold", Status.FAILED)):
        store.add(row(job_id))
        folder = place.job(job_id)
        folder.create()
        with EventWriter(folder.events) as writer:
            writer.append(EventType.STATE, status=Status.RUNNING)
            if job_id == "told":
                writer.append(EventType.STATE, status=status)
        write_json(folder.exit, {"status": status, "error": "no space left"})
    await session.open()
    assert store.job("told").status == Status.COMPLETED
    untold = store.job("untold")
    assert (untold.status, untold.error_message) == (Status.FAILED, "no space left")


async def test_a_supervisor_that_dies_again_and_again_is_given_up(
    session: Session, store: SQLiteStore, place: Home, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_DEATHS", 3)
    controller = await session.open(**SLOW)
    job = await controller.launch(spec(data))

    def killed() -> bool:
        kill_supervisor(place, job.id)
        return store.job(job.id).status == Status.FAILED

    await comes(killed)
    (ended,) = await settled(controller, job)
    assert "dies again and again" in (ended.error_message or "")
    assert holder(place.job(job.id).lock) is None


async def test_events_that_can_not_be_read_are_trouble_and_not_the_end(
    session: Session, store: SQLiteStore, place: Home, data: Path
) -> None:
    controller = await session.open(steps=40, delay=0.03)
    job = await controller.launch(spec(data))
    await comes(lambda: steps(store, job) > 1)
    events = place.job(job.id).events
    events.rename(events.with_name("aside"))
    events.mkdir()
    await comes(lambda: controller.trouble)
    assert "events.jsonl" in controller.trouble
    events.rmdir()
    events.with_name("aside").rename(events)
    (ended,) = await settled(controller, job)
    assert ended.status == Status.COMPLETED
    assert same_as_file(store, place, job.id)


async def test_deleting_moves_the_folder_to_the_trash_and_undo_moves_it_back(
    session: Session, store: SQLiteStore, place: Home, data: Path
) -> None:
    controller = await session.open(steps=5)
    job = await controller.launch(spec(data))
    await settled(controller, job)
    done = await controller.delete([job.id])
    assert done.job_ids == (job.id,)
    assert not place.job(job.id).path.exists()
    trashed = store.job(job.id)
    assert controller.log_path(trashed).read_text().startswith("attempt 1")
    undone = await controller.undo()
    assert undone is not None
    assert undone.job_ids == (job.id,)
    assert place.job(job.id).log.exists()
    assert not place.trashed(job.id).exists()
    await controller.delete([job.id])
    await controller.restore([job.id])
    assert place.job(job.id).log.exists()
    await controller.undo()
    assert store.job(job.id).deleted
    assert place.trashed(job.id).exists()


async def test_a_live_job_can_not_be_deleted(
    session: Session, store: SQLiteStore, place: Home, data: Path
) -> None:
    controller = await session.open(**SLOW)
    job = await controller.launch(spec(data))
    await comes(lambda: steps(store, job) > 1)
    with pytest.raises(BadInput, match="can't be deleted"):
        await controller.delete([job.id])
    assert not store.job(job.id).deleted
    assert place.job(job.id).path.exists()


async def test_archive_keeps_the_folder_where_it_is(
    session: Session, store: SQLiteStore, place: Home, data: Path
) -> None:
    controller = await session.open(steps=5)
    job = await controller.launch(spec(data))
    await settled(controller, job)
    await controller.archive([job.id])
    assert store.job(job.id).archived
    assert place.job(job.id).path.exists()
    assert await controller.undo()
    assert await controller.undo() is None


@pytest.mark.parametrize("deleted", [True, False])
async def test_a_crash_between_the_store_and_the_move_is_put_right_at_the_start(
    session: Session, store: SQLiteStore, place: Home, deleted: bool
) -> None:
    store.add(row(status=Status.COMPLETED))
    place.job("a-job").create()
    if deleted:
        store.act("delete", ["a-job"])
    else:
        place.job("a-job").path.rename(place.trashed("a-job"))
    await session.open()
    assert place.trashed("a-job").exists() == deleted
    assert place.job("a-job").path.exists() != deleted


async def test_links_are_moved_and_never_followed(
    session: Session, store: SQLiteStore, place: Home, tmp_path: Path
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    store.add(row(status=Status.COMPLETED))
    place.job("a-job").path.symlink_to(tmp_path / "precious")
    controller = await session.open()
    await controller.delete(["a-job"])
    assert place.trashed("a-job").is_symlink()
    assert (tmp_path / "precious" / "file").read_text() == "mine"


async def test_a_folder_in_the_way_is_not_overwritten_and_the_others_go_on(
    session: Session, store: SQLiteStore, place: Home
) -> None:
    for job_id in ("one", "two"):
        store.add(row(job_id, Status.COMPLETED))
        place.job(job_id).create()
    (place.trashed("one")).mkdir()
    (place.trashed("one") / "file").write_text("mine")
    controller = await session.open()
    assert "in the way" in controller.trouble
    with pytest.raises(PodError, match="in the way"):
        await controller.delete(["one"])
    await controller.delete(["two"])
    assert place.trashed("two").exists()
    assert (place.trashed("one") / "file").read_text() == "mine"


async def test_a_recorded_run_is_replayed_as_a_job_that_says_so(
    session: Session, store: SQLiteStore, place: Home, tmp_path: Path
) -> None:
    controller = await session.open()
    with pytest.raises(BadInput, match="no recorded run"):
        await controller.replay(tmp_path / "nothing")
    assert store.jobs() == []
    job = await controller.replay(record(tmp_path / "recorded"), speed=1000)
    (ended,) = await settled(controller, job)
    assert ended.replay
    assert ended.tags == ("replay",)
    assert (ended.name, ended.status) == ("recorded", Status.COMPLETED)
    assert same_as_file(store, place, job.id)


async def test_a_replay_goes_on_when_the_app_is_opened_again(
    session: Session, store: SQLiteStore, place: Home, tmp_path: Path
) -> None:
    controller = await session.open()
    job = await controller.replay(record(tmp_path / "recorded", steps=100), speed=100)
    await comes(lambda: steps(store, job) > 5)
    await controller.close()
    assert store.job(job.id).status == Status.RUNNING
    controller = await session.open()
    (ended,) = await settled(controller, job)
    assert ended.status == Status.COMPLETED
    assert [event.step for event in store.events(job.id, [EventType.TRAIN])] == list(range(1, 101))


async def test_a_store_that_can_not_take_the_job_leaves_nothing_behind(place: Home, data: Path) -> None:
    store = SQLiteStore(place.database)
    controller = Controller(store, place)
    store.close()
    with pytest.raises(StoreError):
        await controller.launch(spec(data))
    await controller.close()
    assert list(place.jobs.iterdir()) == []
    assert holder(place.slot) is None
