"""A home with a store and some data; every supervisor and trainer that a test leaves is ended by its id."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.controller import Controller, Pods
from engine.home import Home
from engine.store.sqlite import SQLiteStore
from engine.supervisor.locks import holder
from engine.supervisor.process import end_leftovers
from tests import standin
from tests.emulators.sshd import Server
from tests.processes import gone, until


@pytest.fixture
def place(home: Path) -> Iterator[Home]:
    place = Home(home)
    place.create()
    yield place
    end_all(place)


@pytest.fixture
def store(place: Home) -> Iterator[SQLiteStore]:
    store = SQLiteStore(place.database)
    yield store
    store.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    rows = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Session:
    """Controllers on one home, with stand-in trainers; closed at the end of the test."""

    def __init__(self, store: SQLiteStore, home: Home) -> None:
        self.store, self.home = store, home
        self.opened: list[Controller] = []

    async def open(self, **trainer: object) -> Controller:
        pods = Pods(self.home, standin.argv(**(trainer or {"steps": 10})))
        controller = Controller(self.store, self.home, pods)
        self.opened.append(controller)
        await controller.start()
        return controller


@pytest.fixture
async def session(store: SQLiteStore, place: Home) -> AsyncIterator[Session]:
    session = Session(store, place)
    yield session
    for controller in session.opened:
        await controller.close()


def kill_supervisor(home: Home, job_id: str) -> None:
    pid = holder(home.job(job_id).lock)
    if pid is not None and pid != os.getpid():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        until(lambda: gone(pid))


def end_all(home: Home) -> None:
    """End whatever jobs still run in a home, here or on a loopback machine."""
    for folder in home.jobs.iterdir() if home.jobs.exists() else ():
        kill_supervisor(home, folder.name)
        end_leftovers(home.job(folder.name), None, None, grace=0)


def pod_section(server: Server) -> dict[str, Any]:
    """A loopback machine as the spec names it."""
    return {
        "provider": "ssh",
        "host": "127.0.0.1",
        "user": "root",
        "port": server.port,
        "key": str(server.key),
        "python": sys.executable,
        "folder": str(server.root),
    }
