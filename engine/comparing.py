"""Comparisons, read from the store for the screen, the command line and the exports. Blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from engine.analysis.snapshot import ARCHIVE_ABOVE, WARN_ABOVE
from engine.analysis.spending import best_checkpoint
from engine.records import Checkpoint, Curve, Job, MetricSummary
from engine.store.base import Store

if TYPE_CHECKING:
    from engine.analysis.comparison import Comparison, Statistic
    from engine.analysis.correlation import Together
    from engine.analysis.page import Curves

THRESHOLD: Final = "archive_above"
"""The setting that says how much worse than the best a run must be to be offered for archiving."""

_KEPT: Final = 16
"""Of how many jobs what was read last is kept."""
_COLUMNS: Final = 600
"""Points of an exported curve."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read of a job; the store hands out the same `Job` until it changes."""

    job: Job
    checkpoints: list[Checkpoint]
    summaries: Mapping[str, MetricSummary] | None = None


@dataclass(frozen=True, slots=True)
class _Compared:
    """A comparison and what it was made of."""

    jobs: tuple[Job, ...]
    others: tuple[Job, ...]
    asked: tuple[Any, ...]
    comparison: Comparison


_read_of: WeakKeyDictionary[Store, dict[str, _Read]] = WeakKeyDictionary()
_compared_of: WeakKeyDictionary[Store, _Compared] = WeakKeyDictionary()
_together_of: WeakKeyDictionary[Store, Together] = WeakKeyDictionary()


def comparison_of(
    store: Store,
    jobs: Sequence[Job],
    every: Iterable[Job],
    *,
    reference: str | None = None,
    statistic: Statistic = "last",
    family: bool = False,
    archive_above: float | None = None,
) -> Comparison:
    """Some jobs side by side; the last answer again while nothing of it has changed.

    Args:
        store: Where they are.
        jobs: They, at least one, in their order.
        every: All jobs there are, to tell what changed together with the result.
        reference: The job that deltas are against; None for the best.
        statistic: Which value of a curve stands in the table.
        family: Do the models of one family count as one?
        archive_above: As in `compare`; None for what the user has set.
    """
    from engine.analysis.comparison import compare  # the screens start without it
    from engine.analysis.correlation import Together
    from engine.analysis.families import group_of

    above = threshold(store) if archive_above is None else archive_above
    groups = {group_of(job, family) for job in jobs}
    others = tuple(job for job in every if job.deleted_at is None and group_of(job, family) in groups)
    asked = (reference, statistic, above)
    last = _compared_of.get(store)
    if last and last.asked == asked and _same(last.jobs, jobs) and _same(last.others, others):
        return last.comparison
    comparison = compare(
        jobs,
        {job.id: checkpoints_of(store, job) for job in jobs},
        reference=reference,
        archive_above=above,
        warn_above=min(WARN_ABOVE, above),
        summaries={job.id: _summaries(store, job) for job in jobs},
        statistic=statistic,
        others=others,
        together=_together_of.setdefault(store, Together()),
    )
    _compared_of[store] = _Compared(tuple(jobs), others, asked, comparison)
    return comparison


def threshold(store: Store) -> float:
    """How much worse than the best a run must be to be offered for archiving, as a fraction."""
    value = store.setting(THRESHOLD, ARCHIVE_ABOVE)
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e6
    return float(value) if usable else ARCHIVE_ABOVE


def exported_curves(store: Store, jobs: Iterable[Job]) -> Curves:
    """The curves that the HTML page draws."""
    # Nobody who only looks at the screen needs it.
    from engine.analysis.page import DRAWN

    jobs = list(jobs)
    found: dict[Any, dict[str, dict[str, Curve]]] = {}
    for _, axis, metrics in DRAWN:
        for job in jobs:
            curves = found.setdefault(axis, {}).setdefault(job.id, {})
            for metric in metrics:
                curves[metric] = store.curve(job.id, metric, axis=axis, columns=_COLUMNS)
    return found


def checkpoints_of(store: Store, job: Job) -> list[Checkpoint]:
    """A job's checkpoints; read again only when the job has changed."""
    return _read(store, job).checkpoints


def _summaries(store: Store, job: Job) -> Mapping[str, MetricSummary]:
    """A job's metrics in four numbers; read again only when the job has changed."""
    read = _read(store, job)
    if read.summaries is None:
        best = best_checkpoint(job, read.checkpoints)
        step = best.step if best else job.best_step
        read = _Read(job, read.checkpoints, store.summaries(job.id, best_step=step))
        _read_of[store][job.id] = read
    assert read.summaries is not None
    return read.summaries


def _read(store: Store, job: Job) -> _Read:
    known = _read_of.setdefault(store, {})
    if job.id not in known or known[job.id].job is not job:
        # Taken out first, so that those which were read longest ago come first.
        known.pop(job.id, None)
        known[job.id] = _Read(job, store.checkpoints(job.id))
        for job_id in list(known)[:-_KEPT]:
            known.pop(job_id, None)
    return known[job.id]


def _same(one: Sequence[Job], other: Sequence[Job]) -> bool:
    return len(one) == len(other) and all(map(is_, one, other))
