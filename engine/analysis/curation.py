"""Which runs a rule would hide, and which checkpoints could go: the deciding, not the doing. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from engine.analysis.history import by_model
from engine.errors import BadInput
from engine.job.events import Status
from engine.records import Checkpoint, Job
from scorer import ordering


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes a run one to hide; any one of these is enough, and at least one must be given.

    Args:
        worse: Its best eval loss is more than this fraction above its model's best.
        days: It was made more than so many days ago.
        failed: It failed.
    """

    worse: float | None = None
    days: float | None = None
    failed: bool = False

    def __post_init__(self) -> None:
        if self.worse is None and self.days is None and not self.failed:
            raise BadInput("no rule says what to archive", "Give worse, an age in days, or failed.")
        for name, value in (("worse", self.worse), ("days", self.days)):
            if value is not None and not value >= 0:
                raise BadInput(f"{name} must be 0 or more, not {value:g}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run that a rule would hide.

    Args:
        job: The run.
        reason: Why, in words.
    """

    job: Job
    reason: str


def to_archive(
    every: Iterable[Job], rule: Rule, now: datetime, among: Collection[str] | None = None
) -> tuple[Candidate, ...]:
    """The runs that a rule would archive.

    Never a run that is under way or paused, hidden already, or the best of its model.

    Args:
        every: All runs: what is worse is told against the best of them.
        rule: What makes a run one to hide.
        now: Ages count from here.
        among: The ids of the runs that may be chosen; None is all.
    """
    found = []
    for runs in by_model([job for job in every if not (job.archived or job.deleted)]):
        for job in runs.jobs:
            if not job.status.ended or job is runs.best or (among is not None and job.id not in among):
                continue
            if reason := _reason(job, rule, runs.worse.get(job.id), now):
                found.append(Candidate(job, reason))
    return tuple(found)


def _reason(job: Job, rule: Rule, worse: float | None, now: datetime) -> str:
    """Every part of the rule that holds, in words; empty when none does."""
    reasons = []
    if rule.worse is not None and worse is not None and worse > rule.worse:
        reasons.append(f"{worse:.0%} worse than its model's best".replace("%", " %"))
    if rule.failed and job.status == Status.FAILED:
        reasons.append(f"failed: {job.error_message}" if job.error_message else "failed")
    if rule.days is not None and now - job.created_at > timedelta(days=rule.days):
        reasons.append(f"{(now - job.created_at).days} days old")
    return ", ".join(reasons)


def surplus(checkpoints: Sequence[Checkpoint], keep: int) -> tuple[Checkpoint, ...]:
    """The checkpoints whose files could go when the best `keep` of a run stay.

    The best by score, the one with the lowest eval loss and the newest stay in any case, and so do those
    that have no score: nothing says that they are worse.

    Args:
        checkpoints: A run's checkpoints by step, with their standing.
        keep: How many of the best stay, 1 or more.
    """
    if keep < 1:
        raise BadInput(f"at least one checkpoint of a run is kept, not {keep}")
    there = [item for item in checkpoints if item.path is not None]
    kinds = {(item.score.formula, item.score.weights) for item in there if item.score is not None}
    if len(kinds) > 1:
        # Scores of two formulas can't be ordered: what can't be judged is kept.
        return ()
    scores = ordering(item.score for item in there if item.score is not None)
    kept = {id(score) for score in scores[:keep]}
    return tuple(
        item
        for item in there[:-1]
        if item.score is not None
        and id(item.score) not in kept
        and not (item.is_best or item.is_lowest_eval_loss)
    )
