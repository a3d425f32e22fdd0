"""An account whose pods are real machines on loopback, and laptops that rent them for stand-in trainers."""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.controller import Controller, Pods
from engine.home import Home
from engine.job.spec import JobSpec
from engine.pods.patience import Patience
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from tests import standin
from tests.emulators.runpod import Clock, Emulator, Stages
from tests.emulators.runpod.contract import contract
from tests.emulators.runpod.machines import Machines


@pytest.fixture
def runpod(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """In real time, but in a hurry; a request that breaks the official description fails the test."""
    if contract() is None:
        pytest.skip("the official description of RunPod's API is not at hand")
    if getpass.getuser() != "root":
        pytest.skip("sshd on loopback lets only root in here")
    with Emulator(clock=Clock(speed=1.0)) as emulator:
        emulator.account.stages = brisk
        monkeypatch.setattr("engine.stream._QUIET", 0.5)
        monkeypatch.setenv("RUNPOD_API_KEY", emulator.account.key)
        monkeypatch.setenv("RUNPOD_API_BASE_URL", emulator.url)
        yield emulator
    assert emulator.violations == []


def brisk(**changes: Any) -> Stages:
    return Stages(**{"starting": 0.05, "running": 0.1, "ports": 0.2, **changes})


@pytest.fixture
def machines(runpod: Emulator, tmp_path: Path) -> Iterator[Machines]:
    inside = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with Machines(runpod, tmp_path / "machines", inside) as machines:
        yield machines


PATIENCE = Patience(
    backoff=0.05, longest_backoff=0.2, looks=(0, 0.1, 0.3), gone_polls=(0, 0.1, 0.3, 1), polls=(0.1,)
)


def spec(data: Path, **sections: Any) -> JobSpec:
    # A stand-in has no scores, so no checkpoint of it is the best.
    rent = {"fetch": ["last"], **sections.pop("rent", {})}
    values = {
        "name": "rented",
        "model": {"name": "m", "build": {}},
        "dataset": {"path": str(data)},
        "pod": {"provider": "runpod", "python": sys.executable, "folder": "~/.podium", "rent": rent},
        "limits": {"max_hours": 1},
        **sections,
    }
    return JobSpec.parse(values, "test")


class Laptop:
    """Controllers on one home, one after the other."""

    def __init__(self, store: SQLiteStore, home: Home) -> None:
        self.store, self.home = store, home
        self.opened: list[Controller] = []

    async def open(self, patience: Patience = PATIENCE, **trainer: Any) -> Controller:
        argv = standin.argv(**{"steps": 10, "weights": 1000, **trainer})
        pods = Pods(self.home, argv, ssh_config=[], keepalive=0.5, patience=patience)
        self.opened.append(Controller(self.store, self.home, pods))
        await self.opened[-1].start()
        return self.opened[-1]


@pytest.fixture
async def laptop(store: SQLiteStore, place: Home) -> AsyncIterator[Laptop]:
    laptop = Laptop(store, place)
    yield laptop
    for controller in laptop.opened:
        await controller.close()


async def launched(controller: Controller, wanted: JobSpec) -> Job:
    """As the command line does it, confirmed."""
    return await controller.launch(wanted, quote=await controller.quote(wanted))


def billing(runpod: Emulator) -> list[str]:
    """The pods that still cost something."""
    return [pod.id for pod in runpod.account.pods.values() if runpod.account.billing(pod)]


def asked(runpod: Emulator, pattern: str) -> int:
    """How many requests were of that kind."""
    return sum(bool(re.search(pattern, line)) for line in runpod.lines)
