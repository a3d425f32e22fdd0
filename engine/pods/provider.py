"""Who rents out machines: what every provider can do, and the values that it speaks in.

A pod is rented under a unique name, `podium-<job>`. The name is what makes a rental safe to ask for
twice: what bears the name is found and adopted, never rented a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

Cloud = Literal["secure", "community"]
Product = Literal["pod", "cluster"]
Stock = Literal["none", "low", "medium", "high", "unknown"]
PodStatus = Literal["provisioning", "starting", "running", "stopped", "error", "terminated", "unknown"]

PREFIX = "podium-"
"""What the names of our pods begin with."""


def pod_name(job_id: str) -> str:
    """The name of the pod, or cluster, that a job runs on."""
    return f"{PREFIX}{job_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One GPU type in one cloud, as the catalog has it now. A price and a stock are no reservation."""

    gpu_id: str
    gpu_name: str
    manufacturer: str = "NVIDIA"
    memory_gb: float
    """Of one GPU."""
    price_per_hour: float
    """Dollars for one GPU; what is billed in the end is on the pod."""
    stock: Stock
    """For the count that was asked for."""
    cloud: Cloud
    max_count: int
    """The most GPUs that one machine of this type has."""
    data_centers: tuple[str, ...] = ()
    """Where it is in stock; empty when the provider does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    """One GPU type to rent, in one cloud; sizes in GB.

    Args:
        name: Unique: `pod_name(job)`.
        data_centers: Where; empty lets the provider choose.
        min_cuda: The oldest CUDA that the host's driver must support, such as `12.8`.
        disk_gb: The container's disk, lost on a stop.
        volume_gb: A disk of the host that survives a stop; none with a network volume.
        network_volume_id: A volume that outlives the pod; it binds the pod to its data centre.
        mount_path: Where either volume is mounted.
        env: The container's environment. It holds secrets: it is never shown.
        public_key: Who may log in, as a line of authorized_keys.
        args: Arguments for the image's entry point; empty keeps what the image does, sshd included.
    """

    name: str
    image: str
    gpu_id: str
    gpu_count: int = 1
    cloud: Cloud = "secure"
    data_centers: tuple[str, ...] = ()
    min_cuda: str | None = None
    disk_gb: int = 50
    volume_gb: int | None = None
    network_volume_id: str | None = None
    mount_path: str = "/workspace"
    ports: tuple[str, ...] = ("22/tcp",)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    public_key: str | None = None
    args: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """`env`, with the key that the official images take for their authorized_keys."""
        return {**({"PUBLIC_KEY": self.public_key} if self.public_key else {}), **self.env}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a pod's own sshd listens, reachable directly."""

    host: str
    port: int
    user: str = "root"


@dataclass(frozen=True, slots=True)
class GpuUse:
    """How busy one GPU is, in percent, by the provider's reckoning."""

    utilization_percent: float | None
    memory_percent: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rented:
    """A pod as the provider sees it now; None where it does not tell.

    An address is no readiness: only a command that succeeded is.
    """

    id: str
    name: str
    status: PodStatus
    price_per_hour: float | None = None
    """Dollars for the whole pod; 0 while it is stopped, storage aside."""
    gpu_id: str | None = None
    gpu_name: str | None = None
    gpu_count: int | None = None
    """0 when it runs without any, as happens after a stop."""
    cloud: Cloud | None = None
    data_center: str | None = None
    ssh: Address | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    uptime_seconds: float | None = None
    gpus: tuple[GpuUse, ...] = ()
    locked: bool = False
    cluster_id: str | None = None
    rank: int | None = None
    """Among the nodes of its cluster, from 0."""
    private_ip: str | None = None
    """On its cluster's own network."""
    members: tuple[Rented, ...] = ()
    """The pods, in order of rank, of what is a cluster."""

    @property
    def gone(self) -> bool:
        """Has it ended for good?"""
        return self.status == "terminated"

    @property
    def job_id(self) -> str | None:
        """The job that its name belongs to, if the name is one of ours."""
        return self.name.removeprefix(PREFIX) if self.name.startswith(PREFIX) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Several like pods with a network of their own; `pods` in order of rank as far as it is known."""

    id: str
    name: str
    nodes: int
    gpu_id: str
    gpus_per_node: int
    pods: tuple[Rented, ...] = ()
    data_center: str | None = None
    created_at: datetime | None = None

    @property
    def price_per_hour(self) -> float | None:
        """Dollars for all its pods; None while some are missing or unpriced."""
        prices = [pod.price_per_hour for pod in self.pods if pod.price_per_hour is not None]
        return sum(prices) if len(prices) == self.nodes else None

    def as_pod(self) -> Rented:
        """All of it as one pod: billed together, reached at its first, and running when all of them are."""
        there = [pod for pod in self.pods if not pod.gone]
        first = next((pod for pod in there if pod.rank == 0), None)
        seated = {pod.rank for pod in there if pod.private_ip} == set(range(self.nodes))
        states = [pod.status for pod in there if pod.status != "running" or pod.ssh is None or not seated]
        status: PodStatus = next((state for state in states if state == "error"), "starting")
        if len(there) == self.nodes and not states:
            status = "running"
        return Rented(
            id=self.id,
            name=self.name,
            status=status,
            price_per_hour=self.price_per_hour,
            gpu_id=self.gpu_id,
            gpu_name=self.gpu_id.removeprefix("NVIDIA "),
            gpu_count=self.nodes * self.gpus_per_node,
            data_center=self.data_center,
            ssh=first.ssh if first else None,
            created_at=self.created_at,
            gpus=tuple(use for pod in there for use in pod.gpus),
            private_ip=first.private_ip if first else None,
            members=tuple(there),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A network volume: it outlives its pods, and bills until it is deleted."""

    id: str
    name: str
    size_gb: int
    data_center: str


class Provider(Protocol):
    """Rents out machines.

    Every call has a time-out. Reads are repeated with backoff; writes never blindly: what became of
    one whose answer was lost is looked up.

    Raises:
        ProviderError: Its kind says what to do: see engine.errors.
    """

    async def offers(self, *, count: int = 1, product: Product = "pod") -> tuple[Offer, ...]:
        """The catalog now, with stock for `count` GPUs a machine; what isn't offered at all is left out."""
        ...

    async def create(self, request: CreateRequest) -> Rented:
        """Rent a pod, or adopt the one that bears this name already; it is not ready yet.

        Raises:
            AnswerLost: It may have been rented. Calling again with the same name adopts it if so.
        """
        ...

    async def get(self, pod_id: str) -> Rented | None:
        """The pod now; None if there is no such pod (any more)."""
        ...

    async def list(self) -> tuple[Rented, ...]:
        """Every pod that the account has, a cluster's nodes included."""
        ...

    async def stop(self, pod_id: str) -> Rented:
        """Release the GPUs and keep the disk of the volume; the GPUs may not be had back."""
        ...

    async def start(self, pod_id: str) -> Rented:
        """Start a stopped pod again; look at `gpu_count`, which may have become 0."""
        ...

    async def terminate(self, pod_id: str) -> None:
        """End the pod and its disks for good, and return when the provider confirms that it is gone.

        A pod that is gone already is no error.

        Raises:
            NotGone: It is still listed after a minute.
        """
        ...

    async def create_cluster(self, request: CreateRequest, nodes: int) -> Cluster:
        """Rent `nodes` like pods as one cluster, or adopt the one of that name."""
        ...

    async def cluster(self, cluster_id: str) -> Cluster | None:
        """The cluster now, with its pods; None if there is none (any more)."""
        ...

    async def clusters(self) -> tuple[Cluster, ...]:
        """Every cluster that the account has, without their pods."""
        ...

    async def terminate_cluster(self, cluster_id: str) -> None:
        """End a cluster with all its pods, and return when the provider confirms it, as `terminate`."""
        ...

    async def volumes(self) -> tuple[Volume, ...]:
        """Every network volume that the account has."""
        ...

    async def create_volume(self, name: str, size_gb: int, data_center: str) -> Volume:
        """Rent a network volume, or adopt the one of that name in that data centre."""
        ...

    async def delete_volume(self, volume_id: str) -> None:
        """Delete a network volume with all that is on it; one that is gone already is no error."""
        ...

    async def close(self) -> None:
        """Let go of connections; what was rented stays rented."""
        ...
