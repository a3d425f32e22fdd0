"""Several rented machines train one job: one price, one name, one end; found again whoever is killed."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.errors import NoSuchPod, PodError
from engine.home import Home
from engine.job.events import Status
from engine.job.folder import read_json
from engine.pods.placements import Placements
from engine.store.sqlite import SQLiteStore
from tests.controller.runpod.conftest import Laptop, asked, billing, brisk, launched, spec
from tests.controller.runpod.test_killed import run
from tests.emulators.runpod import Emulator
from tests.emulators.runpod.machines import Machines
from tests.emulators.sshd import free_port
from tests.processes import events_of, until

TWO = {"distributed": {"nodes": 2}, "rent": {"gpu": "RTX 4090", "gpu_count": 2, "volume_gb": 10}}


@pytest.fixture(autouse=True)
def brisk_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.pods.ssh_group._QUIET", 0.5)


async def comes(question: Any, what: str = "") -> None:
    await asyncio.to_thread(until, question, what)


async def test_a_cluster_goes_the_whole_way(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path
) -> None:
    controller = await laptop.open(delay=0.6)
    wanted = spec(data, **TWO)
    quote = await controller.quote(wanted)
    # Price times GPUs times machines, in the only cloud that has clusters.
    assert quote.price_per_hour == pytest.approx(0.69 * 2 * 2)
    assert {offer.cloud for offer in quote.offers} == {"secure"}
    assert quote.worst_cost == pytest.approx(0.69 * 4 * (1 + 50 / 60))
    job = await controller.launch(wanted, quote=quote)
    first, second = sorted(runpod.account.pods.values(), key=lambda pod: pod.rank or 0)
    there = [machines.job(pod.id, job.id) for pod in (first, second)]
    nodes = [read_json(folder.node) for folder in there]
    assert [node["node"] for node in nodes] == [0, 1]
    assert {node["address"] for node in nodes} == {"10.65.0.2"}
    known = laptop.store.job(job.id)
    assert (known.pod_id, known.gpu_count) == (first.cluster, 4)
    assert known.cost_per_hour == pytest.approx(0.69 * 4)
    # The supervisors reckon with what all machines cost together.
    assert read_json(there[1].spec)["pod"]["cost_per_hour"] == pytest.approx(0.69 * 4)
    (done,) = await controller.settle([job.id])
    assert done.status == Status.COMPLETED
    mirror = laptop.home.job(job.id)
    assert b"attempt 1 from step 0" in mirror.of_node(1).log.read_bytes()
    seen = [[(gpu.node, gpu.index) for gpu in one.gpus] for one in laptop.store.host_samples(job.id)]
    assert [(0, 0), (0, 1), (1, 0), (1, 1)] in seen
    # Fetched, then ended together, and proven gone.
    assert mirror.checkpoint(10).exists()
    assert billing(runpod) == [] and runpod.account.clusters == {}
    assert asked(runpod, "^DELETE /v2/clusters/") == 1
    assert laptop.store.job(job.id).cost_total == pytest.approx(runpod.account.dollars(), rel=0.5)
    assert not list(laptop.home.machines.glob("*/id_*"))


async def test_a_cluster_that_bills_more_than_was_confirmed_is_ended(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path
) -> None:
    controller = await laptop.open()
    runpod.account.surcharge = 1.2
    with pytest.raises(PodError, match=r"billed \$3.312/h, dearer than the confirmed \$2.760/h"):
        await launched(controller, spec(data, **TWO))
    assert billing(runpod) == [] and runpod.account.clusters == {}


async def test_a_cluster_of_which_one_machine_lacks_a_gpu_is_ended(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path
) -> None:
    controller = await laptop.open()
    lacking = iter([2, 1])
    runpod.account.stages = lambda: brisk(gpus=next(lacking))
    with pytest.raises(NoSuchPod, match=r"a machine of podium-.* came up with 1 of 2 GPUs"):
        await launched(controller, spec(data, **TWO))
    assert billing(runpod) == []


async def test_another_machine_that_has_moved_is_found_where_it_is(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.pods.runpod_pod._AGAIN", 0.5)
    controller = await laptop.open(steps=100_000, every=1000)
    job = await launched(controller, spec(data, **TWO))
    log = laptop.home.job(job.id).of_node(1).log
    await comes(log.exists, "the other one's log")
    (second,) = [pod for pod in runpod.account.pods.values() if pod.rank == 1]
    server = machines.servers[second.id]
    server.stop()
    await comes(lambda: "node 1" in controller.trouble, "said to be lost")
    server.port, second.endpoint = free_port(), None
    server.start()
    before = log.stat().st_size
    await comes(lambda: log.stat().st_size > before, "its log grows again")
    await controller.stop(job.id)
    (done,) = await controller.settle([job.id])
    assert done.status == Status.CANCELLED
    assert billing(runpod) == []


@pytest.mark.parametrize("stage", ["clustered", "training"])
def test_a_laptop_that_is_killed_finds_the_whole_cluster_again(
    runpod: Emulator, machines: Machines, home: Path, data: Path, tmp_path: Path, stage: str
) -> None:
    job_file = tmp_path / "job.yaml"
    job_file.write_text(yaml.safe_dump(spec(data, **TWO).to_json()))
    killed = run(stage, "launch", job_file, "--yes", "--wait")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "2 machines of 2 × RTX 4090" in killed.stdout
    assert "2 × 2 × $0.69 = $2.76 an hour" in killed.stdout
    assert len(billing(runpod)) == 2
    again = run("-", "wait")
    assert again.returncode == 0, again.stderr
    store = SQLiteStore(Home(home).database)
    (job,) = store.jobs()
    store.close()
    assert (job.status, job.pod_status) == (Status.COMPLETED, "terminated"), job.error_message
    assert asked(runpod, "^POST /v2/clusters") == 1
    assert billing(runpod) == [] and runpod.account.clusters == {}
    assert list(Placements(Home(home)).open()) == []
    said = events_of(Home(home).job(job.id).events)
    assert {event.type for event in said} >= {"train", "result"}
