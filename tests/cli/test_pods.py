"""`podium pods`: what the account runs, against the emulated provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from engine.analysis.snapshot import Question
from engine.errors import Unauthorized
from engine.home import Home
from engine.job.events import Status
from engine.pods.provider import CreateRequest, Rented
from engine.pods.runpod_rest import RunPodREST
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from tests.conftest import Podium
from tests.emulators.runpod import Emulator
from tui.desk import EngineDesk
from tui.run_wishes import EndPod, StopPod


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with Emulator() as emulator:
        monkeypatch.setenv("RUNPOD_API_KEY", emulator.account.key)
        monkeypatch.setenv("RUNPOD_API_BASE_URL", emulator.url)
        yield emulator
    assert emulator.violations == []


def rent(emulator: Emulator, name: str) -> Rented:
    async def create() -> Rented:
        provider = RunPodREST(SecretStr(emulator.account.key))
        try:
            gpu = "NVIDIA GeForce RTX 4090"
            return await provider.create(CreateRequest(name=name, image="runpod/pytorch:1.0.7", gpu_id=gpu))
        finally:
            await provider.close()

    return asyncio.run(create())


def test_pods_of_runs_and_strays_are_told_apart_with_their_price(
    podium: Podium, account: Emulator, home: Path
) -> None:
    ours, stray = rent(account, "podium-a"), rent(account, "podium-b")
    Home(home).create()
    store = SQLiteStore(Home(home).database)
    job = Job(id="a", name="support", status=Status.COMPLETED, created_at=datetime.now(UTC), pod_id=ours.id)
    store.add(job)
    store.close()
    done = podium("pods", "--json")
    assert done.returncode == 0, done.stderr
    found = {pod["id"]: pod for pod in json.loads(done.stdout)["pods"]}
    assert {name: pod["job_id"] for name, pod in found.items()} == {ours.id: "a", stray.id: None}
    assert found[stray.id]["cost_per_hour"] == stray.price_per_hour
    shown = podium("pods").stdout
    assert "support" in shown and "stray" in shown
    assert "1 of 2 belong to no run here" in shown
    assert account.account.key not in done.stdout + done.stderr + shown


def test_an_account_that_runs_nothing_says_so(podium: Podium, account: Emulator) -> None:
    assert podium("pods").stdout == "The account runs nothing.\n"


def test_without_a_key_it_is_said_how_to_get_one(podium: Podium, tmp_path: Path) -> None:
    done = podium("pods", env={"RUNPOD_API_KEY": "", "HOME": str(tmp_path)})
    assert done.returncode == 1
    assert "RUNPOD_API_KEY" in done.stderr
    assert done.stderr.count("\n") == 1


def add_job(home: Path, **columns: object) -> SQLiteStore:
    Home(home).create()
    store = SQLiteStore(Home(home).database)
    facts = {"id": "a", "name": "support", "status": Status.COMPLETED, "created_at": datetime.now(UTC)}
    store.add(Job(**{**facts, **columns}))  # type: ignore[arg-type]
    return store


def test_a_pod_is_known_by_its_name_alone_and_says_how_old_and_idle_it_is(
    podium: Podium, account: Emulator, home: Path
) -> None:
    """As after a laptop that died before it knew the id."""
    rent(account, "podium-a")
    account.account.clock.advance(7200)
    add_job(home, status=Status.PENDING).close()
    (pod,) = json.loads(podium("pods", "--json").stdout)["pods"]
    assert (pod["job_id"], pod["job_status"], pod["reapable"]) == ("a", "pending", False)
    assert {"age_seconds", "idle_seconds", "cost_so_far"} <= set(pod)


def test_a_run_whose_pod_is_terminated_by_hand_is_over_and_volumes_are_shown(
    podium: Podium, account: Emulator, home: Path
) -> None:
    pod = rent(account, "podium-a")
    add_job(home, status=Status.RUNNING, pod_id=pod.id).close()
    account.account.rent_volume({"name": "models", "size": 100, "dataCenter": "US-KS-2"})
    assert "models (100 GB, US-KS-2)" in podium("pods").stdout
    assert podium("pods", "terminate", pod.id, "--yes").returncode == 0
    (job,) = json.loads(podium("jobs", "--json").stdout)["jobs"]
    assert (job["status"], job["pod_status"]) == ("cancelled", "terminated")
    assert "terminated by the user" in job["error_message"]


def test_reap_shows_and_does_nothing_until_it_is_told_to(
    podium: Podium, account: Emulator, home: Path
) -> None:
    ended, live, stray, foreign = (
        rent(account, name) for name in ("podium-a", "podium-b", "podium-x", "somebody-else")
    )
    store = add_job(home)
    store.add(Job(id="b", name="other", status=Status.RUNNING, created_at=datetime.now(UTC)))
    store.close()
    dry = podium("pods", "reap")
    assert dry.returncode == 0
    assert "Nothing was done" in dry.stdout
    assert ended.id in dry.stdout and stray.id in dry.stdout
    assert live.id not in dry.stdout and foreign.id not in dry.stdout
    assert not any(line.startswith("DELETE") for line in account.lines)
    done = podium("pods", "reap", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert {pod["id"]: pod["gone"] for pod in json.loads(done.stdout)["pods"]} == {
        ended.id: True,
        stray.id: True,
    }
    left = {pod.id for pod in account.account.pods.values() if account.account.there(pod)}
    assert left == {live.id, foreign.id}
    assert "nothing to reap" in podium("pods", "reap", "--yes").stdout


def test_a_pod_is_stopped_resumed_and_terminated_and_only_when_that_is_confirmed(
    podium: Podium, account: Emulator
) -> None:
    pod = rent(account, "podium-x")
    refused = podium("pods", "terminate", pod.id)
    assert (refused.returncode, "has to be confirmed" in refused.stderr) == (2, True)
    assert podium("pods", "stop", pod.id, "--yes").stdout == "podium-x is stopped.\n"
    assert account.account.status(account.account.pods[pod.id]) == "EXITED"
    assert podium("pods", "resume", "podium-x", "--yes").returncode == 0
    assert account.account.status(account.account.pods[pod.id]) != "EXITED"
    ended = podium("pods", "terminate", pod.id[:6], "--yes", "--json")
    assert json.loads(ended.stdout)["pods"][0]["gone"]
    assert not account.account.there(account.account.pods[pod.id])
    unknown = podium("pods", "terminate", pod.id, "--yes")
    assert (unknown.returncode, "there is no pod" in unknown.stderr) == (2, True)


def test_the_panel_of_the_app_shows_the_same_pods_and_ends_one_with_its_run(
    account: Emulator, home: Path
) -> None:
    """What `p` on the History screen asks its desk for."""
    ours, stray = rent(account, "podium-a"), rent(account, "podium-b")
    add_job(home, status=Status.COMPLETED, pod_id=ours.id).close()

    async def use() -> None:
        desk = EngineDesk(Home(home))
        await desk.open(lambda: None)
        try:
            rented = await desk.account()
            known = {pod.id: pod for pod in rented.pods}
            assert known.keys() == {ours.id, stray.id}
            assert known[ours.id].run == "support (completed)" and known[stray.id].stray
            assert known[stray.id].reapable and rented.strays == 1
            assert desk.take(Question()).totals.strays == 1
            assert rented.per_hour == pytest.approx((ours.price_per_hour or 0) + (stray.price_per_hour or 0))
            await desk.carry_out(StopPod(known[stray.id]))
            assert {pod.id: pod.status for pod in (await desk.account()).pods}[stray.id] == "stopped"
            for pod in known.values():
                assert await desk.carry_out(EndPod(pod)) == f"{pod.name} is gone."
            assert (await desk.account()).pods == ()
            assert desk.take(Question()).jobs[0].pod_status == "terminated"
        finally:
            await desk.close()

    asyncio.run(use())


def test_without_a_key_the_panel_says_how_to_get_one(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "")
    monkeypatch.setenv("HOME", str(tmp_path))

    async def use() -> None:
        desk = EngineDesk(Home(home))
        await desk.open(lambda: None)
        try:
            with pytest.raises(Unauthorized, match="RUNPOD_API_KEY"):
                await desk.account()
        finally:
            await desk.close()

    asyncio.run(use())
