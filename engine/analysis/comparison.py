"""Runs side by side: the metric table, what differs, and which run to keep. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from engine.analysis.compared import (
    Cell,
    Comparison,
    Correlation,
    Difference,
    Direction,
    Recommendation,
    Row,
    Standing,
    Statistic,
    Unit,
)
from engine.analysis.configuration import differences
from engine.analysis.correlation import correlations
from engine.analysis.history import kind_of, leaders_of
from engine.analysis.metrics import Run, is_curve
from engine.analysis.recommendation import recommend
from engine.analysis.table import rows
from engine.errors import BadInput
from engine.records import Checkpoint, Job, MetricSummary

__all__ = [
    "Cell", "Comparison", "Correlation", "Difference", "Direction", "Recommendation", "Row", "Standing",
    "Statistic", "Unit", "compare",
]  # fmt: skip


def compare(
    jobs: Sequence[Job],
    checkpoints: Mapping[str, Sequence[Checkpoint]],
    *,
    reference: str | None = None,
    archive_above: float = 0.5,
    warn_above: float = 0.25,
    summaries: Mapping[str, Mapping[str, MetricSummary]] | None = None,
    statistic: Statistic = "last",
    others: Sequence[Job] = (),
    together: Callable[[Sequence[Job], str | None], tuple[Correlation, ...]] = correlations,
) -> Comparison:
    """Compare runs.

    Args:
        jobs: The runs, in the order they are shown in.
        checkpoints: Each run's checkpoints by job id; a run without any may be left out.
        reference: The id of the run that deltas are against; by default, and where it is not among the
            runs, the best run.
        archive_above: A run worse than this fraction is offered for archiving.
        warn_above: A run worse than this fraction is warned of.
        summaries: Each run's curves in four numbers, by job id and metric.
        statistic: Which of the four stands in the table.
        others: All runs of the model, to tell what changed together with the result.
        together: Tells it.

    Raises:
        BadInput: There are no runs.
    """
    if not jobs:
        raise BadInput("there are no runs to compare", "Name two or more.")
    leaders = leaders_of(jobs)
    told = summaries or {}
    runs = [
        Run(
            job,
            tuple(sorted(checkpoints.get(job.id, ()), key=lambda item: item.step)),
            leaders.get(kind_of(job)),
            told.get(job.id, {}),
            statistic,
        )
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
        statistic=statistic,
        metrics=tuple(dict.fromkeys(name for run in runs for name in run.summaries if is_curve(name))),
        correlations=together(_all_of(jobs, others), advice.job_id),
    )


def _all_of(jobs: Sequence[Job], others: Sequence[Job]) -> list[Job]:
    """The compared runs and the others, each once."""
    return list({job.id: job for job in (*jobs, *others)}.values())
