"""What this laptop did for a job and when, kept in the store: the part of the bill that no event tells of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from engine.analysis.spending import Mark, Spent, ledger, marked, together
from engine.job.events import EventType, Phase
from engine.records import Job
from engine.store.base import Store

TOLD: Final = (EventType.PHASE, EventType.STATE, EventType.RECOVERY, EventType.HEARTBEAT)
"""The events that tell what a pod is busy with."""

_UNTOLD: Final = timedelta(seconds=10)
"""What may be missing between phases without being worth a line."""


def mark(store: Store, job_id: str, phase: str) -> None:
    """Note that a phase begins, by this machine's clock; an empty one is the end of the last."""
    marks = _read(store, job_id)
    if (marks[-1][0] if marks else "") != phase:
        marks.append([phase, datetime.now(UTC).isoformat()])
        store.set_setting(_key(job_id), marks)
        # With the run as well, so that the ledger of many runs need not look at each one's marks.
        so_far = marked(marks_of(store, job_id), None, datetime.now(UTC))
        store.update(job_id, laptop_spent={spent.phase: spent.seconds for spent in so_far})


def cut_off(store: Store, job_id: str) -> None:
    """Let a phase that nobody ended take no time: `settle` finds what is missing of the whole."""
    marks = _read(store, job_id)
    if marks and marks[-1][0]:
        store.set_setting(_key(job_id), [*marks, ["", marks[-1][1]]])


def settle(store: Store, job: Job, since: datetime | None, until: datetime) -> None:
    """End the last phase, and count as idle what no phase accounts for of the time that a machine was billed.

    Args:
        store: Where it is known.
        job: The job.
        since: When its machine was asked for; None if it was not.
        until: When it was seen to be gone.
    """
    mark(store, job.id, "")
    told = sum(item.seconds for item in spent(store, job, until))
    missing = timedelta(seconds=(until - since).total_seconds() - told) if since is not None else timedelta()
    if missing > _UNTOLD:
        begun = [[Phase.IDLE.value, (until - missing).isoformat()], ["", until.isoformat()]]
        store.set_setting(_key(job.id), [*_read(store, job.id), *begun])
    so_far = marked(marks_of(store, job.id), None, until)
    store.update(job.id, laptop_spent={item.phase: item.seconds for item in so_far})


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
