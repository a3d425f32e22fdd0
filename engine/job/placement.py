"""The sections of a spec that say where a job runs and what it may cost. Ships."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.job.sections import Above, Count, Positive, Rate, Section

HOST: Final = r"^(ssh://)?([A-Za-z0-9_.%-]+@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.%-]*)(:[0-9]{1,5})?$"
"""A machine over SSH: `host`, `user@host`, `user@host:port`, and the same after `ssh://`."""
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_:][A-Za-z0-9_.:%-]*$")]


class LimitsSpec(Section):
    """What the supervisor enforces with nobody connected; null is no limit."""

    max_hours: Above | None = None
    max_cost_usd: Above | None = None
    stall_minutes: Above | None = 30
    """Minutes without an event from the trainer before it is restarted."""
    retrieve_minutes: Rate = 30
    """Minutes that a rented machine is kept after its job has ended, so that checkpoints can be fetched."""
    max_restarts: Count = 3
    """Restarts after failures; the same failure three times ends the job sooner."""


class RentSpec(Section):
    """What to rent; for provider runpod alone."""

    gpu: tuple[Annotated[str, Field(min_length=1)], ...] = ("auto",)
    """Names in order of preference; `auto` is the cheapest in stock that the job's memory fits in."""
    gpu_count: Annotated[Positive, Field(le=16)] = 1
    clouds: tuple[Literal["secure", "community"], ...] = ("secure", "community")
    data_centers: tuple[str, ...] = ()
    """Where; empty is anywhere. A network volume binds to its own."""
    max_price: Above | None = None
    """Dollars an hour for all GPUs together."""
    memory_gb: Above | None = None
    """What one GPU must have, for `auto`; null is what the estimate says."""
    image: Annotated[str, Field(min_length=1)] = "runpod/pytorch:1.0.7-cu1281-torch280-ubuntu2404"
    """Has to start an sshd for $PUBLIC_KEY, as RunPod's own images do."""
    min_cuda: Annotated[str, Field(pattern=r"^\d{1,3}\.\d{1,3}$")] | None = "12.8"
    """The oldest CUDA that the machine's driver must support."""
    disk_gb: Positive = 50
    """The container's disk, lost when the pod is stopped."""
    volume_gb: Annotated[Positive, Field(ge=10)] | None = 50
    """The disk at /workspace, kept when the pod is stopped and lost when it is terminated."""
    network_volume: Annotated[str, Field(min_length=1)] | None = None
    """The id or the name of a volume that outlives the pod, instead of `volume_gb`."""
    fetch: tuple[Literal["best", "last", "final"], ...] = ("best",)
    """What is fetched and verified before the pod is terminated: checkpoints, or the final model, which is
    fetched in any case where it was merged."""
    backend: Literal["rest", "sdk"] = "rest"
    """How RunPod is spoken to: its REST API, or its own Python package."""

    @field_validator("gpu", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.gpu or not self.clouds:
            raise ValueError("gpu and clouds name one at least")
        return self


class DistributedSpec(Section):
    """Training with several processes, which torchrun starts: one a GPU, on one machine or several."""

    nodes: Annotated[Positive, Field(le=64)] = 1
    """Machines; each holds the job's spec and data, the first one everything that training makes."""
    processes: Annotated[Positive, Field(le=64)] | None = None
    """On each machine; null is one a GPU, or a single one without GPUs."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """ddp: each process holds the whole model; fsdp: they split weights, gradients and optimizer."""
    timeout_minutes: Above = 10
    """How long processes wait for each other before one counts as lost. What the first does alone while the
    others wait, such as predictions and the hashes of a checkpoint, must be done in that time."""
    address: HostName | None = None
    """Where the other machines reach the first one; null is as SSH did, or its address in a cluster."""
    port: Annotated[Positive, Field(lt=65536)] | None = None
    """Where they meet there; null is one that is free. The ranks open more ports between them."""


class PodSpec(Section):
    """Where the job runs."""

    provider: Literal["local", "ssh", "runpod"] = "local"
    cost_per_hour: Rate | None = None
    """Dollars an hour for all machines together, where nobody tells us their price; 0 for your own."""
    host: HostName | None = None
    """The machine, for provider ssh: a name, an address, or a `Host` of `~/.ssh/config`."""
    hosts: tuple[Annotated[str, Field(pattern=HOST)], ...] = ()
    """Several machines instead, `user@host:port` each; the first one is followed, and holds what is made."""
    user: HostName | None = None
    port: Annotated[Positive, Field(lt=65536)] | None = None
    key: Annotated[str, Field(min_length=1)] | None = None
    """A private key file on this machine; its path alone is kept."""
    python: Annotated[str, Field(min_length=1)] = "python3"
    """The Python there, 3.11 or newer; one that has torch saves installing it."""
    folder: Annotated[str, Field(pattern=r"^(/|~/)[^\x00\n]+$")] = "~/.podium"
    """Podium's folder there; on a rented machine /workspace/podium unless said otherwise."""
    rent: RentSpec | None = None
    """For provider runpod, which has it in any case."""

    @model_validator(mode="before")
    @classmethod
    def _rented(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("provider") != "runpod":
            return values
        return {"folder": "/workspace/podium", **values, "rent": values.get("rent") or {}}

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.provider == "ssh" and self.host is None and not self.hosts:
            raise ValueError("provider ssh needs a host")
        if self.provider != "ssh" and (self.host or self.hosts or self.user or self.port or self.key):
            raise ValueError("host, hosts, user, port and key are for provider ssh")
        if self.hosts and self.host is not None:
            raise ValueError("host is one machine and hosts are several: name one of them")
        if len(set(self.hosts)) < len(self.hosts):
            raise ValueError("hosts names a machine twice")
        if self.provider != "runpod" and self.rent is not None:
            raise ValueError("the section rent is for provider runpod")
        return self
