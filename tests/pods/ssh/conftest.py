"""Pods that are real SSH servers on loopback; servers and what runs on them are ended by process id."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.home import Home
from engine.pods.ssh import SSHPod
from engine.pods.ssh_address import SSHAddress
from engine.supervisor.process import end_leftovers
from tests.controller.conftest import kill_supervisor
from tests.emulators.sshd import Server, sshd

Connect = Callable[..., SSHPod]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = sshd(tmp_path / "server")
    yield server
    server.stop()
    there = Home(server.root)
    for folder in there.jobs.iterdir() if there.jobs.exists() else ():
        kill_supervisor(there, folder.name)
        end_leftovers(there.job(folder.name), None, None, grace=0)


@pytest.fixture
def here(home: Path) -> Home:
    here = Home(home)
    here.create()
    return here


@pytest.fixture
async def connect(server: Server, here: Home) -> AsyncIterator[Connect]:
    made: list[SSHPod] = []

    def connect(to: Server = server, **options: Any) -> SSHPod:
        address = SSHAddress("127.0.0.1", "root", to.port, str(to.key))
        given = {"python": sys.executable, "root": str(to.root), "config": [], **options}
        made.append(SSHPod(given.pop("id", "pod-1"), given.pop("address", address), here, **given))
        return made[-1]

    yield connect
    for pod in made:
        await pod.close()
