"""Which finished runs of a model nobody has looked at side by side yet. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from engine.analysis.history import by_model
from engine.records import Job, SavedComparison

MOST: Final = 5
"""As many runs as a comparison overlays."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A comparison that is worth a look.

    Args:
        model: The model.
        job_ids: The runs: its best one first, then the new ones, the newest first.
        new: How many of them were never compared.
        sentence: «2 new runs of Qwen2.5-7B were never compared».
    """

    model: str
    job_ids: tuple[str, ...]
    new: int
    sentence: str


def suggestions(
    jobs: Iterable[Job], compared: Iterable[str] = (), saved: Sequence[SavedComparison] = ()
) -> tuple[Suggestion, ...]:
    """The models that have finished runs which were never compared with another, the newest first.

    Args:
        jobs: All runs; hidden ones and replays are left out.
        compared: The ids of runs that were on the Comparison screen beside another.
        saved: The comparisons that were kept.
    """
    seen = {*compared, *(job_id for item in saved for job_id in item.job_ids)}
    shown = [job for job in jobs if not (job.archived or job.deleted or job.replay)]
    found = []
    for runs in by_model(shown):
        new = sorted(
            (
                job
                for job in runs.jobs
                if job.status == "completed" and job.id not in seen and job.id in runs.worse
            ),
            key=lambda job: job.created_at,
            reverse=True,
        )
        if new and runs.best is not None and len(runs.worse) > 1:
            others = [job.id for job in new if job is not runs.best]
            # A new best one is compared with what was the best before it.
            if not others:
                others = [
                    min((item for item in runs.worse if item != runs.best.id), key=runs.worse.__getitem__)
                ]
            chosen = (runs.best.id, *others)[:MOST]
            noun, verb = ("run", "was") if len(new) == 1 else ("runs", "were")
            text = f"{len(new)} new {noun} of {runs.model} {verb} never compared"
            found.append((new[0].created_at, Suggestion(runs.model, chosen, len(new), text)))
    return tuple(item for _, item in sorted(found, key=lambda pair: pair[0], reverse=True))
