"""A job's folder with a real supervisor process on it; whatever was started is ended by its id."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.job.events import Event, EventType
from engine.job.folder import JobFolder, read_json, write_json
from engine.supervisor.process import end_leftovers
from tests.processes import events_of, until

BRISK = Path(__file__).with_name("brisk.py")


class Bench:
    """One job's folder and the supervisors that the test starts on it."""

    def __init__(self, path: Path) -> None:
        self.folder = JobFolder(path)
        self.folder.create()
        self.spec()
        self.started: list[subprocess.Popen[bytes]] = []

    def spec(self, **sections: Any) -> None:
        write_json(self.folder.spec, {"name": "test", **sections})

    def start(self, trainer: list[str], slot: Path | None = None, **timing: Any) -> subprocess.Popen[bytes]:
        pace = timing.pop("pace", {})
        options = {"trainer": trainer, "slot": slot and str(slot), "timing": timing, "pace": pace}
        process = subprocess.Popen(
            [sys.executable, str(BRISK), str(self.folder.path), json.dumps(options)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        self.started.append(process)
        return process

    def run(self, trainer: list[str], slot: Path | None = None, **timing: Any) -> list[Event]:
        """Supervise to the end, and return all events."""
        assert self.start(trainer, slot, **timing).wait(60) == 0
        return self.events()

    def events(self, type: EventType | None = None) -> list[Event]:
        return [event for event in events_of(self.folder.events) if type in (None, event.type)]

    def statuses(self) -> list[str]:
        return [event.data["status"] for event in self.events(EventType.STATE)]

    def alerts(self) -> list[str]:
        return [event.data["alert"] for event in self.events(EventType.ALERT)]

    def exit(self) -> dict[str, Any]:
        return read_json(self.folder.exit)

    def trainer_pid(self) -> int:
        """The pid of the trainer that runs now, as it says itself."""
        lines = [line for line in self.folder.log.read_text().splitlines() if " pid " in line]
        return int(lines[-1].split()[-1])

    def await_step(self, step: int) -> None:
        until(
            lambda: any((event.step or 0) >= step for event in self.events(EventType.TRAIN)), f"step {step}"
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "job")
    yield bench
    end(bench)


def end(bench: Bench) -> None:
    for process in bench.started:
        if process.poll() is None:
            process.kill()
            process.wait()
    end_leftovers(bench.folder, None, None, grace=0)
