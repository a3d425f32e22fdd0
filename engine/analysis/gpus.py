"""What the last heartbeats say of a machine's GPUs: idle for how long, how busy on the whole. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from engine.records import Gpu, HostSample

IDLE: float = 5.0
"""Utilization below which a GPU does nothing, percent."""


def named(gpu: Gpu, gpus: Sequence[Gpu]) -> str:
    """What a GPU is called among others: its index, and before it its node where there are several."""
    several = any(other.node for other in gpus)
    return f"{gpu.node}:{gpu.index}" if several else str(gpu.index)


def utilization(sample: HostSample, index: int, node: int = 0) -> float | None:
    """One GPU's utilization in one heartbeat, percent."""
    wanted = (node, index)
    return next((gpu.utilization_percent for gpu in sample.gpus if (gpu.node, gpu.index) == wanted), None)


def idle_seconds(host: Sequence[HostSample], index: int, node: int = 0) -> float:
    """For how long a GPU has done nothing, up to the last heartbeat; 0 while it is busy or nothing is known.

    It may have been idle for longer than the heartbeats at hand go back.
    """
    since = None
    for sample in reversed(host):
        used = utilization(sample, index, node)
        if used is None or used >= IDLE:
            break
        since = sample.ts
    return 0.0 if since is None else (host[-1].ts - since).total_seconds()


def mean_utilization(host: Sequence[HostSample]) -> float | None:
    """The mean of all GPUs over these heartbeats, percent; None when unknown."""
    known = [
        gpu.utilization_percent
        for sample in host
        for gpu in sample.gpus
        if gpu.utilization_percent is not None
    ]
    return sum(known) / len(known) if known else None
