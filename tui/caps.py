"""What changed limits come to: the words that are agreed to before they are asked for."""

from __future__ import annotations

from collections.abc import Mapping

from engine.analysis.format import dollars, duration
from engine.records import Job
from engine.supervisor.limits import Limits


def most(job: Job, changes: Mapping[str, float] | None = None) -> tuple[float | None, float | None]:
    """How long a run can be paid for at most, seconds, and what that costs, dollars; None is for ever.

    Args:
        job: The run.
        changes: Other `max_hours` and `max_cost_usd`.
    """
    limits = Limits.of(job.config).at(job.cost_per_hour).changed(changes or {})
    seconds, rate = limits.pod_seconds, job.cost_per_hour
    if rate is None or rate == 0:
        return seconds, None
    return seconds, None if seconds is None else seconds / 3600 * rate


def question(job: Job, changes: Mapping[str, float]) -> str:
    """What the run can come to with other limits, as a question."""
    (before, cost_before), (after, cost) = most(job), most(job, changes)
    lines = [f"Change the limits of {job.name}?"]
    if cost is not None:
        was = f"was {dollars(cost_before)}" if cost_before is not None else "had no end"
        lines.append(f"It can cost {dollars(cost)} at most now ({was}), {dollars(job.cost_total)} so far.")
    if after is not None:
        was = f"was {duration(before)}" if before is not None else "had no end"
        fetching = ", the minutes for fetching among them" if job.provider == "runpod" else ""
        lines.append(f"It is ended after {duration(after)} at the latest ({was}){fetching}.")
    guard = ", and the guard of its pod" if job.provider == "runpod" else ""
    lines.append(f"Its supervisor{guard} will hold them with nobody connected.")
    return "\n".join(lines)
