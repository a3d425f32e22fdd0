"""What a run cost, on what, and how much of it came after its best checkpoint. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from engine.job.events import Event, Phase, busy_with
from engine.records import Checkpoint, Job


@dataclass(frozen=True, slots=True)
class Spent:
    """What one phase of a run took.

    Args:
        phase: A `Phase`; `idle` is waiting in the queue, paused, or between a failure and the next attempt.
        seconds: How long, over all attempts, by the pod's clock.
        dollars: At the run's price; None when that is unknown.
    """

    phase: str
    seconds: float
    dollars: float | None


FETCH = "fetch"
"""The phase in which a job has ended, and its checkpoints are brought home while its pod still bills."""


@dataclass(frozen=True, slots=True)
class Mark:
    """When a phase began that the laptop was busy with, by its own clock.

    Args:
        phase: A `Phase` or `FETCH`; empty when nothing followed.
        at: When.
    """

    phase: str
    at: datetime


def marked(marks: Sequence[Mark], cost_per_hour: float | None, now: datetime) -> tuple[Spent, ...]:
    """What the laptop's own phases took: on the way to a job's start, and after its end.

    Args:
        marks: In order.
        cost_per_hour: Dollars; None is unknown.
        now: Until when the last one counts, if it has not ended.
    """
    seconds: dict[str, float] = {}
    for mark, following in pairwise([*marks, Mark("", now)]):
        if mark.phase:
            passed = (following.at - mark.at).total_seconds()
            seconds[mark.phase] = seconds.get(mark.phase, 0.0) + max(0.0, passed)
    return _priced(seconds, cost_per_hour)


def together(*ledgers: Iterable[Spent]) -> tuple[Spent, ...]:
    """Several ledgers as one, the most expensive phase first."""
    seconds: dict[str, float] = {}
    dollars: dict[str, float | None] = {}
    for spent in (item for each in ledgers for item in each):
        seconds[spent.phase] = seconds.get(spent.phase, 0.0) + spent.seconds
        so_far = dollars.get(spent.phase, 0.0)
        dollars[spent.phase] = None if so_far is None or spent.dollars is None else so_far + spent.dollars
    found = (Spent(phase, lasted, dollars[phase]) for phase, lasted in seconds.items())
    return tuple(sorted(found, key=lambda spent: -spent.seconds))


def ledger(events: Sequence[Event], cost_per_hour: float | None) -> tuple[Spent, ...]:
    """Where a run's time and money went, the most expensive phase first.

    All times are the pod's, so a clock that is off changes nothing, and one that is set back while the
    run goes on takes nothing away. The phases add up to the time from the first event to the last.

    Args:
        events: The run's events by seq; those of types phase, state, recovery and heartbeat matter.
        cost_per_hour: Dollars; None is unknown.
    """
    seconds: dict[str, float] = {}
    phase: str = Phase.IDLE
    for before, event in zip([None, *events], events, strict=False):
        if before is not None:
            passed = (event.ts - before.ts).total_seconds()
            seconds[phase] = seconds.get(phase, 0.0) + max(0.0, passed)
        phase = busy_with(event, phase)
    return _priced(seconds, cost_per_hour)


def _priced(seconds: dict[str, float], cost_per_hour: float | None) -> tuple[Spent, ...]:
    price = None if cost_per_hour is None else cost_per_hour / 3600
    found = [
        Spent(name, lasted, None if price is None else price * lasted)
        for name, lasted in seconds.items()
        if lasted > 0
    ]
    return tuple(sorted(found, key=lambda spent: -spent.seconds))


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
