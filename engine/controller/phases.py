"""What this laptop did for a job and when, kept in the store: the part of the bill that no event tells of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from engine.analysis.spending import Mark, Spent, ledger, marked, together
from engine.job.events import EventType
from engine.records import Job
from engine.store.base import Store

TOLD: Final = (EventType.PHASE, EventType.STATE, EventType.RECOVERY, EventType.HEARTBEAT)
"""The events that tell what a pod is busy with."""


def mark(store: Store, job_id: str, phase: str) -> None:
    """Note that a phase begins, by this machine's clock; an empty one is the end of the last."""
    marks = _read(store, job_id)
    if (marks[-1][0] if marks else "") != phase:
        marks.append([phase, datetime.now(UTC).isoformat()])
        store.set_setting(_key(job_id), marks)
        # With the run as well, so that the ledger of many runs need not look at each one's marks.
        so_far = marked(marks_of(store, job_id), None, datetime.now(UTC))
        store.update(job_id, laptop_spent={spent.phase: spent.seconds for spent in so_far})


def marks_of(store: Store, job_id: str) -> list[Mark]:
    """What was noted, in order."""
    return [Mark(str(phase), datetime.fromisoformat(at)) for phase, at in _read(store, job_id)]


def spent(store: Store, job: Job, now: datetime | None = None) -> tuple[Spent, ...]:
    """Where a job's time and money went, on the way to its pod and on it, the most expensive first.

    Args:
        store: Where it is known.
        job: The job.
        now: Until when a phase that goes on counts.
    """
    far = ledger(store.events(job.id, TOLD), job.cost_per_hour)
    near = marked(marks_of(store, job.id), job.cost_per_hour, now or datetime.now(UTC))
    return together(near, far)


def _read(store: Store, job_id: str) -> list[list[str]]:
    found = store.setting(_key(job_id), [])
    return [list(item) for item in found] if isinstance(found, Sequence) else []


def _key(job_id: str) -> str:
    return f"phases/{job_id}"
