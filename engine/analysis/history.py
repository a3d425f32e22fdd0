"""The runs of each model as a story: the best, how much worse the others are, is it time to stop? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final

from engine.analysis.metrics import known, worse
from engine.records import Job

RECENT: Final = 5
"""How many of the last runs must have gained something."""

ENOUGH: Final = 0.01
"""The gain of the last runs below which it is time to think of stopping, as a fraction."""


@dataclass(frozen=True, slots=True)
class Improvement:
    """How a model's runs got better, one after the other.

    Args:
        losses: Best eval loss of each run that has one, in the order that they were made in.
        best_so_far: The lowest of them up to each run: the learning curve of the experimenter.
        runs: How many of the last runs `gained` is about.
        gained: What they gained on the best before them, as a fraction; None with too few runs.
        stalled: Did they gain so little that one may stop?
        sentence: «last 5 runs gained 0.4 %: consider stopping»; empty with too few runs.
    """

    losses: tuple[float, ...] = ()
    best_so_far: tuple[float, ...] = ()
    runs: int = 0
    gained: float | None = None
    stalled: bool = False
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class ModelRuns:
    """All runs of one model.

    Args:
        model: Its name.
        jobs: Its runs, in the order given.
        best: The run with the lowest best eval loss; of equal ones the oldest.
        worse: By job id, how much worse than the best its best eval loss is, as a fraction; 0 for the best.
        improvement: How they got better.
    """

    model: str
    jobs: tuple[Job, ...]
    best: Job | None = None
    worse: Mapping[str, float] = field(default_factory=dict)
    improvement: Improvement = field(default_factory=Improvement)


def model_of(job: Job) -> str:
    """The model that a run starts from; what runs are grouped by."""
    return job.base_model or job.model_name or "unknown model"


def by_model(jobs: Iterable[Job]) -> tuple[ModelRuns, ...]:
    """The runs grouped by model, in the order of each model's first run among those given."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(model_of(job), []).append(job)
    return tuple(_runs(model, members) for model, members in groups.items())


def _runs(model: str, jobs: Sequence[Job]) -> ModelRuns:
    best = best_of(jobs)
    lowest = best.best_eval_loss if best else None
    excess = {job.id: value for job in jobs if (value := worse(job.best_eval_loss, lowest)) is not None}
    return ModelRuns(model, tuple(jobs), best, excess, improvement(jobs))


def best_of(jobs: Iterable[Job]) -> Job | None:
    """The run with the lowest best eval loss; of equal ones the oldest. None when none has one."""
    judged = [job for job in jobs if known(job.best_eval_loss) is not None]
    return min(judged, key=lambda job: (job.best_eval_loss or 0.0, *_age(job)), default=None)


def improvement(jobs: Iterable[Job], *, recent: int = RECENT, enough: float = ENOUGH) -> Improvement:
    """How some runs of one model got better.

    Runs that still go on, or have no eval loss, are no attempts yet and left out.

    Args:
        jobs: The runs, in any order.
        recent: How many of the last ones must have gained something.
        enough: What they must have gained, as a fraction.
    """
    attempts = sorted((job for job in jobs if not job.status.live), key=_age)
    losses = [loss for job in attempts if (loss := known(job.best_eval_loss)) is not None]
    best_so_far: list[float] = []
    for loss in losses:
        best_so_far.append(min(loss, best_so_far[-1]) if best_so_far else loss)
    if len(losses) <= recent or best_so_far[-recent - 1] <= 0:
        return Improvement(tuple(losses), tuple(best_so_far))
    before, after = best_so_far[-recent - 1], best_so_far[-1]
    gained = (before - after) / before
    stalled = gained < enough
    advice = ": consider stopping" if stalled else ""
    sentence = f"last {recent} runs gained {_percent(gained)}{advice}"
    return Improvement(tuple(losses), tuple(best_so_far), recent, gained, stalled, sentence)


def spark_values(values: Sequence[float], columns: int) -> tuple[float, ...]:
    """A series reduced to the cells of a sparkline: the mean of each cell's share, the order kept."""
    finite = [value for value in values if known(value) is not None]
    if columns <= 0 or len(finite) <= columns:
        return tuple(finite[: max(columns, 0)])
    edges = [round(at * len(finite) / columns) for at in range(columns + 1)]
    shares = (finite[low:high] for low, high in pairwise(edges))
    return tuple(sum(share) / len(share) for share in shares)


def _age(job: Job) -> tuple[datetime, int, str]:
    return (job.created_at, job.number, job.id)


def _percent(fraction: float) -> str:
    value = fraction * 100
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.1f} %"
