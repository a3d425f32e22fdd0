"""Which run to keep: the reasons with their numbers, how sure, and when not to say anything. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from engine.analysis.comparability import comparability
from engine.analysis.compared import Recommendation, Standing
from engine.analysis.metrics import Run, known, worse
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
    ranked = sorted((run for run in runs if known(run.job.best_eval_loss) is not None), key=_rank)
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
    lowest = best.job.best_eval_loss
    return Recommendation(
        best.job.id,
        best.best.step if best.best else best.job.best_step,
        _headline(best, len(runs), names),
        tuple(reasons(best, ranked[1:], names)),
        tuple(caveats(best, ranked[1:], runs, names, judged.unknown)),
        worse=tuple(_standing(run.job, lowest, warn_above, archive_above) for run in runs),
        changes=tuple(changes(best, ranked[1:], names)),
    )


def _rank(run: Run) -> tuple[float, float, float, float, int, str]:
    """Lowest eval loss; between exact ties the better score, the lower cost, the shorter time, the older."""
    job = run.job
    score, cost, time = known(job.best_checkpoint_score), known(job.cost_total), known(job.elapsed_seconds)
    last = math.inf
    return (
        job.best_eval_loss or 0.0,
        last if score is None else score,
        last if cost is None else cost,
        last if time is None else time,
        job.number,
        job.id,
    )


def _standing(job: Job, lowest: float | None, warn_above: float, archive_above: float) -> Standing:
    excess = worse(job.best_eval_loss, lowest)
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
