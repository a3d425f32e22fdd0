"""This machine tells of pods that nobody needs, and of machines that nobody hears of; once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.controller import alerting
from engine.controller.lookout import LOST, STRAYS, Lookout
from engine.controller.pods import Pods
from engine.home import Home
from engine.job.events import EventType, Status
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from engine.stream import Link
from tests.emulators.receiver import Receiver
from tests.emulators.runpod import Clock, Emulator
from tests.processes import events_of


@pytest.fixture
def runpod(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with Emulator(clock=Clock()) as emulator:
        monkeypatch.setenv("RUNPOD_API_KEY", emulator.account.key)
        monkeypatch.setenv("RUNPOD_API_BASE_URL", emulator.url)
        yield emulator


class Bench:
    """A lookout whose clock the test turns."""

    def __init__(self, home: Path) -> None:
        self.home, self.now = Home(home), 0.0
        self.home.create()
        self.store = SQLiteStore(self.home.database)
        self.pods = Pods(self.home)
        self.links: dict[str, Link] = {}
        self.lookout = Lookout(self.store, self.home, self.pods, lambda: self.links, lambda: self.now)

    async def look(self, seconds: float) -> None:
        self.now += seconds
        await self.lookout.look()


@pytest.fixture
async def bench(home: Path) -> AsyncIterator[Bench]:
    bench = Bench(home)
    yield bench
    await bench.pods.close()
    bench.store.close()


@pytest.fixture
def there(bench: Bench) -> Iterator[Receiver]:
    with Receiver() as there:
        alerting.place(bench.home).write_text(f"channels: [{{name: team, kind: slack, url: '{there.url}'}}]")
        yield there


def rent(runpod: Emulator, name: str) -> str:
    gpu = {"id": "NVIDIA L40S", "count": 1}
    return str(runpod.account.rent({"name": name, "image": "i", "gpu": gpu, "cloud": "SECURE"}).id)


async def test_a_stray_pod_is_told_of_once_each_with_its_price(
    runpod: Emulator, bench: Bench, there: Receiver
) -> None:
    rent(runpod, "podium-known")
    rent(runpod, "somebody-elses")
    strays = [rent(runpod, "podium-lost"), rent(runpod, "podium-gone")]
    job = Job(id="known", name="run", status=Status.RUNNING, created_at=datetime.now(UTC))
    bench.store.add(job)
    for _ in range(3):
        await bench.look(STRAYS)
    told = [got.json()["text"] for got in there.got]
    assert len(told) == 2
    assert all(any(stray in text for text in told) for stray in strays)
    assert all("/h: podium pods reap" in text for text in told)
    delivered = [
        event for event in events_of(bench.home.laptop / "events.jsonl") if event.type == EventType.DELIVERY
    ]
    assert [event.data["ok"] for event in delivered] == [True, True]


async def test_a_machine_that_can_not_be_reached_for_long_is_told_of_and_one_that_is_back_is_not(
    bench: Bench, there: Receiver
) -> None:
    bench.lookout._strays_due = float("inf")
    for name in ("a", "b"):
        job = Job(id=name, name=f"run-{name}", status=Status.RUNNING, created_at=datetime.now(UTC))
        bench.store.add(job)
    bench.links = {"a": "reconnecting", "b": "reconnecting"}
    await bench.look(0)
    bench.links["b"] = "live"
    await bench.look(LOST / 2)
    bench.links["b"] = "reconnecting"
    await bench.look(LOST / 2)
    await bench.look(20)
    [told] = [got.json()["text"] for got in there.got]
    assert "run-a" in told and "10 min" in told
    alerts = [
        event for event in events_of(bench.home.laptop / "events.jsonl") if event.type == EventType.ALERT
    ]
    assert len(alerts) == 1


async def test_what_could_not_be_delivered_is_delivered_at_a_later_look(
    bench: Bench, there: Receiver
) -> None:
    bench.lookout._strays_due = float("inf")
    job = Job(id="a", name="run-a", status=Status.RUNNING, created_at=datetime.now(UTC))
    bench.store.add(job)
    bench.links = {"a": "reconnecting"}
    await bench.look(0)
    there.down()
    await bench.look(LOST)
    bench.links = {}
    there.up()
    await bench.look(20)
    assert len(there.got) == 1
