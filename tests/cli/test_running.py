"""Stop, pause and resume from the command line, on a real supervisor with a stand-in for the trainer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.controller import Controller, Pods
from engine.home import Home
from engine.job.events import EventType
from engine.job.sections import DatasetSpec, ModelSpec
from engine.job.spec import JobSpec
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from engine.supervisor.locks import held
from tests import standin
from tests.cli.recorded import GOOD, record, told
from tests.conftest import Podium
from tests.processes import events_of, until


@pytest.fixture
def running(home: Path, tmp_path: Path) -> Iterator[Job]:
    """A run that goes on for a minute unless somebody stops it."""
    data = tmp_path / "data.jsonl"
    data.write_text(
        "".join(json.dumps({"prompt": f"{at}?", "completion": f"{at}!"}) + "\n" for at in range(20))
    )
    spec = JobSpec(name="long", model=ModelSpec(name="none"), dataset=DatasetSpec(path=str(data)))
    place = Home(home)
    place.create()
    store = SQLiteStore(place.database)

    async def launch() -> Job:
        controller = Controller(store, place, Pods(place, standin.argv(steps=600, delay=0.1)))
        try:
            return await controller.launch(spec)
        finally:
            await controller.close()

    job = asyncio.run(launch())
    store.close()
    folder = place.job(job.id)
    until(lambda: EventType.TRAIN in {event.type for event in events_of(folder.events)}, "its first step")
    yield job
    folder.request("stop")
    until(lambda: not held(folder.lock), "the end of its supervisor")


def test_stop_waits_until_the_run_has_saved_and_left(podium: Podium, running: Job) -> None:
    (job,) = told(podium("stop", "long", "--json").stdout)["jobs"]
    assert job["id"] == running.id
    assert job["status"] == "cancelled"
    (checkpoint, *_) = told(podium("checkpoints", "long", "--json").stdout)["checkpoints"]
    assert checkpoint["step"] > 0


def test_pause_waits_until_the_run_waits(podium: Podium, running: Job) -> None:
    result = podium("pause", "long")
    assert result.returncode == 0
    assert "long is paused at step" in result.stdout
    assert told(podium("show", "long", "--json").stdout)["job"]["status"] == "paused"


def test_stop_can_ask_and_return(podium: Podium, running: Job, home: Path) -> None:
    result = podium("stop", "long", "--no-wait")
    assert result.returncode == 0
    until(Home(home).job(running.id).exit.exists, "its end")
    assert told(podium("show", "long", "--json").stdout)["job"]["status"] == "cancelled"


def test_other_limits_are_granted_and_shown(podium: Podium, running: Job, home: Path) -> None:
    assert podium("limits", "long", "--max-hours", "2").returncode == 2  # nobody confirmed it
    assert podium("limits", "long", "--yes").returncode == 2
    assert podium("limits", "long", "--max-cost", "nan", "--yes").returncode == 2
    assert podium("limits", "long", "--max-hours", "2", "--yes").returncode == 0
    until(Home(home).job(running.id).limits.exists, "the grant")
    until(
        lambda: told(podium("show", "long", "--json").stdout)["job"]["config"]["limits"]["max_hours"] == 2,
        "the event",
    )


@pytest.mark.parametrize("command", ["stop", "pause", "resume"])
def test_a_run_that_has_ended_can_be_asked_for_nothing(podium: Podium, home: Path, command: str) -> None:
    record(home, "done", GOOD)
    result = podium(command, "done")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "done is completed" in line
