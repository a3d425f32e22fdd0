"""What runs hold in checkpoints, on this machine and elsewhere. Blocking."""

from __future__ import annotations

from collections.abc import Iterable

from engine.analysis.holding import Holding
from engine.errors import PodError
from engine.home import Home
from engine.pods.placements import Placements
from engine.records import Checkpoint, Job
from engine.store.base import Store


def holdings(store: Store, home: Home, jobs: Iterable[Job]) -> list[Holding]:
    """What each of these runs holds, in their order."""
    placements = Placements(home)
    return [_held(store, home, placements, job) for job in jobs]


def _held(store: Store, home: Home, placements: Placements, job: Job) -> Holding:
    folder = home.found(job.id, deleted=job.deleted)
    known = [item for item in store.checkpoints(job.id) if item.path is not None]
    here = tuple(item for item in known if folder.checkpoint(item.step).is_dir())
    there: tuple[Checkpoint, ...] = tuple(item for item in known if item not in here)
    return Holding(job, here, there, _elsewhere(placements, job))


def _elsewhere(placements: Placements, job: Job) -> str:
    """Where else a run's files may be, in words; empty where nothing else keeps any."""
    if job.provider in (None, "local", "imported") or job.replay:
        return ""
    try:
        placement = placements.of(job.id)
    except PodError:
        return "on a machine that is not known here"
    if placement is None:
        return "on a machine that is not known here"
    if placement.volume_id is not None:
        return f"on volume {placement.volume_id}"
    if placement.pod.provider == "ssh":
        return f"on {placement.pod.host}"
    return f"on pod {placement.pod_id}" if placement.may_bill else ""
