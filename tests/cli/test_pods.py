"""`podium pods`: what the account runs, against the emulated provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from engine.home import Home
from engine.job.events import Status
from engine.pods.provider import CreateRequest, Rented
from engine.pods.runpod_rest import RunPodREST
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from tests.conftest import Podium
from tests.emulators.runpod import Emulator


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
