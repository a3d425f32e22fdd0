"""The state behind the RunPod emulator: an account with pods, clusters and volumes that live by a clock.

What a pod is doing follows from how long ago it was started: a test moves the clock instead of waiting.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Endpoint = tuple[str, int]

GPUS: list[dict[str, Any]] = [
    # id, name, GB, secure $/h, community $/h, most on a machine (secure, community)
    {"id": gpu, "name": name, "memory": memory, "secure": secure, "community": community, "max": most}
    for gpu, name, memory, secure, community, most in [
        ("NVIDIA RTX A4000", "RTX A4000", 16, 0.25, 0.17, (8, 4)),
        ("NVIDIA GeForce RTX 4090", "RTX 4090", 24, 0.69, 0.34, (8, 4)),
        ("NVIDIA RTX A6000", "RTX A6000", 48, 0.49, 0.33, (8, 2)),
        ("NVIDIA L40S", "L40S", 48, 0.86, 0.79, (8, 2)),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe", 80, 1.64, 1.19, (8, 2)),
        ("NVIDIA H100 80GB HBM3", "H100 SXM", 80, 2.69, 0.0, (8, 0)),
        ("AMD Instinct MI300X OAM", "MI300X", 192, 0.50, 0.0, (8, 0)),
    ]
]
NO_CAPACITY = "There are no longer any instances available with the requested specifications."
DATA_CENTERS = ("EU-RO-1", "US-KS-2")


class Refusal(Exception):
    """What the account is told instead of what it asked for."""

    def __init__(self, status: int, detail: str, errors: list[str] | None = None) -> None:
        self.status, self.detail, self.errors = status, detail, errors
        super().__init__(detail)


class Clock:
    """Seconds since 1970: real time from `start` on at `speed`, and what `advance` adds.

    With speed 0 it stands still until it is moved.
    """

    def __init__(self, speed: float = 0.0, start: float = 1_790_000_000.0) -> None:
        self._start, self._speed, self._zero, self._added = start, speed, time.monotonic(), 0.0

    def now(self) -> float:
        return self._start + self._added + (time.monotonic() - self._zero) * self._speed

    def advance(self, seconds: float) -> None:
        self._added += seconds

    async def sleep(self, seconds: float) -> None:
        """For Patience: the wait passes at once, on this clock."""
        self.advance(seconds)


@dataclass
class Stages:
    """When what happens, in seconds after a pod was started."""

    starting: float = 5
    running: float = 15
    ports: float = 25
    public_ip: bool = True
    gpus: int | None = None
    """How many GPUs the container finds; None for what was asked."""
    fails: bool = False
    """Ends in ERROR instead of RUNNING."""
    ends_after: float = 0
    """How long it is still there once it was terminated; inf for ever."""
    shows_terminated: bool = False
    """Is it listed as TERMINATED instead of being gone?"""

    @classmethod
    def stuck(cls) -> Stages:
        return cls(starting=math.inf, running=math.inf, ports=math.inf)


@dataclass
class Pod:
    id: str
    spec: dict[str, Any]
    rate: float
    place: str
    created: float
    stages: Stages
    key: str
    """RUNPOD_API_KEY inside the pod: good for this pod only."""
    started: float
    stopped: float | None = None
    terminated: float | None = None
    endpoint: Endpoint | None = None
    cluster: str | None = None
    rank: int | None = None
    locked: bool = False
    seconds: float = 0
    """Billed in earlier starts."""
    events: list[str] = field(default_factory=list)


class Account:
    """Everything that one API key sees, and the rules that the description leaves to words."""

    def __init__(self, clock: Clock | None = None, key: str | None = None) -> None:
        self.clock = clock or Clock()
        self.key = key or f"rpa_{secrets.token_hex(16)}"
        self.lock = threading.RLock()
        self.balance = 100.0
        self.stock: dict[tuple[str, str], str] = {
            (gpu["id"], cloud): "HIGH"
            for gpu in GPUS
            for cloud in ("SECURE", "COMMUNITY")
            if gpu[cloud.lower()]
        }
        self.forbidden: set[str] = set()
        """GPU ids that the account has no access to."""
        self.surcharge = 1.0
        """What a pod costs beside its list price, as a factor."""
        self.stages: Callable[[], Stages] = Stages
        """Makes the stages of the next pod."""
        self.endpoint: Callable[[Pod], Endpoint] = lambda pod: ("127.0.0.1", 22)
        """Where the sshd of a pod is; asked when its ports come up."""
        self.watchers: list[Callable[[str, Pod], None]] = []
        """Told `created`, `started`, `stopped` and `terminated`, with the pod."""
        self.pods: dict[str, Pod] = {}
        self.clusters: dict[str, dict[str, Any]] = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        self.ssh_keys: list[str] = []

    # What the pods are doing

    def status(self, pod: Pod) -> str:
        if pod.terminated is not None and self.clock.now() >= pod.terminated + pod.stages.ends_after:
            return "TERMINATED"
        if pod.stopped is not None:
            return "EXITED"
        age = self.clock.now() - pod.started
        if age < pod.stages.starting:
            return "PROVISIONING"
        if age < pod.stages.running:
            return "STARTING"
        return "ERROR" if pod.stages.fails else "RUNNING"

    def address(self, pod: Pod) -> Endpoint | None:
        """Where 22/tcp is mapped to, once it is."""
        up = self.status(pod) == "RUNNING" and self.clock.now() - pod.started >= pod.stages.ports
        if not up or not pod.stages.public_ip or "22/tcp" not in pod.spec.get("ports", []):
            return None
        if pod.endpoint is None:
            pod.endpoint = self.endpoint(pod)
        return pod.endpoint

    def gpus(self, pod: Pod) -> int:
        return pod.spec["gpu"]["count"] if pod.stages.gpus is None else pod.stages.gpus

    def there(self, pod: Pod) -> bool:
        return self.status(pod) != "TERMINATED" or pod.stages.shows_terminated

    def billing(self, pod: Pod) -> bool:
        return self.status(pod) not in ("EXITED", "TERMINATED")

    def dollars(self) -> float:
        """What all pods have cost until now."""
        return sum(self._seconds(pod) * pod.rate / 3600 for pod in self.pods.values())

    def _seconds(self, pod: Pod) -> float:
        if pod.stopped is not None:
            return pod.seconds
        end = self.clock.now()
        if pod.terminated is not None:
            end = min(end, pod.terminated + pod.stages.ends_after)
        return pod.seconds + end - pod.started

    # What the account may do

    def pod(self, identifier: str) -> Pod:
        pod = self.pods.get(identifier)
        if pod is None or not self.there(pod):
            raise Refusal(404, "pod not found")
        return pod

    def named(self, name: str) -> list[Pod]:
        """The pods of a name that are there."""
        return [pod for pod in self.pods.values() if pod.spec["name"] == name and self.there(pod)]

    def rent(self, spec: dict[str, Any], cluster: str | None = None, rank: int | None = None) -> Pod:
        """`spec` is a body of POST /v2/pods that fits the description."""
        if ("gpu" in spec) == ("cpu" in spec):
            raise Refusal(400, "exactly one of gpu or cpu must be set")
        mounts = spec.get("mounts", {})
        if "persistent" in mounts and "network" in mounts:
            raise Refusal(400, "mounts.persistent and mounts.network are mutually exclusive")
        gpu, cloud = self._gpu(spec["gpu"]["id"]), spec.setdefault("cloud", "SECURE")
        count = spec["gpu"].setdefault("count", 1)
        place = self._place(spec)
        if gpu["id"] in self.forbidden:
            raise Refusal(403, "your account cannot access the requested pool")
        if self.balance <= 0:
            raise Refusal(402, "Your account balance is too low to create this pod.")
        if count > gpu["max"][cloud == "COMMUNITY"] or self.stock.get((gpu["id"], cloud), "NONE") == "NONE":
            raise Refusal(400, NO_CAPACITY)
        if spec.get("startSsh") and self.ssh_keys:
            spec.setdefault("env", {}).setdefault("PUBLIC_KEY", "\n".join(self.ssh_keys))
        now, stages = self.clock.now(), self.stages()
        rate = round(gpu[cloud.lower()] * count * self.surcharge, 4)
        identifier, key = f"{secrets.token_hex(7)}", f"rpa_pod_{secrets.token_hex(12)}"
        pod = Pod(identifier, spec, rate, place, now, stages, key, now, cluster=cluster, rank=rank)
        self.pods[pod.id] = pod
        self._tell("created", pod)
        return pod

    def start(self, pod: Pod) -> None:
        self._allow(pod, ("EXITED", "ERROR"), "start")
        if self.stock.get((pod.spec["gpu"]["id"], pod.spec["cloud"])) == "NONE":
            raise Refusal(400, "There are not enough free GPUs on the host machine to start this pod.")
        pod.seconds, pod.started, pod.stopped = self._seconds(pod), self.clock.now(), None
        pod.endpoint = None
        self._tell("started", pod)

    def stop(self, pod: Pod) -> None:
        self._allow(pod, ("RUNNING", "PROVISIONING", "STARTING"), "stop")
        if pod.locked:
            raise Refusal(409, "the pod is locked")
        pod.seconds, pod.stopped = self._seconds(pod), self.clock.now()
        self._tell("stopped", pod)

    def terminate(self, pod: Pod, *, with_cluster: bool = False) -> None:
        if pod.cluster and not with_cluster:
            raise Refusal(409, "the pod belongs to a cluster: delete the cluster")
        if pod.terminated is None:
            pod.terminated = self.clock.now()
            self._tell("terminated", pod)

    def rent_cluster(self, spec: dict[str, Any]) -> dict[str, Any]:
        compute, identifier = spec["compute"], f"c{secrets.token_hex(6)}"
        shared = {key: value for key, value in spec.items() if key not in ("compute", "type")}
        shared["gpu"] = {"id": compute["gpuTypeId"], "count": compute["gpuCountPerPod"]}
        for rank in range(compute["podCount"]):
            node = {**shared, "name": f"{spec['name']}-{rank}", "gpu": dict(shared["gpu"])}
            self.rent(node, identifier, rank)
        made = {"id": identifier, "name": spec["name"], "type": spec["type"], "compute": compute}
        self.clusters[identifier] = {**made, "created": self.clock.now()}
        return self.clusters[identifier]

    def cluster(self, identifier: str) -> dict[str, Any]:
        if identifier not in self.clusters:
            raise Refusal(404, "cluster not found")
        return self.clusters[identifier]

    def nodes(self, identifier: str) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.cluster == identifier and self.there(pod)]

    def terminate_cluster(self, identifier: str) -> None:
        self.cluster(identifier)
        for pod in self.nodes(identifier):
            self.terminate(pod, with_cluster=True)
        del self.clusters[identifier]

    def rent_volume(self, spec: dict[str, Any]) -> dict[str, Any]:
        if spec["dataCenter"] not in DATA_CENTERS:
            raise Refusal(400, f"there is no data center {spec['dataCenter']}")
        identifier = f"v{secrets.token_hex(5)}"
        self.volumes[identifier] = {"type": "STANDARD", **spec, "id": identifier}
        return self.volumes[identifier]

    def volume(self, identifier: str) -> dict[str, Any]:
        if identifier not in self.volumes:
            raise Refusal(404, "network volume not found")
        return self.volumes[identifier]

    def _gpu(self, identifier: str) -> dict[str, Any]:
        for gpu in GPUS:
            if gpu["id"] == identifier:
                return gpu
        raise Refusal(400, f"there is no GPU type {identifier}")

    def _place(self, spec: dict[str, Any]) -> str:
        wanted = spec.get("dataCenterIds") or list(DATA_CENTERS)
        for mount in spec.get("mounts", {}).get("network", []):
            place = self.volumes.get(mount["volumeId"], {}).get("dataCenter")
            if place not in wanted:
                raise Refusal(400, "the network volume is not in that data center")
            return place
        if not set(wanted) & set(DATA_CENTERS):
            raise Refusal(400, NO_CAPACITY)
        return wanted[0]

    def _allow(self, pod: Pod, states: tuple[str, ...], action: str) -> None:
        if pod.cluster:
            raise Refusal(409, "the pod belongs to a cluster")
        if (status := self.status(pod)) not in states:
            raise Refusal(409, f"{action} is not valid for a pod that is {status}")

    def _tell(self, event: str, pod: Pod) -> None:
        pod.events.append(event)
        for watcher in self.watchers:
            watcher(event, pod)


def iso(seconds: float | None) -> str | None:
    """A time as the API writes it."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
