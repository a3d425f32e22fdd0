"""What runs are judged against: the other runs of their model, and the moment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import is_

from engine.analysis.families import group_of
from engine.analysis.history import ModelRuns, by_model, model_of
from engine.records import Job


@dataclass(frozen=True, slots=True)
class Scene:
    """What a row is drawn against.

    Args:
        now: Dates are shown against it.
        models: All runs of each model, by its name.
        digits: How wide run numbers are.
        extents: Of each model, its greatest run number and the cells of its longest name with tags.
        warn_above: A run worse than the best by more than this fraction is warned of.
        archive_above: One that is worse by more than this is offered for archiving.
    """

    now: datetime
    models: Mapping[str, ModelRuns]
    digits: int = 2
    extents: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    warn_above: float = 0.25
    archive_above: float = 0.5

    @classmethod
    def of(cls, jobs: Iterable[Job], now: datetime, before: Scene | None = None) -> Scene:
        """The scene that some runs make; models whose runs are those of before are not judged anew."""
        members: dict[str, list[Job]] = {}
        for job in jobs:
            members.setdefault(model_of(job), []).append(job)
        known = before.models if before else {}
        models = {
            model: known[model] if model in known and same(known[model].jobs, runs) else by_model(runs)[0]
            for model, runs in members.items()
        }
        extents = {
            model: before.extents[model]
            if before and before.models.get(model) is runs
            else (max(job.number for job in runs.jobs), max(map(_length, runs.jobs)))
            for model, runs in models.items()
        }
        greatest = max((number for number, _ in extents.values()), default=0)
        return cls(now, models, max(2, len(str(greatest))), extents)

    @property
    def longest(self) -> int:
        """Cells of the longest name with its tags, near enough to share out the width."""
        return max((length for _, length in self.extents.values()), default=0)

    def is_best(self, job: Job) -> bool:
        """Has it the lowest eval loss of its model's runs?"""
        runs = self.models.get(model_of(job))
        return runs is not None and runs.best is not None and runs.best.id == job.id

    def worse(self, job: Job) -> float | None:
        """How much higher its best eval loss is than its model's best, as a fraction; None when unknown."""
        runs = self.models.get(model_of(job))
        return runs.worse.get(job.id) if runs else None


class Kin:
    """The runs of the models, or families, that some runs are of; not looked for twice among the same."""

    def __init__(self) -> None:
        self._jobs: Sequence[Job] = ()
        self._groups: tuple[bool, frozenset[str]] | None = None
        self._found: tuple[Job, ...] = ()

    def of(self, some: Iterable[Job], jobs: Sequence[Job], family: bool) -> tuple[Job, ...]:
        """They, in the order of `jobs`."""
        groups = (family, frozenset(group_of(job, family) for job in some))
        if groups != self._groups or not same(jobs, self._jobs):
            self._found = tuple(job for job in jobs if group_of(job, family) in groups[1])
            self._jobs, self._groups = jobs, groups
        return self._found


def _length(job: Job) -> int:
    return len(job.name) + (sum(len(tag) + 2 for tag in job.tags) if job.tags else 0)


def same(one: Sequence[Job], other: Sequence[Job]) -> bool:
    """Are these the very same objects? The store hands out the same ones until they change."""
    return len(one) == len(other) and all(map(is_, one, other))


def finite(value: float | None) -> bool:
    """Is it a number that can be compared?"""
    return value is not None and math.isfinite(value)
