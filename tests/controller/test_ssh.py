"""The whole way on a machine over SSH: launch, watch, ask, fetch, verify; and the ways in which it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.controller import Controller, Pods
from engine.errors import BadInput, PodError, PodLost
from engine.home import Home
from engine.job.events import EventType, Status
from engine.job.folder import JobFolder
from engine.job.spec import JobSpec
from engine.pods.ssh_calls import Calls
from engine.pods.ssh_start import Starter
from engine.store.sqlite import SQLiteStore
from engine.supervisor.process import end_leftovers
from tests import standin
from tests.controller.conftest import end_all, kill_supervisor, pod_section
from tests.emulators.receiver import Receiver
from tests.emulators.sshd import Server, sshd
from tests.processes import contiguous, events_of, until

pytestmark = pytest.mark.skipif(getpass.getuser() != "root", reason="sshd on loopback lets only root in here")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = sshd(tmp_path / "server")
    yield server
    server.stop()
    end_all(Home(server.root))


def spec(server: Server, data: Path, **sections: Any) -> JobSpec:
    values = {
        "name": "far-away",
        "model": {"name": "m"},
        "dataset": {"path": str(data)},
        "pod": pod_section(server),
        **sections,
    }
    return JobSpec.parse(values, "test")


class Laptop:
    """Controllers on one home, one after the other."""

    def __init__(self, store: SQLiteStore, home: Home) -> None:
        self.store, self.home = store, home
        self.opened: list[Controller] = []

    async def open(self, **trainer: Any) -> Controller:
        argv = standin.argv(**{"steps": 20, "weights": 10_000, **trainer})
        pods = Pods(self.home, argv, ssh_config=[], keepalive=0.5)
        self.opened.append(Controller(self.store, self.home, pods))
        await self.opened[-1].start()
        return self.opened[-1]


@pytest.fixture
async def laptop(store: SQLiteStore, place: Home, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Laptop]:
    monkeypatch.setattr("engine.stream._QUIET", 0.5)
    laptop = Laptop(store, place)
    yield laptop
    for controller in laptop.opened:
        await controller.close()


def there(server: Server, job_id: str) -> JobFolder:
    return JobFolder(server.root / "jobs" / job_id)


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha(path) for path in folder.rglob("*") if path.is_file()}


async def settled(controller: Controller, job_id: str) -> Status:
    async with asyncio.timeout(90):
        return (await controller.settle([job_id]))[0].status


async def comes(question: Any, what: str = "") -> None:
    await asyncio.to_thread(until, question, what)


def nothing(done: int, total: int) -> None:
    pass


async def test_a_job_goes_the_whole_way(laptop: Laptop, server: Server, data: Path) -> None:
    controller = await laptop.open()
    job = await controller.launch(spec(server, data))
    assert job.pod_id == f"root@127.0.0.1:{server.port}"
    assert "its host key is SHA256:" in controller.met
    assert await settled(controller, job.id) == Status.COMPLETED
    far, mirror = there(server, job.id), laptop.home.job(job.id)
    # Which key opens the machine is this laptop's affair: job.json travels.
    assert str(server.key) not in far.spec.read_text() + mirror.spec.read_text()
    for name in ("events.jsonl", "train.log", "exit.json"):
        assert sha(far.path / name) == sha(mirror.path / name)
    assert [event.seq for event in laptop.store.events(job.id)] == [e.seq for e in events_of(far.events)]
    shown: list[tuple[int, int]] = []
    checkpoint, path = await controller.pull(job.id, "last", lambda *now: shown.append(now))
    assert checkpoint.step == 20
    assert files(path) == files(far.checkpoint(20))
    assert set(files(path)) == {"manifest.json", "config.json", "adapter/weights.bin"}
    assert shown[-1][0] == shown[-1][1] == 10_002
    # Pulled again, nothing is fetched, though the machine is there.
    before = path.stat().st_mtime_ns
    assert (await controller.pull(job.id, "20", nothing))[1] == path
    assert path.stat().st_mtime_ns == before


async def test_stop_and_pause_and_resume_reach_the_machine(
    laptop: Laptop, server: Server, data: Path
) -> None:
    controller = await laptop.open(steps=2000, delay=0.02)
    job = await controller.launch(spec(server, data))
    await comes(lambda: (laptop.store.job(job.id).current_step or 0) > 3)
    await controller.pause(job.id)
    assert await settled(controller, job.id) == Status.PAUSED
    step = laptop.store.job(job.id).current_step or 0
    await controller.resume(job.id)
    await comes(lambda: (laptop.store.job(job.id).current_step or 0) > step + 3)
    await controller.stop(job.id)
    assert await settled(controller, job.id) == Status.CANCELLED
    last = [event.step for event in events_of(there(server, job.id).events) if event.type == "train"]
    assert last == sorted(set(last))


async def test_the_laptop_may_go_and_come_back(laptop: Laptop, server: Server, data: Path) -> None:
    first = await laptop.open(steps=60, delay=0.03)
    job = await first.launch(spec(server, data))
    await first.close()
    await comes(there(server, job.id).exit.exists)
    assert laptop.store.job(job.id).status.live
    second = await laptop.open()
    assert await settled(second, job.id) == Status.COMPLETED
    assert sha(there(server, job.id).events) == sha(laptop.home.job(job.id).events)


@pytest.mark.parametrize("stage", ["_bundle", "_data", "_supervise"])
async def test_a_laptop_that_dies_in_mid_launch_finishes_it_when_it_comes_back(
    laptop: Laptop, server: Server, data: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Dying is a cancelled launch: nothing runs after it that could tidy up."""
    controller = await laptop.open()
    reached = asyncio.Event()

    async def die(*_: Any) -> None:
        reached.set()
        await asyncio.sleep(600)

    with monkeypatch.context() as patched:
        patched.setattr(Starter, stage, die)
        launching = asyncio.create_task(controller.launch(spec(server, data)))
        await reached.wait()
        launching.cancel()
        await asyncio.gather(launching, return_exceptions=True)
        await controller.close()
    (job,) = laptop.store.jobs()
    assert job.status.live
    again = await laptop.open()
    assert await settled(again, job.id) == Status.COMPLETED
    assert [event.attempt for event in events_of(there(server, job.id).events)][-1] == 1


async def test_a_connection_that_breaks_in_mid_launch_is_made_again(
    laptop: Laptop, server: Server, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = await laptop.open()
    bring, cut = Starter._data, [True]

    async def cut_off(self: Starter, *arguments: Any) -> None:
        if cut:
            cut.pop()
            await asyncio.to_thread(server.cut)
        await bring(self, *arguments)

    monkeypatch.setattr(Starter, "_data", cut_off)
    job = await controller.launch(spec(server, data))
    assert await settled(controller, job.id) == Status.COMPLETED


@pytest.mark.parametrize("lost", [False, True], ids=["its folder is there", "its disk is lost"])
async def test_a_supervisor_that_was_killed_there_is_replaced(
    laptop: Laptop, server: Server, data: Path, lost: bool
) -> None:
    """A pod whose container was made anew has nothing of the run: what is known here goes on."""
    controller = await laptop.open(steps=100, delay=0.03)
    job = await controller.launch(spec(server, data))
    await comes(lambda: (laptop.store.job(job.id).current_step or 0) > 6)
    await asyncio.to_thread(kill_supervisor, Home(server.root), job.id)
    if lost:
        end_leftovers(there(server, job.id), None, None, grace=0)
        shutil.rmtree(there(server, job.id).path)
    assert await settled(controller, job.id) == Status.COMPLETED
    assert laptop.store.job(job.id).attempt == 2
    events = laptop.home.job(job.id).events
    assert events.read_bytes() == there(server, job.id).events.read_bytes()
    assert contiguous(events_of(events))
    assert [event.seq for event in laptop.store.events(job.id)] == [event.seq for event in events_of(events)]


async def test_a_machine_that_is_away_keeps_nobody_from_starting(
    laptop: Laptop, server: Server, data: Path
) -> None:
    first = await laptop.open(steps=40, delay=0.02)
    job = await first.launch(spec(server, data))
    await first.close()
    server.stop()
    second = await laptop.open()
    await comes(lambda: "can't be reached" in second.trouble)
    assert second.links[job.id] == "reconnecting"
    server.start()
    assert await settled(second, job.id) == Status.COMPLETED


async def test_a_launch_on_a_machine_that_is_not_there_is_kept_as_failed(
    laptop: Laptop, server: Server, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.pods.ssh._RETRIES", (0.01,))
    server.stop()
    controller = await laptop.open()
    with pytest.raises(PodError, match="can't be reached"):
        await controller.launch(spec(server, data))
    (job,) = laptop.store.jobs()
    assert (job.status, "can't be reached" in (job.error_message or "")) == (Status.FAILED, True)


async def test_a_connection_that_is_lost_while_the_supervisor_starts_loses_no_job(
    laptop: Laptop, server: Server, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be at work there: it would train unseen, as a failed job, and hold the machine."""
    monkeypatch.setattr("engine.pods.ssh._RETRIES", (0.01,))
    whole, cut = Calls.checked, [True]

    async def cut_off(self: Calls, argv: Any, **options: Any) -> bytes:
        done = await whole(self, argv, **options)
        if cut and "--detach" in argv:
            cut.pop()
            server.stop()
            raise PodLost("the connection is gone")
        return done

    monkeypatch.setattr(Calls, "checked", cut_off)
    controller = await laptop.open()
    job = await controller.launch(spec(server, data))
    assert laptop.store.job(job.id).status != Status.FAILED
    server.start()
    assert await settled(controller, job.id) == Status.COMPLETED
    assert laptop.store.job(job.id).attempt == 1


async def test_two_machines_work_at_once(laptop: Laptop, server: Server, data: Path, tmp_path: Path) -> None:
    other = sshd(tmp_path / "other")
    try:
        controller = await laptop.open(steps=30, delay=0.02)
        jobs = [await controller.launch(spec(each, data)) for each in (server, other)]
        for job in jobs:
            assert await settled(controller, job.id) == Status.COMPLETED
        assert len(json.loads(laptop.home.host_keys.read_text())) == 2
    finally:
        for controller in laptop.opened:
            await controller.close()
        other.stop()
        end_all(Home(other.root))


async def finished(laptop: Laptop, server: Server, data: Path, **trainer: Any) -> tuple[Controller, str]:
    controller = await laptop.open(**trainer)
    job = await controller.launch(spec(server, data))
    assert await settled(controller, job.id) == Status.COMPLETED
    return controller, job.id


async def test_a_pull_goes_on_where_it_was_cut_off(laptop: Laptop, server: Server, data: Path) -> None:
    controller, job_id = await finished(laptop, server, data, weights=9_000_000, steps=5)
    far, near = there(server, job_id).checkpoint(5), laptop.home.job(job_id).checkpoint(5)
    asked: list[int] = []

    def cut(done: int, total: int) -> None:
        asked.append(done)
        if len(asked) == 2:
            server.cut()

    with contextlib.suppress(PodError):
        await controller.pull(job_id, "last", cut)
    assert not near.exists()
    here = near.with_name(".pulling-5") / "adapter" / "weights.bin"
    kept = here.stat().st_size
    assert kept > 0
    asked.clear()
    await controller.pull(job_id, "last", lambda done, total: asked.append(done))
    assert asked[0] >= kept
    assert files(near) == files(far)


async def test_a_run_of_a_machine_that_is_gone_can_be_deleted_and_brought_back(
    laptop: Laptop, server: Server, data: Path
) -> None:
    controller, job_id = await finished(laptop, server, data, steps=5)
    server.stop()
    assert (await controller.delete([job_id])).job_ids == (job_id,)
    await controller.undo()
    assert laptop.home.job(job_id).events.exists()


async def test_the_final_model_is_fetched_whole_or_not_at_all(
    laptop: Laptop, server: Server, data: Path
) -> None:
    controller, job_id = await finished(laptop, server, data, steps=5)
    far, near = there(server, job_id).final, laptop.home.job(job_id).final
    with pytest.raises(BadInput, match="no final model"):
        await controller.pull(job_id, "final", nothing)
    (far / "adapter").mkdir(parents=True)
    (far / "adapter" / "weights.bin").write_bytes(os.urandom(300_000))
    (far / "made.json").write_text("{}")
    (far / "elsewhere").symlink_to("/etc/passwd")
    _, path = await controller.pull(job_id, "final", nothing)
    assert path == near
    assert (near / "adapter" / "weights.bin").read_bytes() == (far / "adapter" / "weights.bin").read_bytes()
    assert {item.name for item in near.iterdir()} == {"adapter", "made.json", "manifest.json"}
    (near / "made.json").write_text("damaged")
    await controller.pull(job_id, "final", nothing)
    assert (near / "made.json").read_text() == "{}"


async def test_what_does_not_verify_is_not_kept(laptop: Laptop, server: Server, data: Path) -> None:
    controller, job_id = await finished(laptop, server, data, steps=5)
    far, near = there(server, job_id).checkpoint(5), laptop.home.job(job_id).checkpoint(5)
    # A damaged beginning here is thrown away and fetched anew.
    begun = near.with_name(".pulling-5") / "adapter" / "weights.bin"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"wrong")
    # What is damaged there can't be fetched.
    weights = far / "adapter" / "weights.bin"
    good = weights.read_bytes()
    weights.write_bytes(os.urandom(len(good)))
    with pytest.raises(PodError, match=r"adapter/weights.bin: its hash is wrong on the pod, too"):
        await controller.pull(job_id, "5", nothing)
    assert not near.exists()
    weights.write_bytes(good[:-1])
    with pytest.raises(PodError, match="shorter than it should be"):
        await controller.pull(job_id, "5", nothing)
    weights.write_bytes(good)
    begun.parent.mkdir(parents=True, exist_ok=True)
    begun.write_bytes(b"wrong")
    await controller.pull(job_id, "5", nothing)
    assert files(near) == files(far)
    manifest = far / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"step": 5', '"step": 6'))
    with pytest.raises(PodError, match="is not the one that the run told of"):
        await controller.pull(job_id, "5", nothing)
    for which, complaint in (("7", "has no checkpoint 7"), ("worst", "is no checkpoint")):
        with pytest.raises(BadInput, match=complaint):
            await controller.pull(job_id, which, nothing)


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "", "manifest.json", "a\nb"])
def test_a_manifest_that_names_what_is_not_its_own_is_refused(name: str) -> None:
    from engine.controller.pulling import wanted

    entry = {"bytes": 1, "sha256": "0" * 64}
    with pytest.raises(PodError, match="which is no file of it"):
        wanted(json.dumps({"files": {name: entry}}).encode())


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": 7}', '{"files": {"a": {"bytes": -1, "sha256": ""}}}']
)
def test_a_manifest_that_makes_no_sense_is_refused(text: str) -> None:
    from engine.controller.pulling import wanted

    with pytest.raises(PodError, match="makes no sense"):
        wanted(text.encode())


async def test_a_run_alerts_by_itself_when_no_laptop_is_there(
    laptop: Laptop, server: Server, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "T0PSECRET-0123456789"
    with Receiver() as receiver:
        monkeypatch.setenv("HOOK", f"{receiver.url}/{secret}")
        (laptop.home.path / "alerts.yaml").write_text("channels: [{name: team, kind: slack, url: '${HOOK}'}]")
        controller = await laptop.open(steps=60, delay=0.05)
        job = await controller.launch(spec(server, data))
        await controller.close()
        told = lambda: [got.json()["text"].split(" ·")[0] for got in receiver.got]  # noqa: E731
        await asyncio.to_thread(until, lambda: "job completed" in told(), "the alert of the end")
        assert told() == ["job started", "job completed"]
    for folder in (server.root, laptop.home.path):
        for file in folder.rglob("*"):
            assert not file.is_file() or secret.encode() not in file.read_bytes(), file
    controller = await laptop.open()
    assert await settled(controller, job.id) == Status.COMPLETED
    deliveries = laptop.store.events(job.id, (EventType.DELIVERY,))
    assert [event.data["ok"] for event in deliveries] == [True, True]
