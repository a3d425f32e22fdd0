"""RunPod's GraphQL in the SDK's words: what we pass to it, and the pods and prices that it hands over.

The SDK pastes what it is given into its queries: everything is escaped or checked here first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from engine.errors import BadRequest
from engine.pods.provider import Address, Cloud, CreateRequest, Offer, PodStatus, Rented, Stock, Volume

_CLOUDS: tuple[Cloud, ...] = ("secure", "community")
OFFERS = """
query GpuTypes {
  gpuTypes {
    id displayName manufacturer memoryInGb secureCloud communityCloud securePrice communityPrice maxGpuCount
    secure: lowestPrice(input: {gpuCount: %(count)d, secureCloud: true}) {
      stockStatus uninterruptablePrice
    }
    community: lowestPrice(input: {gpuCount: %(count)d, secureCloud: false}) {
      stockStatus uninterruptablePrice
    }
  }
}
"""
"""The catalog with stock, which the SDK's own queries leave out."""
_CUDA = (*(f"12.{minor}" for minor in range(10)), "13.0", "13.1", "13.2")
"""The API takes a list of versions where we have a floor."""
_STOCK: dict[str | None, Stock] = {None: "none", "low": "low", "medium": "medium", "high": "high"}
_STATUS: dict[str, PodStatus] = {
    "CREATED": "provisioning",
    "RESTARTING": "starting",
    "EXITED": "stopped",
    "PAUSED": "stopped",
    "DEAD": "error",
    "TERMINATED": "terminated",
}


def arguments(request: CreateRequest) -> dict[str, Any]:
    """The request as arguments of the SDK's `create_pod`, ready to be put between quotes."""
    for name in request.environment:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise BadRequest(
                f"{name[:100]!r} is no name of an environment variable", "Correct the job's pod section."
            )
    floor = _version(request.min_cuda) if request.min_cuda else None
    return {
        "name": _escaped(request.name),
        "image_name": _escaped(request.image),
        "gpu_type_id": _escaped(request.gpu_id),
        "gpu_count": request.gpu_count,
        "cloud_type": request.cloud.upper(),
        "data_center_id": _escaped(request.data_centers[0]) if request.data_centers else None,
        "container_disk_in_gb": request.disk_gb,
        "volume_in_gb": 0 if request.network_volume_id else request.volume_gb or 0,
        "network_volume_id": request.network_volume_id and _escaped(request.network_volume_id),
        "volume_mount_path": _escaped(request.mount_path),
        "ports": _escaped(",".join(request.ports)),
        "docker_args": _escaped(request.args),
        "env": {name: _escaped(value) for name, value in request.environment.items()},
        "allowed_cuda_versions": [item for item in _CUDA if _version(item) >= floor] if floor else None,
    }


def _escaped(text: str) -> str:
    """Fit for a GraphQL string: its escapes are JSON's."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _version(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d{1,3}\.\d{1,3}", text):
        raise BadRequest(f"{text!r} is no CUDA version such as 12.8", "Correct the job's pod section.")
    return tuple(int(part) for part in text.split("."))


def offers(gpus: Iterable[dict[str, Any]]) -> Iterator[Offer]:
    """The catalog's GPU types, once for each cloud that has them."""
    for gpu in gpus:
        for cloud in _CLOUDS:
            if gpu.get(f"{cloud}Cloud"):
                yield _offer(gpu, cloud)


def volume(item: dict[str, Any]) -> Volume:
    """A network volume."""
    return Volume(id=item["id"], name=item["name"], size_gb=item["size"], data_center=item["dataCenterId"])


def _offer(gpu: dict[str, Any], cloud: Cloud) -> Offer:
    lowest = gpu.get(cloud) or {}
    return Offer(
        gpu_id=gpu["id"],
        gpu_name=gpu["displayName"],
        manufacturer=str(gpu.get("manufacturer") or "UNKNOWN").upper(),
        memory_gb=gpu["memoryInGb"],
        price_per_hour=gpu.get(f"{cloud}Price") or lowest.get("uninterruptablePrice") or 0,
        stock=_STOCK.get((lowest.get("stockStatus") or "").lower() or None, "unknown"),
        cloud=cloud,
        max_count=gpu.get("maxGpuCount") or 1,
    )


def rented(pod: dict[str, Any] | None) -> Rented | None:
    """A pod as the SDK hands it over; None for one that is not there."""
    if pod is None:
        return None
    runtime, wanted = pod.get("runtime"), str(pod.get("desiredStatus"))
    running: PodStatus = "running" if runtime else "starting"
    ports = (runtime or {}).get("ports") or []
    direct = [port for port in ports if port.get("privatePort") == 22 and port.get("isIpPublic")]
    return Rented(
        id=pod["id"],
        name=pod.get("name") or "",
        status=running if wanted == "RUNNING" else _STATUS.get(wanted, "unknown"),
        price_per_hour=pod.get("costPerHr") if wanted == "RUNNING" else 0,
        gpu_name=(pod.get("machine") or {}).get("gpuDisplayName"),
        gpu_count=pod.get("gpuCount"),
        ssh=Address(direct[0]["ip"], direct[0]["publicPort"]) if direct else None,
        uptime_seconds=pod.get("uptimeSeconds"),
    )
