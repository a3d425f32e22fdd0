"""Which pod a job is on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from engine.errors import PodError
from engine.home import Home
from engine.job.events import Phase
from engine.job.placement import PodSpec
from engine.pods.attached import AttachedPod
from engine.pods.base import Pod
from engine.pods.local import LocalPod, Secrets
from engine.pods.patience import Patience
from engine.pods.pins import FirstUse
from engine.pods.placements import Placement, Placements
from engine.pods.provider import Provider, Rented
from engine.pods.replay import ReplayPod
from engine.pods.runpod_pod import RunPodPod
from engine.pods.ssh import SSHPod, unsaid
from engine.pods.ssh_address import SSHAddress
from engine.pods.ssh_connection import KEEPALIVE_SECONDS
from engine.pods.ssh_group import SSHGroup
from engine.records import Job

Note = Callable[[str, Phase, str], None]
"""Told what is being done for a job that is brought to its pod; may block."""

Known = Callable[[str, Rented, Placement], None]
"""Told of a job's rented pod when it is known or changes; may block."""

_KEPT: Final = ("host", "hosts", "user", "port", "key", "python", "folder")


class Pods:
    """The pods of this session; each is made when it is first needed.

    Args:
        home: Where the job folders are.
        trainer: Another command than our trainer's; the job's folder is added to it.
        ssh_config: OpenSSH client configuration files; by default the user's.
        keepalive: Seconds between signs of life of SSH machines; three in silence are a loss.
        patience: How long to wait for a provider, and how often to ask.
    """

    def __init__(
        self,
        home: Home,
        trainer: Sequence[str] | None = None,
        *,
        ssh_config: Sequence[Path] | None = None,
        keepalive: float = KEEPALIVE_SECONDS,
        patience: Patience | None = None,
    ) -> None:
        self._home = home
        self.secrets: Secrets = lambda job_id: {}
        """What tells a job's supervisor where it reports, and whom it alerts."""
        self.placements = Placements(home)
        self.patience = patience or Patience()
        self._rented: dict[str, RunPodPod] = {}
        self._providers: dict[str, Provider] = {}
        self._local = LocalPod(home, trainer, secrets=lambda job_id: self.secrets(job_id))
        self._replay = ReplayPod(home)
        self._attached: dict[str, AttachedPod] = {}
        self._ssh: dict[tuple[Any, ...], SSHPod] = {}
        self._groups: dict[str, SSHGroup] = {}
        self._options: dict[str, Any] = {
            "trainer": trainer, "config": ssh_config, "keepalive": keepalive,
            "secrets": lambda job_id: self.secrets(job_id),
        }  # fmt: skip
        self.note: Note = lambda job_id, phase, text: None
        """Who is told of progress on the way to a job's start."""
        self.first_use: FirstUse = unsaid
        """Who is told of a machine's key that is pinned."""
        self.known: Known = lambda job_id, pod, placement: None
        """Who is told of rented pods."""

    def of(self, job: Job) -> Pod:
        """The pod of a job.

        Raises:
            PodError: There is no such provider.
        """
        if job.replay:
            return self._replay
        if job.attached:
            return self._watched(job)
        if job.provider in (None, "local"):
            return self._local
        if job.provider == "ssh":
            return self._group(job) or self.ssh(job)
        if job.provider == "runpod":
            return self.rented(job.id)
        raise PodError(f"{job.name}: unknown provider {job.provider}", "Update Podium on this machine.")

    def _watched(self, job: Job) -> AttachedPod:
        """What watches a job that is somebody else's."""
        if job.id not in self._attached:
            machine = self.ssh(job) if job.provider == "ssh" else None
            self._attached[job.id] = AttachedPod(self._home, machine)
        return self._attached[job.id]

    def ssh(self, job: Job) -> SSHPod:
        """The SSH machine that a job is on, the first of several; jobs on the same one share its connection.

        Raises:
            PodError: The job does not say on which it is.
        """
        spec = self._where(job)
        address = _addresses(spec)[0]
        return self._machine(spec, address, str(address) if spec.hosts else job.pod_id or str(address))

    def _group(self, job: Job) -> SSHGroup | None:
        """The machines that a job is on, where they are several."""
        spec = self._where(job)
        if len(spec.hosts) < 2:
            return None
        if job.id not in self._groups:
            machines = [self._machine(spec, address, str(address)) for address in _addresses(spec)]
            self._groups[job.id] = SSHGroup(machines, self._home, **meeting_of(job.config))
        return self._groups[job.id]

    def _where(self, job: Job) -> PodSpec:
        kept = self.placements.of(job.id)
        return kept.pod if kept is not None else _placement(job)

    def _machine(self, spec: PodSpec, address: SSHAddress, pod_id: str) -> SSHPod:
        place = (address, spec.python, spec.folder)
        if place not in self._ssh:
            self._ssh[place] = SSHPod(
                pod_id,
                address,
                self._home,
                python=spec.python,
                root=spec.folder,
                told=self._told,
                first_use=lambda pod_id, fingerprint: self.first_use(pod_id, fingerprint),
                **self._options,
            )
        return self._ssh[place]

    def rented(self, job_id: str) -> RunPodPod:
        """The rented pod of a job.

        Raises:
            PodError: Nothing is kept of it on this machine.
        """
        if job_id not in self._rented:
            placement = self.placements.of(job_id)
            if placement is None:
                raise PodError(
                    f"the run {job_id[:8]} was launched from another machine: nothing here tells where it is",
                    "`podium pods` shows what the account runs.",
                )
            backend = placement.pod.rent.backend if placement.pod.rent else "rest"
            first_use = lambda pod_id, fingerprint: self.first_use(pod_id, fingerprint)  # noqa: E731
            self._rented[job_id] = RunPodPod(
                placement,
                self.placements,
                self._home,
                lambda: self.provider(backend),
                self.patience,
                told=self._told,
                changed=self._changed,
                options={**self._options, "first_use": first_use},
            )
        return self._rented[job_id]

    async def machine(self, job: Job) -> SSHPod:
        """The SSH machine that a job is on, rented or not.

        Raises:
            PodError: It can't be found, or reached.
        """
        return await self.rented(job.id).reach() if job.provider == "runpod" else self.ssh(job)

    def provider(self, backend: Literal["rest", "sdk"] = "rest") -> Provider:
        """Who rents out, with the account of this machine's user.

        Raises:
            Unauthorized: There is no usable key.
        """
        from engine.pods.runpod_account import connect

        if backend not in self._providers:
            self._providers[backend] = connect(backend, self.patience)
        return self._providers[backend]

    async def _changed(self, job_id: str, pod: Rented, placement: Placement) -> None:
        await asyncio.to_thread(self.known, job_id, pod, placement)

    async def _told(self, job_id: str, phase: Phase, text: str) -> None:
        await asyncio.to_thread(self.note, job_id, phase, text)

    async def close(self) -> None:
        """Let go of all pods; what runs on them goes on."""
        await asyncio.gather(*(watched.close() for watched in self._attached.values()))
        machines: tuple[Any, ...] = (*self._ssh.values(), *self._rented.values(), *self._providers.values())
        await asyncio.gather(*(each.close() for each in machines))
        await self._replay.close()
        await self._local.close()


def meeting_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Where a job's spec says that its machines meet."""
    section = config.get("distributed")
    given = section if isinstance(section, Mapping) else {}
    return {name: given.get(name) for name in ("address", "port")}


def _addresses(spec: PodSpec) -> list[SSHAddress]:
    """The machines, in order; what an address leaves out is the section's."""
    if not spec.hosts:
        return [SSHAddress(spec.host or "", spec.user, spec.port, spec.key)]
    given = [SSHAddress.parse(host) for host in spec.hosts]
    return [SSHAddress(one.host, one.user or spec.user, one.port or spec.port, spec.key) for one in given]


def _placement(job: Job) -> PodSpec:
    section = job.config.get("pod")
    given = section if isinstance(section, Mapping) else {}
    try:
        return PodSpec.model_validate(
            {"provider": "ssh", **{key: given[key] for key in _KEPT if key in given}}
        )
    except ValueError:
        raise PodError(f"{job.name}: it is not known which machine it is on") from None
