"""The emulated account's pods as real machines: an OpenSSH server each, a fake nvidia-smi, the real guard.

    with Emulator(clock=Clock(speed=1)) as runpod, Machines(runpod, tmp_path) as machines: …

A pod's server lets in the key that it was created with and no other. Its first process is what the request
says: our start command, with the environment that RunPod gives a container.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from engine.home import Home
from engine.job.folder import JobFolder
from engine.supervisor.process import end_leftovers
from tests.emulators.runpod.account import Pod
from tests.emulators.runpod.container import Container
from tests.emulators.runpod.server import Emulator
from tests.emulators.sshd import Server, sshd

NVIDIA_SMI = """\
#!{python} -IS
# Prints real-format rows: of a query, the fields that it asks for.
import sys
FIGURES = {{
    "timestamp": "2026/11/21 13:00:00.000", "name": "NVIDIA GeForce RTX 4090", "utilization.gpu": "97",
    "memory.used": "1021", "memory.total": "24564", "temperature.gpu": "61", "power.draw": "[N/A]",
}}
asked = [word.partition("=")[2] for word in sys.argv[1:] if word.startswith("--query-gpu=")]
for index in range({gpus}):
    row = {{**FIGURES, "index": str(index)}}
    print(", ".join(row.get(field, "[N/A]") for field in asked[0].split(",")))
"""


class Machines:
    """The machines of an account's pods.

    Args:
        runpod: The emulator.
        folder: Where their files are.
        environment: What their sessions have besides.
        guarded: Does the start command run?
    """

    def __init__(
        self,
        runpod: Emulator,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        *,
        guarded: bool = True,
    ) -> None:
        self.runpod, self.folder, self.guarded = runpod, folder, guarded
        self.environment = dict(environment or {})
        self.servers: dict[str, Server] = {}
        self._containers: dict[str, Container] = {}

    def __enter__(self) -> Machines:
        self.runpod.account.watchers.append(self._watch)
        self.runpod.account.endpoint = lambda pod: ("127.0.0.1", self.servers[pod.id].port)
        return self

    def __exit__(self, *_: object) -> None:
        for identifier in list(self.servers):
            self._off(identifier)

    def root(self, identifier: str) -> Path:
        """Podium's folder on a pod, for `pod.folder` of `~/.podium`."""
        return self.servers[identifier].folder / ".podium"

    def job(self, identifier: str, job_id: str) -> JobFolder:
        return JobFolder(self.root(identifier) / "jobs" / job_id)

    def _watch(self, event: str, pod: Pod) -> None:
        if event in ("created", "started"):
            self._on(pod)
        else:
            self._off(pod.id)

    def _on(self, pod: Pod) -> None:
        """Boot: the container's disk is there, sshd comes up, the first process runs."""
        folder = self.folder / pod.id
        tools = folder / "bin"
        tools.mkdir(parents=True, exist_ok=True)
        tool = tools / "nvidia-smi"
        tool.write_text(NVIDIA_SMI.format(python=sys.executable, gpus=self.runpod.account.gpus(pod)))
        tool.chmod(0o755)
        inside = {
            **self.environment,
            "HOME": str(folder),
            "PATH": f"{tools}:{os.environ['PATH']}",
        }
        if pod.id in self.servers:
            # Another container on the same volume: host keys are made per container.
            self.servers[pod.id].new_host_key()
            self.servers[pod.id].start()
        else:
            self.servers[pod.id] = sshd(folder, inside)
        server = self.servers[pod.id]
        server.authorize(pod.spec.get("env", {}).get("PUBLIC_KEY", ""))
        if self.guarded and pod.spec.get("args"):
            if (before := self._containers.pop(pod.id, None)) is not None:
                before.end()
            # There is an sshd already: the image's start has nothing to do.
            container = Container(self.runpod, pod, folder, image_start="#!/bin/sh\n", environment=inside)
            self._containers[pod.id] = container
            container.start()

    def _off(self, identifier: str) -> None:
        """The machine is switched off: everything on it dies at once."""
        container = self._containers.pop(identifier, None)
        if container is not None:
            container.end()
        server = self.servers.get(identifier)
        if server is None:
            return
        server.stop()
        there = Home(server.folder / ".podium")
        for pid in server.started():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for folder in there.jobs.iterdir() if there.jobs.exists() else ():
            end_leftovers(there.job(folder.name), None, None, grace=0)
