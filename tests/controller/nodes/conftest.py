"""Two machines of one's own over SSH, each with a GPU that nvidia-smi tells of."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.home import Home
from engine.job.folder import JobFolder
from engine.job.spec import JobSpec
from engine.supervisor.process import end_leftovers
from tests.controller.conftest import kill_supervisor
from tests.emulators.runpod.machines import NVIDIA_SMI
from tests.emulators.sshd import Server, keygen, sshd


class Hosts:
    """Two servers that let the same key in; each has a home, and so a Podium folder, of its own."""

    def __init__(self, folder: Path) -> None:
        self.key = folder / "id_ed25519"
        folder.mkdir()
        keygen(self.key)
        self.servers = [self._server(folder / f"host-{node}") for node in range(2)]

    def _server(self, folder: Path) -> Server:
        tools = folder / "bin"
        tools.mkdir(parents=True)
        tool = tools / "nvidia-smi"
        tool.write_text(NVIDIA_SMI.format(python=sys.executable, gpus=1))
        tool.chmod(0o755)
        inside = {"HOME": str(folder), "PATH": f"{tools}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        server = sshd(folder, inside)
        server.authorize(self.key.with_suffix(".pub").read_text())
        return server

    def pod(self, **settings: Any) -> dict[str, Any]:
        named = [f"root@127.0.0.1:{server.port}" for server in self.servers]
        return {
            "provider": "ssh", "hosts": named, "key": str(self.key), "python": sys.executable, **settings,
        }  # fmt: skip

    def spec(self, data: Path, **sections: Any) -> JobSpec:
        values = {
            "name": "together",
            "model": {"name": "m"},
            "dataset": {"path": str(data)},
            "pod": self.pod(),
            "limits": {"stall_minutes": None},
            **sections,
        }
        return JobSpec.parse(values, "test")

    def home(self, node: int) -> Home:
        return Home(self.servers[node].folder / ".podium")

    def job(self, node: int, job_id: str) -> JobFolder:
        return self.home(node).job(job_id)

    def jobs(self, node: int) -> list[JobFolder]:
        """The jobs that a machine knows by now."""
        there = self.home(node)
        return [there.job(folder.name) for folder in there.jobs.iterdir()] if there.jobs.exists() else []

    def end(self) -> None:
        for node, server in enumerate(self.servers):
            server.stop()
            there = self.home(node)
            for job in self.jobs(node):
                kill_supervisor(there, job.path.name)
                end_leftovers(job, None, None, grace=0)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    if getpass.getuser() != "root":
        pytest.skip("sshd on loopback lets only root in here")
    hosts = Hosts(tmp_path / "hosts")
    yield hosts
    hosts.end()
