"""Renting for a job, with both back ends, and the ways in which it goes wrong: nothing is left that bills."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from engine.controller import phases
from engine.controller.enforcement import Enforcement
from engine.errors import BadInput, NoBalance, NoCapacity, PodError, ProviderError, StoreError
from engine.job.events import Status
from engine.pods.patience import Patience
from engine.pods.placements import Placements
from engine.stream import fetch
from tests.controller.runpod.conftest import Laptop, asked, billing, brisk, launched, spec
from tests.emulators.runpod import Emulator, Fault
from tests.emulators.runpod.machines import Machines
from tests.processes import until

CREATE = r"POST /v2/pods$|podFindAndDeployOnDemand$"


@pytest.mark.parametrize(("backend", "kept"), [("rest", "last"), ("sdk", "best")])
async def test_a_pod_is_rented_used_and_terminated(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path, backend: str, kept: str
) -> None:
    """Where no checkpoint is the best, as the stand-in's, the newest is all that there is to keep."""
    if backend == "sdk" and not (find_spec("runpod") and find_spec("graphql")):
        pytest.skip("the SDK backend needs the packages runpod and graphql: pip install '.[dev,runpod]'")
    controller = await laptop.open()
    job = await launched(controller, spec(data, rent={"backend": backend, "fetch": [kept]}))
    (pod,) = runpod.account.pods.values()
    assert pod.spec["name"] == f"podium-{job.id}"
    assert (await controller.settle([job.id]))[0].status == Status.COMPLETED
    assert billing(runpod) == []
    assert runpod.account.status(pod) == "TERMINATED"
    found = laptop.store.job(job.id)
    assert (found.pod_id, found.pod_status) == (pod.id, "terminated")
    assert found.cost_per_hour == pod.rate
    # The checkpoint that was to be kept is here, and every hash was right.
    assert (laptop.home.job(job.id).checkpoint(10) / "adapter" / "weights.bin").exists()
    placement = Placements(laptop.home).of(job.id)
    assert placement is not None and not placement.may_bill
    assert not Placements(laptop.home).key(job.id).exists()


async def test_no_machine_is_rented_at_a_price_that_nobody_confirmed(
    laptop: Laptop, runpod: Emulator, data: Path
) -> None:
    controller = await laptop.open()
    with pytest.raises(BadInput, match="confirmed"):
        await controller.launch(spec(data))
    assert asked(runpod, CREATE) == 0
    assert laptop.store.jobs() == []


async def test_auto_without_a_known_model_asks_for_a_gpu(
    laptop: Laptop, runpod: Emulator, data: Path
) -> None:
    controller = await laptop.open()
    with pytest.raises(BadInput, match="how much memory"):
        await controller.quote(spec(data, model={"name": "somebody/unheard-of"}))
    named = await controller.quote(spec(data, model={"name": "somebody/unheard-of"}, rent={"gpu": "L40S"}))
    assert {offer.gpu_name for offer in named.offers} == {"L40S"}
    roomy = await controller.quote(spec(data, rent={"memory_gb": 60, "gpu_count": 2}))
    assert roomy.offers[0].gpu_name == "A100 PCIe"
    # Two GPUs, one hour, twenty minutes to boot and thirty to fetch, at the dearest candidate.
    dearest = max(offer.price_per_hour for offer in roomy.offers)
    assert roomy.worst_cost == pytest.approx(2 * dearest * (1 + 50 / 60))


async def test_a_candidate_that_is_out_of_stock_gives_way_to_the_next(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path
) -> None:
    controller = await laptop.open()
    wanted = spec(data, rent={"gpu": ["L40S", "RTX 4090"], "clouds": ["secure"]})
    quote = await controller.quote(wanted)
    runpod.account.stock["NVIDIA L40S", "SECURE"] = "NONE"
    job = await controller.launch(wanted, quote=quote)
    assert laptop.store.job(job.id).gpu_type == "GeForce RTX 4090"
    assert (await controller.settle([job.id]))[0].status == Status.COMPLETED
    assert billing(runpod) == []


@pytest.mark.parametrize(
    ("fault", "times", "error"),
    [
        (Fault(400, "There are no longer any instances available"), 9, NoCapacity),
        (Fault(402, "balance too low"), 1, NoBalance),
        (Fault(500), 99, ProviderError),
    ],
)
async def test_a_machine_that_is_not_to_be_had_leaves_a_failed_run_and_no_bill(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path, fault: Fault, times: int, error: type
) -> None:
    controller = await laptop.open()
    wanted = spec(data)
    quote = await controller.quote(wanted)
    runpod.fault(CREATE, fault, times)
    with pytest.raises(error):
        await controller.launch(wanted, quote=quote)
    (job,) = laptop.store.jobs()
    assert job.status == Status.FAILED and job.error_message
    assert runpod.account.pods == {}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, headers={"Retry-After": "1"}),
        Fault(drop=True, performed=True),
    ],
)
async def test_a_request_that_goes_wrong_once_rents_one_pod_and_no_second(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path, fault: Fault
) -> None:
    controller = await laptop.open()
    wanted = spec(data)
    quote = await controller.quote(wanted)
    runpod.fault(CREATE, fault)
    job = await controller.launch(wanted, quote=quote)
    assert (await controller.settle([job.id]))[0].status == Status.COMPLETED
    assert len(runpod.account.pods) == 1
    assert billing(runpod) == []


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ({"public_ip": False}, "not ready within"),
        ({"starting": math.inf, "running": math.inf}, "is provisioning"),
        ({"fails": True}, "has failed on the provider's side"),
        ({"gpus": 0}, "came up with 0 of 1 GPUs"),
    ],
)
async def test_a_pod_that_does_not_come_up_is_terminated(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path, stages: dict[str, Any], said: str
) -> None:
    runpod.account.stages = lambda: brisk(**stages)
    clock = runpod.account.clock
    controller = await laptop.open(Patience(sleep=clock.sleep, clock=clock.now, polls=(60,)))
    with pytest.raises(PodError, match="was terminated, and is gone"):
        await launched(controller, spec(data))
    (job,) = laptop.store.jobs()
    assert job.status == Status.FAILED
    assert said in (job.error_message or "")
    assert len(runpod.account.pods) == 1
    assert billing(runpod) == []


async def test_what_an_answer_gives_away_stands_in_no_error(
    laptop: Laptop, runpod: Emulator, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_plantedplantedplanted")
    controller = await laptop.open()
    wanted = spec(data)
    quote = await controller.quote(wanted)
    runpod.fault(CREATE, Fault(422, f"the bearer {runpod.account.key} may not do that"))
    with pytest.raises(ProviderError) as refused:
        await controller.launch(wanted, quote=quote)
    said = f"{refused.value} {refused.value.__context__!r} {laptop.store.jobs()[0].error_message}"
    assert "may not do that" in said
    assert runpod.account.key not in said and "planted" not in said
    assert not [body for body in runpod.requests if "hf_planted" in str(body.body)]


async def test_ports_that_come_late_are_waited_for(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path
) -> None:
    runpod.account.stages = lambda: brisk(ports=1.5)
    controller = await laptop.open()
    job = await launched(controller, spec(data))
    assert (await controller.settle([job.id]))[0].status == Status.COMPLETED


async def test_a_pod_that_is_billed_higher_than_was_confirmed_is_terminated(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path
) -> None:
    runpod.account.surcharge = 1.5
    controller = await laptop.open()
    with pytest.raises(PodError, match=r"billed \$0\.255/h, dearer than the confirmed \$0\.170/h"):
        await launched(controller, spec(data))
    assert (laptop.store.jobs()[0].status, billing(runpod)) == (Status.FAILED, [])


async def test_a_provider_that_is_down_for_ten_minutes_is_waited_for(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path
) -> None:
    """Down from the moment the pod is created; the time passes on the account's own clock."""
    clock, down = runpod.account.clock, 0.0

    def fall(event: str, pod: Any) -> None:
        nonlocal down
        if event == "created":
            down, runpod.down = clock.now() + 600, True

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        if clock.now() >= down:
            runpod.down = False

    runpod.account.watchers.append(fall)
    controller = await laptop.open(Patience(sleep=sleep, clock=clock.now, polls=(20,), attempts=2))
    begun = clock.now()
    job = await launched(controller, spec(data))
    assert clock.now() - begun >= 600
    assert (await controller.settle([job.id]))[0].status == Status.COMPLETED
    assert len(runpod.account.pods) == 1
    assert billing(runpod) == []


async def test_a_provider_that_is_down_cuts_nobody_off_from_a_pod_that_is_up(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path
) -> None:
    controller = await laptop.open(steps=60, delay=0.05)
    job = await launched(controller, spec(data))
    await comes(lambda: (laptop.store.job(job.id).current_step or 0) > 3)
    runpod.down = True
    machines.servers[next(iter(runpod.account.pods))].cut()
    await comes(lambda: laptop.store.job(job.id).status == Status.COMPLETED)
    # It has ended, and the pod can't be terminated yet: that is said, and tried until it is done.
    await comes(lambda: "may still bill" in controller.trouble)
    runpod.down = False
    await controller.settle([job.id])
    assert billing(runpod) == []
    assert controller.trouble.startswith(next(iter(runpod.account.pods)))


async def test_the_app_and_a_command_may_attend_to_the_same_run(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path
) -> None:
    command = await laptop.open(steps=30, delay=0.05)
    job = await launched(command, spec(data))
    app = await laptop.open()
    (pod,) = runpod.account.pods
    there = machines.job(pod, job.id)
    for controller in (command, app):
        assert (await controller.settle([job.id]))[0].status == Status.COMPLETED
    assert billing(runpod) == []
    # The guard may add that it ends the pod, after all was fetched.
    assert there.events.read_bytes().startswith(laptop.home.job(job.id).events.read_bytes())
    assert laptop.store.events(job.id)[-1].data["status"] == Status.COMPLETED
    assert (laptop.home.job(job.id).checkpoint(30) / "adapter" / "weights.bin").exists()
    assert (command.trouble + app.trouble).count("fetched yet") == 0


async def test_an_app_that_opens_in_mid_launch_does_not_take_it_for_one_that_was_cut_off(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path
) -> None:
    command = await laptop.open()
    wanted = spec(data)
    quote = await command.quote(wanted)
    runpod.fault(CREATE, Fault(hang=3))
    launching = asyncio.create_task(command.launch(wanted, quote=quote))
    await comes(lambda: asked(runpod, CREATE))
    app = await laptop.open()
    job = await launching
    for controller in (command, app):
        assert (await controller.settle([job.id]))[0].status == Status.COMPLETED
    assert (len(runpod.account.pods), billing(runpod)) == (1, [])


async def test_a_pod_that_is_too_new_to_be_known_is_not_given_up(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path
) -> None:
    runpod.fault(r"GET /v2/pods/\w+$", Fault(404, "pod not found"), 2)
    controller = await laptop.open()
    job = await launched(controller, spec(data))
    assert (await controller.settle([job.id]))[0].status == Status.COMPLETED
    assert (len(runpod.account.pods), billing(runpod)) == (1, [])


async def test_a_pod_that_is_gone_ends_its_run(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path
) -> None:
    controller = await laptop.open(steps=2000, delay=0.05)
    job = await launched(controller, spec(data))
    await comes(lambda: (laptop.store.job(job.id).current_step or 0) > 3)
    (pod,) = runpod.account.pods.values()
    with runpod.account.lock:
        runpod.account.terminate(pod)
    (ended,) = await controller.settle([job.id])
    assert (ended.status, "its pod has ended" in (ended.error_message or "")) == (Status.FAILED, True)
    assert len(runpod.account.pods) == 1


async def test_a_stopped_pod_keeps_what_was_not_fetched_and_goes_on_when_it_is_resumed(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path
) -> None:
    controller = await laptop.open(steps=100, delay=0.05)
    job = await launched(controller, spec(data))
    await comes(lambda: (laptop.store.job(job.id).current_step or 0) > 6)
    (pod,) = runpod.account.pods.values()
    with runpod.account.lock:
        runpod.account.stop(pod)
    await comes(lambda: "is stopped" in controller.trouble)
    assert laptop.store.job(job.id).status == Status.RUNNING
    with runpod.account.lock:
        runpod.account.start(pod)
    assert (await controller.settle([job.id]))[0].status == Status.COMPLETED
    assert laptop.store.job(job.id).attempt == 2
    assert billing(runpod) == []


async def test_a_store_that_can_not_be_written_in_mid_launch_leaves_no_bill(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = await laptop.open()
    whole = laptop.store.update

    def full(job_id: str, **columns: Any) -> None:
        if runpod.account.pods:
            raise StoreError("the disk is full")
        whole(job_id, **columns)

    wanted = spec(data)
    quote = await controller.quote(wanted)
    monkeypatch.setattr(laptop.store, "update", full)
    with pytest.raises(StoreError, match="disk is full"):
        await controller.launch(wanted, quote=quote)
    assert (asked(runpod, CREATE), billing(runpod)) == (1, [])


async def test_a_disk_that_is_full_for_a_while_ends_neither_following_nor_the_end(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the job's last words are to be written here, and again when what it cost is."""
    failed = []

    def failing_once(whole: Callable[..., Any], error: Exception) -> Callable[..., Any]:
        def full(*given: Any) -> Any:
            if error not in failed and given[-1] != "":
                failed.append(error)
                raise error
            return whole(*given)

        return full

    full, broken = OSError(28, "No space left", "x"), StoreError("the store is full")
    monkeypatch.setattr("engine.controller.following.fetch", failing_once(fetch, full))
    monkeypatch.setattr("engine.controller.renting.mark", failing_once(phases.mark, broken))
    controller = await laptop.open()
    job = await launched(controller, spec(data))
    assert (await controller.settle([job.id]))[0].status == Status.COMPLETED
    assert failed == [full, broken]
    assert billing(runpod) == []


async def test_nobody_waits_for_a_pod_that_this_machine_has_stopped(
    laptop: Laptop, runpod: Emulator, machines: Machines, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Enforcement.__init__.__kwdefaults__, "pace", 0.2)  # type: ignore[arg-type]
    monkeypatch.setattr("engine.controller.renting.volume_of", lambda *what: "persistent")
    controller = await laptop.open(steps=5000)
    job = await launched(controller, spec(data))
    await comes(lambda: (laptop.store.job(job.id).current_step or 0) > 3)
    monkeypatch.setattr("engine.controller.enforcement.over", lambda *what: "the limit was reached")
    (ended,) = await controller.settle([job.id])
    assert ended.status == Status.FAILED
    assert "it was stopped, and its disk is kept" in (ended.error_message or "")
    (pod,) = runpod.account.pods.values()
    assert (billing(runpod), runpod.account.status(pod)) == ([], "EXITED")


async def comes(question: Any) -> None:
    await asyncio.to_thread(until, question)
