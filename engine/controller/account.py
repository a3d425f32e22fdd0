"""What the account rents: which run a pod belongs to, how long it idles, what it cost; and its end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from engine.errors import ProviderError
from engine.home import Home
from engine.job.events import Status
from engine.pods.placements import Placements
from engine.pods.provider import Provider, Rented
from engine.records import Job
from engine.store.base import Store

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
        unfetched: Is the run's best checkpoint there alone?
    """

    pod: Rented
    job: Job | None
    age_seconds: float | None
    idle_seconds: float | None
    unfetched: bool = False

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


def belongings(store: Store, home: Home, pods: Sequence[Rented], now: datetime) -> list[Belonging]:
    """What the account's pods belong to; those that are gone are left out. Blocking."""
    jobs = store.jobs(archived=True, deleted=True)
    every = [belonging(pod, jobs, now) for pod in pods if not pod.gone]
    return [replace(item, unfetched=_unfetched(store, home, item)) for item in every]


def _unfetched(store: Store, home: Home, item: Belonging) -> bool:
    """Has the run a best checkpoint that is on the pod alone? Here it has its name once it is verified."""
    if item.job is None:
        return False
    best = next((each for each in store.checkpoints(item.job.id) if each.is_best and each.path), None)
    folder = home.found(item.job.id, deleted=item.job.deleted)
    return best is not None and not folder.checkpoint(best.step).exists()


def unsaved(item: Belonging) -> list[str]:
    """What a run would lose with its pod."""
    if item.job is None:
        return []
    saved = ", and its best checkpoint is not here yet: podium pull fetches it" if item.unfetched else ""
    return [f"what the run {item.job.name} has there (it is {item.job.status}){saved}"]


async def end(
    provider: Provider,
    store: Store,
    home: Home,
    items: Sequence[Belonging],
    failed: Callable[[ProviderError], None],
) -> list[Belonging]:
    """Terminate pods, each until the provider confirms that it is gone; those for which it did.

    Args:
        provider: Who rents them out.
        store: Where their runs are kept; a run that was under way is cancelled.
        home: Where the placements are.
        items: The pods; of a cluster, one stands for all.
        failed: Told of each that could not be ended.
    """
    ended: list[Belonging] = []
    clusters: set[str] = set()
    for item in items:
        try:
            if item.pod.cluster_id is None:
                await provider.terminate(item.pod.id)
            elif item.pod.cluster_id not in clusters:
                clusters.add(item.pod.cluster_id)
                await provider.terminate_cluster(item.pod.cluster_id)
        except ProviderError as error:
            failed(error)
            continue
        ended.append(item)
        if item.job is not None:
            await asyncio.to_thread(_remember, store, home, item.job)
    return ended


def _remember(store: Store, home: Home, job: Job) -> None:
    """Write down that a run's pod is gone, and that the run is over with it."""
    why = "its pod was terminated by the user"
    Placements(home).gone(job.id, why)
    over = {"status": Status.CANCELLED, "error_message": why, "completed_at": datetime.now(UTC)}
    store.update(job.id, pod_status="terminated", **({} if job.status.ended else over))
