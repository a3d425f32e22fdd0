"""Which pod a job is on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from engine.errors import PodError
from engine.home import Home
from engine.job.events import Phase
from engine.job.placement import PodSpec
from engine.pods.base import Pod
from engine.pods.local import LocalPod
from engine.pods.pins import FirstUse
from engine.pods.replay import ReplayPod
from engine.pods.ssh import SSHPod, unsaid
from engine.pods.ssh_address import SSHAddress
from engine.pods.ssh_connection import KEEPALIVE_SECONDS
from engine.records import Job

Note = Callable[[str, Phase, str], None]
"""Told what is being done for a job that is brought to its pod; may block."""

_KEPT: Final = ("host", "user", "port", "key", "python", "folder")


class Pods:
    """The pods of this session; each is made when it is first needed.

    Args:
        home: Where the job folders are.
        trainer: Another command than our trainer's; the job's folder is added to it.
        ssh_config: OpenSSH client configuration files; by default the user's.
        keepalive: Seconds between signs of life of SSH machines; three in silence are a loss.
    """

    def __init__(
        self,
        home: Home,
        trainer: Sequence[str] | None = None,
        *,
        ssh_config: Sequence[Path] | None = None,
        keepalive: float = KEEPALIVE_SECONDS,
    ) -> None:
        self._home = home
        self._local = LocalPod(home, trainer)
        self._replay = ReplayPod(home)
        self._ssh: dict[tuple[Any, ...], SSHPod] = {}
        self._options: dict[str, Any] = {
            "trainer": trainer, "config": ssh_config, "keepalive": keepalive,
        }  # fmt: skip
        self.note: Note = lambda job_id, phase, text: None
        """Who is told of progress on the way to a job's start."""
        self.first_use: FirstUse = unsaid
        """Who is told of a machine's key that is pinned."""

    def of(self, job: Job) -> Pod:
        """The pod of a job.

        Raises:
            PodError: There is no such provider.
        """
        if job.replay:
            return self._replay
        if job.provider in (None, "local"):
            return self._local
        if job.provider == "ssh":
            return self.ssh(job)
        raise PodError(f"{job.name}: unknown provider {job.provider}", "Update Podium on this machine.")

    def ssh(self, job: Job) -> SSHPod:
        """The SSH machine that a job is on; jobs on the same one share its connection.

        Raises:
            PodError: The job does not say on which it is.
        """
        spec = _placement(job)
        address = SSHAddress(spec.host or "", spec.user, spec.port, spec.key)
        place = (address, spec.python, spec.folder)
        if place not in self._ssh:
            self._ssh[place] = SSHPod(
                job.pod_id or str(address),
                address,
                self._home,
                python=spec.python,
                root=spec.folder,
                told=self._told,
                first_use=lambda pod_id, fingerprint: self.first_use(pod_id, fingerprint),
                **self._options,
            )
        return self._ssh[place]

    async def _told(self, job_id: str, phase: Phase, text: str) -> None:
        await asyncio.to_thread(self.note, job_id, phase, text)

    async def close(self) -> None:
        """Let go of all pods; what runs on them goes on."""
        await asyncio.gather(*(pod.close() for pod in self._ssh.values()))
        await self._replay.close()
        await self._local.close()


def _placement(job: Job) -> PodSpec:
    section = job.config.get("pod")
    given = section if isinstance(section, Mapping) else {}
    try:
        return PodSpec.model_validate(
            {"provider": "ssh", **{key: given[key] for key in _KEPT if key in given}}
        )
    except ValueError:
        raise PodError(f"{job.name}: it is not known which machine it is on") from None
