"""The runs of each model as a story: the best, how much worse the others are, is it time to stop? Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import Final

from engine.analysis.metrics import behind, known
from engine.records import Job

RECENT: Final = 5
"""How many of the last runs must have gained something."""

ENOUGH: Final = 0.01
"""The gain of the last runs below which it is time to think of stopping, as a fraction."""


@dataclass(frozen=True, slots=True)
class Improvement:
    """How a model's runs got better, one after the other.

    Args:
        losses: Best eval loss of each run that has one, in the order that they were made in; of runs
            that are judged by rewards, where no other is there, their best reward.
        best_so_far: The best of them up to each run: the learning curve of the experimenter.
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
        best: The run with the lowest best eval loss, of equal ones the oldest; where none has a loss, the
            one with the highest reward.
        worse: By job id, how far behind the best of its kind it is, as a fraction; 0 for the best.
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
    kinds = [kind_of(job) for job in jobs]
    leaders = _leaders(jobs, kinds)
    lowest = leaders["loss"].best_eval_loss if "loss" in leaders else None
    excess: dict[str, float] = {}
    for job, kind in zip(jobs, kinds, strict=True):
        if kind == "loss" and lowest and job.best_eval_loss is not None and lowest > 0:
            excess[job.id] = job.best_eval_loss / lowest - 1
        elif kind is not None and (value := behind(job, leaders[kind])) is not None:
            excess[job.id] = value
    best = leaders.get("loss", leaders.get("reward"))
    return ModelRuns(model, tuple(jobs), best, excess, improvement(jobs))


def kind_of(job: Job) -> str | None:
    """What a run is judged by: `loss` or `reward`; None before its first evaluation."""
    if (loss := job.best_eval_loss) is not None:  # nearly always; ten thousand runs are asked at once
        return "loss" if math.isfinite(loss) else None
    if known(job.rank_value) is None:
        return None
    return "loss" if job.best_eval_reward is None else "reward"


def leaders_of(jobs: Iterable[Job]) -> dict[str | None, Job]:
    """The best run of each kind, by lowest eval loss or highest eval reward; of equal ones the oldest."""
    jobs = list(jobs)
    return _leaders(jobs, [kind_of(job) for job in jobs])


def _leaders(jobs: Sequence[Job], kinds: Sequence[str | None]) -> dict[str | None, Job]:
    leaders: dict[str | None, Job] = {}
    values: dict[str | None, float] = {}
    for job, kind in zip(jobs, kinds, strict=True):
        if kind is None:
            continue
        value = job.rank_value or 0.0
        if kind in leaders and value > values[kind]:
            continue
        if kind not in leaders or value < values[kind] or _age(job) < _age(leaders[kind]):
            leaders[kind], values[kind] = job, value
    return leaders


def best_of(jobs: Iterable[Job]) -> Job | None:
    """The best of the runs that are judged by a loss, or else of those that are judged by a reward."""
    leaders = leaders_of(jobs)
    return leaders.get("loss", leaders.get("reward"))


def improvement(jobs: Iterable[Job], *, recent: int = RECENT, enough: float = ENOUGH) -> Improvement:
    """How some runs of one model got better.

    Runs that still go on, or have no eval loss, are no attempts yet and left out.

    Args:
        jobs: The runs, in any order.
        recent: How many of the last ones must have gained something.
        enough: What they must have gained, as a fraction.
    """
    attempts = sorted((job for job in jobs if not job.status.live), key=_age)
    kinds = [kind_of(job) for job in attempts]
    kind = "loss" if "loss" in kinds else "reward"
    better = min if kind == "loss" else max
    losses = [
        value if kind == "loss" else -value
        for job, its in zip(attempts, kinds, strict=True)
        if its == kind and (value := job.rank_value) is not None
    ]
    best_so_far: list[float] = []
    for loss in losses:
        best_so_far.append(better(loss, best_so_far[-1]) if best_so_far else loss)
    if len(losses) <= recent or best_so_far[-recent - 1] <= 0:
        return Improvement(tuple(losses), tuple(best_so_far))
    before, after = best_so_far[-recent - 1], best_so_far[-1]
    gained = abs(before - after) / before
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


_age: Final = attrgetter("created_at", "number", "id")
"""What orders runs by the time when they were made, whatever else is equal."""


def _percent(fraction: float) -> str:
    value = fraction * 100
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.1f} %"
