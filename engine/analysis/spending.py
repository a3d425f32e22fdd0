"""What a run cost, and how much of it came after its best checkpoint. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from engine.records import Checkpoint, Job


def best_checkpoint(job: Job, checkpoints: Iterable[Checkpoint]) -> Checkpoint | None:
    """The run's best checkpoint by score; by its step where nobody has marked one."""
    found = list(checkpoints)
    marked = next((item for item in found if item.is_best), None)
    return marked or next((item for item in found if item.step == job.best_step), None)


def seconds_after(job: Job, checkpoint: Checkpoint | None) -> float | None:
    """Seconds that the run went on after a checkpoint, never more than it took in all; None when unknown."""
    end = _end(job)
    if checkpoint is None or checkpoint.created_at is None or end is None:
        return None
    after = max(0.0, (end - checkpoint.created_at).total_seconds())
    return after if job.elapsed_seconds is None else min(after, job.elapsed_seconds)


def cost_after(job: Job, checkpoint: Checkpoint | None) -> float | None:
    """Dollars spent after a checkpoint; None when the price or the moment is unknown."""
    after = seconds_after(job, checkpoint)
    if after is None or job.cost_per_hour is None:
        return None
    spent = after / 3600 * job.cost_per_hour
    return spent if job.cost_total is None else min(spent, job.cost_total)


def _end(job: Job) -> datetime | None:
    """When it ended or, while it lives, gave its last sign; by the pod's clock, like the checkpoints."""
    if job.status.ended:
        return job.failed_at or job.completed_at or job.last_heartbeat_at
    return job.last_heartbeat_at or job.updated_at
