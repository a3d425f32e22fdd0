"""What a rented pod belongs to, how old it is, how long idle, and what it has cost so far."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from engine.pods.provider import Rented
from engine.records import Job

_AT_WORK: Final = 5.0
"""Percent of the GPUs' time from which on a pod is at work."""


@dataclass(frozen=True, slots=True)
class Belonging:
    """A pod of the account.

    Args:
        pod: As the provider has it.
        job: The run here that it belongs to; None for a stray.
        age_seconds: Since it was created, or at least since it was started; None when nobody tells.
        idle_seconds: How long nothing has been done on it; 0 while its GPUs work, None when nobody tells.
    """

    pod: Rented
    job: Job | None
    age_seconds: float | None
    idle_seconds: float | None
    unfetched: bool = False
    """Is the run's best checkpoint there alone?"""

    @property
    def reapable(self) -> bool:
        """Did Podium rent it, and does no run here need it any more?"""
        return self.pod.job_id is not None and (self.job is None or self.job.status.ended)

    @property
    def cost(self) -> float | None:
        """Dollars so far, at today's rate; stops in between are not known."""
        if self.pod.price_per_hour is None or self.age_seconds is None:
            return None
        return self.pod.price_per_hour * self.age_seconds / 3600


def belonging(pod: Rented, jobs: Sequence[Job], now: datetime) -> Belonging:
    """What a pod belongs to: the run that knows it by its id, or whose name it bears."""
    named = pod.job_id
    if named is not None and pod.cluster_id is not None:
        named = re.sub(r"-\d+$", "", named)
    job = next((job for job in jobs if pod.id == job.pod_id or named == job.id), None)
    age = (now - pod.created_at).total_seconds() if pod.created_at else pod.uptime_seconds
    return Belonging(pod, job, age, _idle(pod, job, age, now))


def _idle(pod: Rented, job: Job | None, age: float | None, now: datetime) -> float | None:
    percent = busy(pod)
    if percent is not None and percent >= _AT_WORK:
        return 0.0
    signs = (job.failed_at, job.completed_at, job.last_heartbeat_at) if job is not None else ()
    last = max((sign for sign in signs if sign is not None), default=None)
    if last is not None:
        return max(0.0, (now - last).total_seconds())
    # Of what nobody heard anything, its whole life was idle as far as is known; unless that is not known.
    return age if percent is not None else None


def busy(pod: Rented) -> float | None:
    """The GPUs' mean utilization, percent; None when nobody says."""
    told = [use.utilization_percent for use in pod.gpus if use.utilization_percent is not None]
    return sum(told) / len(told) if told else None


def facts(item: Belonging) -> dict[str, Any]:
    """A pod for a program."""
    pod, job = item.pod, item.job
    return {
        "id": pod.id,
        "name": pod.name,
        "status": pod.status,
        "gpu_type": pod.gpu_name,
        "gpu_count": pod.gpu_count,
        "gpu_utilization_percent": busy(pod),
        "cost_per_hour": pod.price_per_hour,
        "cost_so_far": item.cost,
        "created_at": pod.created_at,
        "age_seconds": item.age_seconds,
        "idle_seconds": item.idle_seconds,
        "cluster_id": pod.cluster_id,
        "job_id": job.id if job else None,
        "job_status": job.status if job else None,
        "reapable": item.reapable,
        "unfetched": item.unfetched,
    }
