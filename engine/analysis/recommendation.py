"""Which run to keep: the reasons with their numbers, how sure, and when not to say anything. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from engine.analysis.comparability import comparability
from engine.analysis.compared import Recommendation, Standing
from engine.analysis.history import kind_of, leaders_of
from engine.analysis.metrics import Run, behind, known
from engine.analysis.reasons import caveats, changes, names_of, reasons
from engine.records import Job

__all__ = ["names_of", "recommend"]


def recommend(runs: Sequence[Run], *, warn_above: float = 0.25, archive_above: float = 0.5) -> Recommendation:
    """Say which run to keep.

    Args:
        runs: The compared runs, in their order.
        warn_above: A run worse than this fraction is warned of.
        archive_above: A run worse than this fraction is offered for archiving.
    """
    names = names_of([run.job for run in runs])
    ranked = sorted((run for run in runs if known(run.job.rank_value) is not None), key=_rank)
    judged = comparability([run.job for run in ranked], names)
    if not judged.comparable:
        return Recommendation(
            None,
            None,
            "These runs can't be compared by their eval loss.",
            ("Time, cost, speed and GPU use still can be.",),
            tuple(f"{text[:1].upper()}{text[1:]}." for text in (*judged.differing, *judged.unknown)),
            False,
            tuple(Standing(run.job.id, None, "unknown") for run in runs),
            ("Evaluated on the same rows, with one tokenizer, loss and length, they could be.",),
        )
    if not ranked:
        standings = tuple(Standing(run.job.id, None, "unknown") for run in runs)
        return Recommendation(None, None, "No run has an evaluation yet.", worse=standings)
    best = ranked[0]
    return Recommendation(
        best.job.id,
        best.best.step if best.best else best.job.best_step,
        _headline(best, len(runs), names),
        tuple(reasons(best, ranked[1:], names)),
        tuple(caveats(best, ranked[1:], runs, names, judged.unknown)),
        worse=tuple(_standing(run.job, best.job, warn_above, archive_above) for run in runs),
        changes=tuple(changes(best, ranked[1:], names)),
    )


def _rank(run: Run) -> tuple[float, float, float, float, int, str]:
    """Lowest loss or highest reward; between exact ties better score, lower cost, shorter time, the older."""
    job = run.job
    score, cost, time = known(job.best_checkpoint_score), known(job.cost_total), known(job.elapsed_seconds)
    last = math.inf
    return (
        job.rank_value or 0.0,
        last if score is None else score,
        last if cost is None else cost,
        last if time is None else time,
        job.number,
        job.id,
    )


def _standing(job: Job, best: Job, warn_above: float, archive_above: float) -> Standing:
    excess = behind(job, best)
    if excess is None:
        return Standing(job.id, None, "unknown")
    if excess == 0:
        return Standing(job.id, excess, "keep")
    # A live run may still catch up: it is looked at, not archived.
    if excess <= warn_above or job.status.live:
        return Standing(job.id, excess, "look")
    return Standing(job.id, excess, "archive" if excess > archive_above else "warn")


def _headline(best: Run, count: int, names: Mapping[str, str]) -> str:
    step = best.best.step if best.best else best.job.best_step
    checkpoint = "" if step is None else f", checkpoint {step}"
    if count == 1:
        return f"{names[best.job.id]}{checkpoint} is all there is: no other run to compare it with."
    return f"Keep {names[best.job.id]}{checkpoint}."


def beyond(jobs: Sequence[Job], archive_above: float) -> tuple[Job, ...]:
    """The ended runs of some that are worse than the best of them by more than a fraction.

    Only runs whose results mean the same as the best one's are judged; what is archived or deleted already
    is left out.
    """
    judged = [job for job in jobs if kind_of(job) is not None and not job.deleted]
    leaders = leaders_of(judged)
    names = {job.id: "" for job in judged}
    return tuple(
        job
        for job in judged
        if job.status.ended
        and not job.archived
        and (behind(job, leaders[kind_of(job)]) or 0.0) > archive_above
        and comparability((leaders[kind_of(job)], job), names).comparable
    )
