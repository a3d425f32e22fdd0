"""The laptop ends a pod whose guard did not, through the provider; nothing here runs on the pod."""

from __future__ import annotations

import math
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.analysis.snapshot import Question
from engine.controller.enforcement import Enforcement
from engine.controller.pods import Pods
from engine.controller.renting import Renting
from engine.errors import NoSuchPod, NotGone, PodError, PodLost
from engine.home import Home
from engine.job.events import Event, EventType, Status, encode
from engine.job.placement import PodSpec
from engine.pods.patience import Patience
from engine.pods.pins import Pins
from engine.pods.placements import Placement, Placements, Seat
from engine.pods.provider import Address
from engine.pods.sign import last_sign
from engine.records import Job
from engine.snapshots import take
from engine.store.sqlite import SQLiteStore
from engine.supervisor.locks import Lock
from tests.emulators.runpod import Clock, Emulator, Fault, Pod, Stages, rest

NOW = datetime.now(UTC)


@pytest.fixture
def runpod(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with Emulator(clock=Clock()) as emulator:
        monkeypatch.setenv("RUNPOD_API_KEY", emulator.account.key)
        monkeypatch.setenv("RUNPOD_API_BASE_URL", emulator.url)
        yield emulator
    assert emulator.violations == []


class Bench:
    """A job on a rented pod, as this laptop knows it."""

    def __init__(self, runpod: Emulator, home: Path) -> None:
        self.runpod, self.home = runpod, Home(home)
        self.home.create()
        self.store = SQLiteStore(self.home.database)
        clock = runpod.account.clock
        self.pods = Pods(self.home, patience=Patience(sleep=clock.sleep, clock=clock.now, polls=(120,)))
        self.told: list[str] = []
        self.late = 0.0
        self.renting = renting = Renting(self.store, self.home, self.pods, self._fetch)
        self.enforcement = Enforcement(
            self.store,
            self.home,
            self.pods,
            stop=renting.stop,
            end=renting.end,
            told=self._told,
            clock=lambda: time.monotonic() + self.late,
        )

    async def _fetch(self, job_id: str, which: str) -> None:
        raise PodError("the disk there is broken")

    async def _told(self, job_id: str, why: str) -> None:
        self.told.append(why)

    def job(
        self, *, hours_ago: float, limits: dict[str, Any], folder: str = "/root/p", step: int | None = 7
    ) -> Pod:
        account = self.runpod.account
        asked = {
            "name": "podium-j",
            "image": "i",
            "gpu": {"id": "NVIDIA L40S", "count": 1},
            "cloud": "SECURE",
        }
        pod = account.rent(asked)
        account.clock.advance(60)
        spec = PodSpec(provider="runpod", folder=folder)
        config = {"limits": limits, "pod": {"provider": "runpod"}}
        job = Job(id="j", name="j", status=Status.RUNNING, created_at=NOW, provider="runpod", config=config)
        self.store.add(job)
        self.store.update("j", current_step=step)
        self.pods.placements.keep(
            Placement(
                job_id="j",
                pod=spec,
                asked_at=datetime.now(UTC) - timedelta(hours=hours_ago),
                pod_id=pod.id,
                price_per_hour=1.0,
                retrieve_minutes=0,
            )
        )
        return pod

    def beat(self, *, hours: float, proven_s: float = 5.0, heard: float = 0.0, off: float = 0.0) -> None:
        """A heartbeat that came `heard` seconds ago, from a pod whose clock is `off` hours wrong."""
        folder = self.home.job("j")
        folder.create()
        ts = datetime.now(UTC) + timedelta(hours=off)
        guard = {"hours": hours, "proven_s": proven_s}
        folder.events.write_bytes(encode(Event(1, ts, 1, EventType.HEARTBEAT, None, {"guard": guard})))
        at = datetime.now(UTC).timestamp() - heard
        os.utime(folder.events, (at, at))


@pytest.fixture
async def bench(runpod: Emulator, home: Path) -> AsyncIterator[Bench]:
    bench = Bench(runpod, home)
    yield bench
    await bench.pods.close()
    bench.store.close()


async def test_a_pod_within_its_limits_is_let_be_and_nobody_asks_the_provider(bench: Bench) -> None:
    pod = bench.job(hours_ago=1, limits={"max_hours": 2})
    await bench.enforcement.look()
    assert pod.events == ["created"]
    assert bench.runpod.lines == []


@pytest.mark.parametrize("limits", [{"max_hours": 2}, {"max_cost_usd": 2.0}])
async def test_a_pod_over_its_limits_is_ended_and_proven_gone(bench: Bench, limits: dict[str, Any]) -> None:
    pod = bench.job(hours_ago=2.2, limits={**limits, "retrieve_minutes": 0})
    await bench.enforcement.look()
    assert pod.events[-1] == "terminated"
    assert "reached, and its guard did not end the pod: it was terminated, and is gone" in bench.told[0]
    kept = bench.pods.placements.of("j")
    assert kept is not None
    assert not kept.may_bill
    await bench.enforcement.look()
    assert len(bench.told) == 1


async def test_what_nobody_fetched_is_kept_on_the_pods_own_disk(bench: Bench) -> None:
    pod = bench.job(hours_ago=9, limits={"max_hours": 2}, folder="/workspace/podium")
    await bench.enforcement.look()
    assert pod.events[-1] == "stopped"
    assert "its disk is kept" in bench.told[0]


async def test_a_pod_that_is_resumed_to_be_fetched_from_is_let_be_for_a_while(bench: Bench) -> None:
    pod = bench.job(hours_ago=9, limits={"max_hours": 2}, folder="/workspace/podium")
    kept, account = bench.pods.placements.of("j"), bench.runpod.account
    assert kept is not None
    bench.pods.placements.keep(replace(kept, retrieve_minutes=30))
    bench.store.update("j", status=Status.CANCELLED)
    account.stop(pod)
    account.start(pod)
    account.clock.advance(60)
    await bench.enforcement.look()
    assert pod.events[-1] == "started"
    bench.pods.placements.keep(replace(kept, retrieve_minutes=0))
    await bench.enforcement.look()
    assert pod.events[-1] == "stopped"


@pytest.mark.parametrize(("folder", "end"), [("/workspace/podium", "stopped"), ("/root/p", "terminated")])
async def test_what_can_not_be_fetched_in_time_is_not_deleted_where_it_has_a_disk(
    bench: Bench, folder: str, end: str
) -> None:
    pod = bench.job(hours_ago=1, limits={}, folder=folder)
    bench.store.update("j", status=Status.COMPLETED)
    await bench.renting.wind_up("j")
    assert pod.events[-1] == end
    assert ("keeps its disk" in bench.renting.trouble.get("j", "")) == (end == "stopped")


async def test_the_guards_own_clock_counts_and_the_pods_wall_clock_does_not(bench: Bench) -> None:
    """Nine hours since it was asked for, an hour of them paid; the pod's clock is five hours fast."""
    pod = bench.job(hours_ago=9, limits={"max_hours": 2, "retrieve_minutes": 0})
    bench.beat(hours=1, off=5)
    await bench.enforcement.look()
    assert pod.events == ["created"]
    bench.beat(hours=1, heard=1.2 * 3600, off=-7)
    await bench.enforcement.look()
    await bench.enforcement.look()
    assert pod.events[-1] == "terminated"


async def test_a_clock_of_this_machine_that_is_put_forward_ends_nothing(bench: Bench) -> None:
    pod = bench.job(hours_ago=1, limits={"max_hours": 2, "retrieve_minutes": 0})
    bench.beat(hours=1, heard=9 * 3600)
    await bench.enforcement.look()
    bench.beat(hours=1.01)
    await bench.enforcement.look()
    bench.beat(hours=1.02, heard=9 * 3600)
    await bench.enforcement.look()
    assert pod.events == ["created"]


async def test_a_pod_that_came_after_its_launch_was_given_up_is_ended_while_the_app_is_open(
    bench: Bench,
) -> None:
    """Its request was never answered, and it is under no id here; nobody else looks before the next start."""
    bench.job(hours_ago=0, limits={"max_hours": 2}, step=None)
    kept = bench.pods.placements.of("j")
    assert kept is not None
    bench.pods.placements.keep(replace(kept, pod_id=None))
    bench.store.update("j", status=Status.FAILED)
    (pod,) = bench.runpod.account.pods.values()
    await bench.enforcement.look()
    assert pod.events[-1] == "terminated"
    assert list(bench.pods.placements.open()) == []
    (bench.home.machine("j") / "placement.json").unlink()


async def test_one_that_can_not_be_looked_at_keeps_nobody_from_looking_at_the_others(bench: Bench) -> None:
    pod = bench.job(hours_ago=9, limits={"max_hours": 2})
    first = bench.pods.placements.of("j")
    assert first is not None
    bench.pods.placements.keep(replace(first, job_id="gone"))

    def broken(job_id: str) -> Any:
        raise OSError(28, "No space left on device", "somewhere")

    whole = bench.store.job
    bench.store.job = lambda job_id: broken(job_id) if job_id == "gone" else whole(job_id)  # type: ignore[method-assign]
    await bench.enforcement.look()
    assert "No space left" in bench.enforcement.trouble["gone"]
    assert pod.events[-1] == "terminated"


async def test_a_provider_that_is_down_when_a_pod_is_to_be_stopped_is_asked_until_it_is(bench: Bench) -> None:
    pod = bench.job(hours_ago=1, limits={}, folder="/workspace/podium")
    bench.store.update("j", status=Status.COMPLETED)
    bench.runpod.fault(r"/action", Fault(500), 12)
    await bench.renting.wind_up("j")
    assert pod.events[-1] == "stopped"


@pytest.mark.parametrize("listed", [True, False])
async def test_a_pod_that_is_listed_is_not_gone_because_one_answer_says_so(
    bench: Bench, listed: bool
) -> None:
    """Who gave it up forgot its key, and let it bill."""
    pod = bench.job(hours_ago=1, limits={})
    if not listed:
        bench.runpod.account.terminate(pod)
    bench.runpod.fault(rf"GET /v2/pods/{pod.id}", Fault(404, "pod not found"), 99)
    found = await bench.pods.rented("j").state()
    assert (found is not None) == listed
    kept = bench.pods.placements.of("j")
    assert kept is not None
    assert kept.may_bill == listed


async def test_what_another_process_has_rented_meanwhile_is_known(bench: Bench) -> None:
    """An app that was opened before a command asked for the pod took it for a launch that was cut off."""
    pod = bench.job(hours_ago=1, limits={})
    whole = bench.pods.placements.of("j")
    assert whole is not None
    bench.pods.placements.keep(replace(whole, pod_id=None, asked_at=None))
    mine = bench.pods.rented("j")
    bench.pods.placements.keep(replace(whole, address=Address("10.0.0.1", 22)))
    assert (await mine.find()).id == pod.id
    kept = bench.pods.placements.of("j")
    assert kept is not None and kept.address is not None and kept.may_bill


async def test_a_pod_that_has_trained_is_not_ended_because_it_does_not_come_up_again(bench: Bench) -> None:
    """What it made may be there alone."""
    bench.runpod.account.stages = lambda: Stages(ports=math.inf)
    pod = bench.job(hours_ago=1, limits={})
    bench.beat(hours=1)
    with pytest.raises(PodLost, match="not ready within"):
        await bench.pods.rented("j").ready()
    assert pod.events == ["created"]


async def test_another_start_of_a_pod_that_nobody_saw_brings_another_host_key(bench: Bench) -> None:
    """Stopped and started in the provider's console while this machine was off."""
    pod = bench.job(hours_ago=1, limits={})
    begun = datetime.fromtimestamp(int(pod.started + pod.stages.running), UTC)
    kept, pins = bench.pods.placements.of("j"), Pins(bench.home.host_keys)
    assert kept is not None
    bench.pods.placements.keep(replace(kept, started_at=begun))
    pins.pin(pod.id, "ssh-ed25519 AAAA")
    for restarted in (False, True):
        if restarted:
            bench.runpod.account.stop(pod)
            bench.runpod.account.start(pod)
            bench.runpod.account.clock.advance(600)
        with pytest.raises(PodLost, match="no address"):
            await bench.pods.rented("j").reach()
        assert (pins.known(pod.id) is None) == restarted


async def test_a_pod_that_is_listed_is_not_proven_gone_by_a_provider_that_knows_nothing(bench: Bench) -> None:
    pod = bench.job(hours_ago=1, limits={})
    bench.runpod.fault(rf"(GET|DELETE) /v2/pods/{pod.id}", Fault(404, "pod not found"), 99)
    with pytest.raises(NotGone, match="still listed"):
        await bench.renting.end("j", "enough")
    kept = bench.pods.placements.of("j")
    assert kept is not None and kept.may_bill


async def test_a_disk_that_is_full_keeps_no_pod_alive(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = bench.job(hours_ago=1, limits={})

    def full(self: Placements, placement: Placement) -> Placement:
        raise PodError("placement.json: can't be written (No space left on device)")

    monkeypatch.setattr(Placements, "keep", full)
    with pytest.raises(PodError, match="No space left"):
        await bench.renting.end("j", "enough")
    assert pod.events[-1] == "terminated"


@pytest.mark.parametrize(("off", "proven"), [(0, 5), (5, 5), (-7, 90)])
def test_when_the_guard_was_last_proven_is_told_on_this_machines_clock(
    bench: Bench, off: float, proven: float
) -> None:
    bench.home.job("j").create()
    bench.beat(hours=1, proven_s=proven, heard=60, off=off)
    sign = last_sign(bench.home.job("j").events)
    assert sign is not None
    assert sign.proven_at is not None
    assert (datetime.now(UTC) - sign.proven_at).total_seconds() == pytest.approx(60 + proven, abs=30)
    assert sign.hours == 1


@pytest.mark.parametrize("guard", [None, {}, {"proven_s": "NaN"}, {"proven_s": -1, "hours": 1e99}, [1], "x"])
def test_a_hostile_sign_is_no_sign(bench: Bench, guard: Any) -> None:
    folder = bench.home.job("j")
    folder.create()
    beat = Event(1, NOW, 1, EventType.HEARTBEAT, None, {"guard": guard})
    folder.events.write_bytes(b"\xff\n" + encode(beat) + b'{"torn')
    sign = last_sign(folder.events)
    assert sign is not None
    assert (sign.proven_at, sign.hours) == (None, None)


@pytest.mark.parametrize("year", [1, 9999])
def test_a_sign_with_impossible_times_breaks_nothing(bench: Bench, year: int) -> None:
    folder = bench.home.job("j")
    folder.create()
    beat = Event(1, NOW, 1, EventType.HEARTBEAT, None, {"guard": {"hours": 1}})
    later = Event(2, datetime(year, 6, 1, tzinfo=UTC), 1, EventType.TRAIN, 1, {})
    folder.events.write_bytes(encode(beat) + encode(later))
    sign = last_sign(folder.events)
    assert sign is not None and sign.hours == 1


async def test_a_pod_that_is_still_being_brought_its_data_is_not_taken_for_a_silent_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = rest._runtime
    monkeypatch.setattr(rest, "_runtime", lambda *what: {**shown(*what), "gpus": [{"util": 0}]})
    pod = bench.job(hours_ago=1, limits={"max_hours": 20, "stall_minutes": 30})
    launching = Lock(bench.home.launching("j"))
    assert launching.take()
    for bench.late in (0, 40 * 60):
        await bench.enforcement.look()
    assert pod.events == ["created"]
    launching.release()
    bench.late = 71 * 60
    await bench.enforcement.look()
    assert pod.events[-1] == "terminated"


async def test_a_machine_that_broke_and_is_neither_running_nor_stopped_is_given_up(bench: Bench) -> None:
    pod = bench.job(hours_ago=1, limits={"stall_minutes": 30})
    pod.stages.running = math.inf
    bench.beat(hours=1)
    for bench.late in (0, 40 * 60):
        await bench.enforcement.look()
    assert pod.events == ["created"]
    bench.late = 121 * 60
    await bench.enforcement.look()
    assert pod.events[-1] == "terminated"


async def test_a_cluster_whose_first_machine_is_gone_is_ended(bench: Bench) -> None:
    """With it went all that the run had; the others bill, and can't end themselves."""
    account = bench.runpod.account
    bench.job(hours_ago=1, limits={})
    compute = {"gpuTypeId": "NVIDIA L40S", "gpuCountPerPod": 1, "podCount": 2}
    made = account.rent_cluster({"name": "podium-j", "image": "i", "type": "TRAINING", "compute": compute})
    account.clock.advance(60)
    first, second = account.nodes(made["id"])
    seats = tuple(Seat(pod_id=pod.id, address=Address("10.0.0.1", 22)) for pod in (first, second))
    kept = bench.pods.placements.of("j")
    assert kept is not None
    there = replace(kept, pod_id=made["id"], nodes=2, seats=seats, address=seats[0].address)
    bench.pods.placements.keep(there)
    with pytest.raises(PodLost):
        await bench.pods.rented("j").reach()
    account.terminate(first, with_cluster=True)
    with pytest.raises(NoSuchPod, match="its first machine is gone"):
        await bench.pods.rented("j").reach()
    assert (second.events[-1], account.clusters) == ("terminated", {})


async def test_a_silent_pod_with_idle_gpus_is_given_up_and_a_busy_one_is_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = {"util": 90, "memoryUtil": 50}
    shown = rest._runtime
    monkeypatch.setattr(rest, "_runtime", lambda *what: {**shown(*what), "gpus": [use]})
    pod = bench.job(hours_ago=1, limits={"max_hours": 20, "stall_minutes": 30})
    bench.beat(hours=1)
    await bench.enforcement.look()
    bench.late = 40 * 60
    await bench.enforcement.look()
    assert pod.events == ["created"]
    use["util"] = 0
    await bench.enforcement.look()
    assert pod.events[-1] == "terminated"
    assert "nothing was heard from it for 40 minutes, its GPUs idle" in bench.told[0]


async def test_a_provider_that_is_down_is_told_and_asked_again(bench: Bench) -> None:
    pod = bench.job(hours_ago=9, limits={"max_hours": 2})
    bench.runpod.down = True
    await bench.enforcement.look()
    assert bench.enforcement.trouble["j"]
    bench.runpod.down = False
    await bench.enforcement.look()
    assert pod.events[-1] == "terminated"
    assert bench.enforcement.trouble == {}


def test_the_screens_are_told_by_this_machines_clock(bench: Bench) -> None:
    bench.job(hours_ago=1, limits={})
    bench.beat(hours=1, proven_s=12, off=-7)
    folder = bench.home.job("j")
    bench.store.ingest("j", folder.events.read_bytes(), 0)
    detail = take(bench.store, bench.home, Question(job_id="j"), {}).job
    assert detail is not None
    assert detail.guard_proven_at is not None
    assert detail.job.last_heartbeat_at is not None
    assert abs(datetime.now(UTC) - detail.guard_proven_at) < timedelta(seconds=60)
    assert abs(datetime.now(UTC) - detail.job.last_heartbeat_at) < timedelta(seconds=60)
    assert "stalled" not in {flag.name for flag in detail.flags}
