"""One job on two machines over SSH, with a stand-in for the trainer on each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.controller import Controller, Pods
from engine.errors import PodError
from engine.home import Home
from engine.job.events import Status
from engine.job.folder import JobFolder, read_json
from engine.pods.ssh_start import Starter
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from tests import standin
from tests.controller.conftest import kill_supervisor
from tests.controller.nodes.conftest import Hosts
from tests.processes import events_of, until

LONG = {"steps": 100_000, "every": 1000}


class Laptop:
    """Controllers on one home, one after the other."""

    def __init__(self, store: SQLiteStore, home: Home) -> None:
        self.store, self.home = store, home
        self.opened: list[Controller] = []

    async def open(self, **trainer: Any) -> Controller:
        argv = standin.argv(**{"steps": 20, "weights": 1000, **trainer})
        pods = Pods(self.home, argv, ssh_config=[], keepalive=0.5)
        self.opened.append(Controller(self.store, self.home, pods))
        await self.opened[-1].start()
        return self.opened[-1]


@pytest.fixture
async def laptop(store: SQLiteStore, place: Home, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Laptop]:
    monkeypatch.setattr("engine.stream._QUIET", 0.5)
    monkeypatch.setattr("engine.pods.ssh_group._QUIET", 0.5)
    laptop = Laptop(store, place)
    yield laptop
    for controller in laptop.opened:
        await controller.close()


async def comes(question: Any, what: str = "") -> None:
    await asyncio.to_thread(until, question, what)


async def settled(controller: Controller, job_id: str) -> Status:
    async with asyncio.timeout(120):
        return (await controller.settle([job_id]))[0].status


def types(folder: JobFolder) -> set[str]:
    return {event.type for event in events_of(folder.events)} if folder.events.exists() else set()


async def at_work(laptop: Laptop, hosts: Hosts, data: Path) -> tuple[Controller, Job, list[JobFolder]]:
    """A long job that both machines train: its controller, its row, its folder on each."""
    controller = await laptop.open(**LONG)
    job = await controller.launch(hosts.spec(data))
    there = [hosts.job(node, job.id) for node in range(2)]
    await comes(lambda: all("train" in types(folder) for folder in there), "both at work")
    return controller, job, there


async def test_both_train_and_what_both_say_is_here(laptop: Laptop, hosts: Hosts, data: Path) -> None:
    controller = await laptop.open(delay=0.2)
    job = await controller.launch(hosts.spec(data))
    there = [hosts.job(node, job.id) for node in range(2)]
    first, second = (read_json(folder.node) for folder in there)
    assert (first["node"], second["node"], first["nodes"]) == (0, 1, 2)
    assert first["address"] == second["address"] == "127.0.0.1"
    assert first["port"] == second["port"] > 0
    assert await settled(controller, job.id) == Status.COMPLETED
    mirror = laptop.home.job(job.id)
    # The other one is not left waiting, and its log and its own account are here, byte by byte.
    await comes(there[1].exit.exists, "the other one's end")
    other = mirror.of_node(1)
    assert other.log.read_bytes() == there[1].log.read_bytes() != b""
    assert other.events.read_bytes() == there[1].events.read_bytes()
    assert mirror.log.read_bytes() == there[0].log.read_bytes()
    assert mirror.events.read_bytes() == there[0].events.read_bytes()
    # Its figures stand beside those of the first one, and change nothing else.
    seen = [[(gpu.node, gpu.index) for gpu in one.gpus] for one in laptop.store.host_samples(job.id)]
    assert [(0, 0), (1, 0)] in seen
    said = [event.seq for event in events_of(there[0].events)]
    assert [event.seq for event in laptop.store.events(job.id)] == said
    assert laptop.store.job(job.id).pod_id == ", ".join(hosts.pod()["hosts"])


async def test_pause_reaches_both_and_resume_starts_both_again(
    laptop: Laptop, hosts: Hosts, data: Path
) -> None:
    controller, job, there = await at_work(laptop, hosts, data)
    await controller.pause(job.id)
    assert await settled(controller, job.id) == Status.PAUSED
    await comes(lambda: "paused" in there[1].events.read_text(), "the other one's pause")
    await controller.resume(job.id)
    await comes(lambda: all(read_json(folder.memory)["attempt"] == 2 for folder in there), "both again")
    await comes(lambda: laptop.store.job(job.id).status == Status.RUNNING, "running")
    # The first one ends for good, whoever ended it: the other one is ended from here.
    there[0].request("stop")
    assert await settled(controller, job.id) == Status.CANCELLED
    assert read_json(there[1].exit)["status"] == "cancelled"
    assert "node" not in controller.trouble


async def test_a_dead_machine_is_started_again_and_a_lost_one_breaks_nothing(
    laptop: Laptop, hosts: Hosts, data: Path
) -> None:
    controller, job, there = await at_work(laptop, hosts, data)
    kill_supervisor(hosts.home(1), job.id)
    await comes(lambda: read_json(there[1].memory).get("attempt") == 2, "another supervisor")
    assert read_json(there[0].memory)["attempt"] == 1
    hosts.servers[1].stop()
    await comes(lambda: "node 1" in controller.trouble, "said to be lost")
    before = laptop.home.job(job.id).events.stat().st_size
    await comes(lambda: laptop.home.job(job.id).events.stat().st_size > before, "the first one goes on")
    hosts.servers[1].start()
    await comes(lambda: "node" not in controller.trouble, "found again")
    await controller.stop(job.id)
    assert await settled(controller, job.id) == Status.CANCELLED
    assert read_json(there[1].exit)["status"] == "cancelled"


async def test_a_dead_first_machine_is_started_again_while_the_other_one_talks(
    laptop: Laptop, hosts: Hosts, data: Path
) -> None:
    controller, job, there = await at_work(laptop, hosts, data)
    kill_supervisor(hosts.home(0), job.id)
    await comes(lambda: read_json(there[0].memory).get("attempt") == 2, "another supervisor")
    await controller.stop(job.id)
    assert await settled(controller, job.id) == Status.CANCELLED
    assert read_json(there[1].exit)["status"] == "cancelled"


@pytest.mark.parametrize("started", [0, 1])
async def test_a_laptop_that_dies_in_mid_launch_finds_both(
    laptop: Laptop, hosts: Hosts, data: Path, monkeypatch: pytest.MonkeyPatch, started: int
) -> None:
    whole = Starter._supervise

    async def die(self: Starter, *arguments: Any) -> None:
        if not self._calls.where.endswith(str(hosts.servers[started].port)):
            await asyncio.sleep(3600)
        await whole(self, *arguments)

    monkeypatch.setattr(Starter, "_supervise", die)
    controller = await laptop.open(**LONG)
    launching = asyncio.create_task(controller.launch(hosts.spec(data)))
    await comes(lambda: any("train" in types(job) for job in hosts.jobs(started)), "one of them at work")
    launching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launching
    await controller.close()
    monkeypatch.setattr(Starter, "_supervise", whole)
    controller = await laptop.open(**LONG)
    (job,) = laptop.store.jobs()
    there = [hosts.job(node, job.id) for node in range(2)]
    await comes(lambda: all("train" in types(folder) for folder in there), "both at work")
    assert read_json(there[0].node)["port"] == read_json(there[1].node)["port"]
    await controller.stop(job.id)
    assert await settled(controller, job.id) == Status.CANCELLED


async def test_where_one_cannot_start_nothing_is_left_at_work(
    laptop: Laptop, hosts: Hosts, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Starter._python

    async def refuse(self: Starter, *arguments: Any, **options: Any) -> str:
        if self._calls.where.endswith(str(hosts.servers[1].port)):
            raise PodError("no room for torch", "Make room.")
        return await whole(self, *arguments, **options)

    monkeypatch.setattr(Starter, "_python", refuse)
    controller = await laptop.open(**LONG)
    with pytest.raises(PodError, match="node 1: no room for torch"):
        await controller.launch(hosts.spec(data))
    (job,) = laptop.store.jobs()
    assert job.status == Status.FAILED
    assert read_json(hosts.job(0, job.id).exit)["status"] == "cancelled"
    # One folder for both is told of before anything starts.
    shared = str(hosts.servers[0].folder / "shared")
    with pytest.raises(PodError, match="share"):
        await controller.launch(hosts.spec(data, pod=hosts.pod(folder=shared)))
