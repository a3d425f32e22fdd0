"""Runs side by side: the metric table, what differs, and which run to keep. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.analysis.compared import (
    Cell,
    Comparison,
    Difference,
    Direction,
    Recommendation,
    Row,
    Standing,
    Unit,
)
from engine.analysis.configuration import differences
from engine.analysis.metrics import Run, known
from engine.analysis.recommendation import recommend
from engine.analysis.table import rows
from engine.errors import BadInput
from engine.records import Checkpoint, Job

__all__ = [
    "Cell", "Comparison", "Difference", "Direction", "Recommendation", "Row", "Standing", "Unit", "compare",
]  # fmt: skip


def compare(
    jobs: Sequence[Job],
    checkpoints: Mapping[str, Sequence[Checkpoint]],
    *,
    reference: str | None = None,
    archive_above: float = 0.5,
    warn_above: float = 0.25,
) -> Comparison:
    """Compare runs.

    Args:
        jobs: The runs, in the order they are shown in.
        checkpoints: Each run's checkpoints by job id; a run without any may be left out.
        reference: The id of the run that deltas are against; by default, and where it is not among the
            runs, the best run.
        archive_above: A run worse than this fraction is offered for archiving.
        warn_above: A run worse than this fraction is warned of.

    Raises:
        BadInput: There are no runs.
    """
    if not jobs:
        raise BadInput("there are no runs to compare", "Name two or more.")
    lowest = min((loss for job in jobs if (loss := known(job.best_eval_loss)) is not None), default=None)
    runs = [
        Run(job, tuple(sorted(checkpoints.get(job.id, ()), key=lambda item: item.step)), lowest)
        for job in jobs
    ]
    advice = recommend(runs, warn_above=warn_above, archive_above=archive_above)
    if reference not in {job.id for job in jobs}:
        reference = advice.job_id
    against = jobs[0].id if reference is None else reference
    return Comparison(
        jobs=tuple(jobs),
        reference=against,
        rows=rows(runs, against, comparable=advice.comparable),
        differences=differences(jobs),
        recommendation=advice,
        checkpoints={run.job.id: run.checkpoints for run in runs},
    )
