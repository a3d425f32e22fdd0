"""RunPod's REST v2 in JSON: the bodies that we send, and the models of what it answers.

Fields that we don't use are ignored, unknown words become `unknown`, and what may be missing may be missing:
an answer is refused only if it can't be understood at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from engine.pods.provider import (
    Address,
    Cloud,
    Cluster,
    CreateRequest,
    GpuUse,
    Offer,
    PodStatus,
    Rented,
    Stock,
    Volume,
)

_STATUS: dict[str, PodStatus] = {
    "PROVISIONING": "provisioning",
    "STARTING": "starting",
    "RUNNING": "running",
    "EXITED": "stopped",
    "ERROR": "error",
    "TERMINATED": "terminated",
}
_STOCK: dict[str | None, Stock] = {"NONE": "none", "LOW": "low", "MEDIUM": "medium", "HIGH": "high"}
CLOUDS: dict[Literal["SECURE", "COMMUNITY"], Cloud] = {"SECURE": "secure", "COMMUNITY": "community"}


def container(request: CreateRequest) -> dict[str, Any]:
    """What a pod and a cluster's pods have in common."""
    body: dict[str, Any] = {
        "name": request.name,
        "image": request.image,
        "disk": request.disk_gb,
        "ports": list(request.ports),
        "env": request.environment,
        "startSsh": True,
    }
    if request.args:
        body["args"] = request.args
    if request.data_centers:
        body["dataCenterIds"] = list(request.data_centers)
    if request.network_volume_id:
        body["mounts"] = {"network": [{"volumeId": request.network_volume_id, "path": request.mount_path}]}
    elif request.volume_gb:
        body["mounts"] = {"persistent": {"size": request.volume_gb, "path": request.mount_path}}
    return body


def pod_body(request: CreateRequest) -> dict[str, Any]:
    """`POST /v2/pods`."""
    gpu: dict[str, Any] = {"id": request.gpu_id, "count": request.gpu_count}
    if request.min_cuda:
        gpu["minCudaVersion"] = request.min_cuda
    return {**container(request), "gpu": gpu, "cloud": request.cloud.upper()}


def cluster_body(request: CreateRequest, nodes: int) -> dict[str, Any]:
    """`POST /v2/clusters`; it takes neither a cloud nor a CUDA floor."""
    compute = {"gpuTypeId": request.gpu_id, "gpuCountPerPod": request.gpu_count, "podCount": nodes}
    return {**container(request), "type": "TRAINING", "compute": compute}


def utc(time: datetime | None) -> datetime | None:
    """The time with its zone; without one it is UTC."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class _Endpoint(_Wire):
    host: str
    port: int
    username: str = "root"


class _Ssh(_Wire):
    direct: _Endpoint | None = None


class _Gpu(_Wire):
    id: str
    count: int = 1


class _Use(_Wire):
    util: float | None = None
    memory_util: float | None = None


class _Runtime(_Wire):
    uptime: float | None = None
    gpus: tuple[_Use, ...] | None = None


class _Seat(_Wire):
    id: str
    rank: int | None = None
    ip: str | None = None


class PodWire(_Wire):
    """A pod."""

    id: str
    name: str = ""
    status: str
    gpu: _Gpu | None = None
    cloud: str | None = None
    data_center_id: str | None = None
    ssh: _Ssh | None = None
    cluster: _Seat | None = None
    cost: float | None = None
    locked: bool = False
    runtime: _Runtime | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None

    def rented(self) -> Rented:
        """The same as a value of ours."""
        runtime, seat = self.runtime or _Runtime(), self.cluster
        direct = self.ssh.direct if self.ssh else None
        return Rented(
            id=self.id,
            name=self.name,
            status=_STATUS.get(self.status, "unknown"),
            price_per_hour=self.cost,
            gpu_id=self.gpu.id if self.gpu else None,
            gpu_name=self.gpu.id.removeprefix("NVIDIA ") if self.gpu else None,
            gpu_count=self.gpu.count if self.gpu else 0,
            cloud={"SECURE": "secure", "COMMUNITY": "community"}.get(self.cloud or ""),  # type: ignore[arg-type]
            data_center=self.data_center_id,
            ssh=Address(direct.host, direct.port, direct.username) if direct else None,
            created_at=utc(self.created_at),
            started_at=utc(self.started_at),
            uptime_seconds=runtime.uptime,
            gpus=tuple(GpuUse(use.util, use.memory_util) for use in runtime.gpus or ()),
            locked=self.locked,
            cluster_id=seat.id if seat else None,
            rank=seat.rank if seat else None,
            private_ip=seat.ip if seat else None,
        )


class PodsWire(_Wire):
    """A list of pods."""

    pods: tuple[PodWire, ...]


class _Compute(_Wire):
    gpu_type_id: str
    gpu_count_per_pod: int
    pod_count: int


class ClusterWire(_Wire):
    """A cluster."""

    id: str
    name: str = ""
    compute: _Compute
    data_center_id: str | None = None
    created_at: datetime | None = None

    def cluster(self, pods: tuple[Rented, ...] = ()) -> Cluster:
        """The same as a value of ours, with its pods in order of rank."""
        seats = sorted(pods, key=lambda pod: (pod.rank is None, pod.rank or 0, pod.id))
        return Cluster(
            id=self.id,
            name=self.name,
            nodes=self.compute.pod_count,
            gpu_id=self.compute.gpu_type_id,
            gpus_per_node=self.compute.gpu_count_per_pod,
            pods=tuple(seats),
            data_center=self.data_center_id,
            created_at=utc(self.created_at),
        )


class ClustersWire(_Wire):
    """A list of clusters."""

    clusters: tuple[ClusterWire, ...]


class VolumeWire(_Wire):
    """A network volume."""

    id: str
    name: str
    size: int
    data_center: str

    def volume(self) -> Volume:
        """The same as a value of ours."""
        return Volume(id=self.id, name=self.name, size_gb=self.size, data_center=self.data_center)


class VolumesWire(_Wire):
    """A list of network volumes."""

    network_volumes: tuple[VolumeWire, ...]


class _PerCloud(_Wire):
    secure: float = 0
    community: float = 0


class _DataCenter(_Wire):
    id: str
    availability: str = "NONE"


class _GpuType(_Wire):
    id: str
    name: str
    manufacturer: str = "UNKNOWN"
    memory: float
    secure: bool = False
    community: bool = False
    price: _PerCloud
    max_count: _PerCloud = _PerCloud()
    availability: str | None = None
    data_centers: tuple[_DataCenter, ...] = ()


class CatalogWire(_Wire):
    """The GPU types, with stock in one cloud."""

    gpus: tuple[_GpuType, ...]

    def offers(self, cloud: Cloud) -> Iterator[Offer]:
        """What that cloud has."""
        for gpu in self.gpus:
            if not getattr(gpu, cloud):
                continue
            yield Offer(
                gpu_id=gpu.id,
                gpu_name=gpu.name,
                manufacturer=gpu.manufacturer,
                memory_gb=gpu.memory,
                price_per_hour=getattr(gpu.price, cloud),
                stock=_STOCK.get(gpu.availability, "unknown"),
                cloud=cloud,
                max_count=int(getattr(gpu.max_count, cloud)),
                data_centers=tuple(place.id for place in gpu.data_centers if place.availability != "NONE"),
            )


class ProblemWire(_Wire):
    """An error: problem+json."""

    title: str = ""
    detail: str = ""
    errors: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Its words."""
        return "; ".join([(self.detail or self.title).rstrip("."), *self.errors])
