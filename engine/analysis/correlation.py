"""What changed together with the result over a model's runs: rank correlations, with their n. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from engine.analysis.comparability import FACETS
from engine.analysis.compared import Correlation
from engine.analysis.configuration import settings
from engine.analysis.metrics import known
from engine.records import Job

FEW: Final = 10
"""Fewer runs than this say little: with 9, chance alone gives |rho| > 0.68 once in twenty times."""

_LEAST: Final = 4
"""Fewer runs than this say nothing."""

_MOST: Final = 400
"""How many runs are looked at, the newest; more change nothing but the time it takes."""

_NOT_ASKED: Final = frozenset({"seed"})
"""Settings whose order has no meaning."""


def correlations(jobs: Sequence[Job], best_id: str | None) -> tuple[Correlation, ...]:
    """Spearman's rank correlation of every numeric setting with the result, the strongest first.

    Only runs whose losses mean the same as the best run's count; ties share the mean of their ranks
    (Spearman 1904). A setting that is the same in all of them correlates with nothing and is left out.

    Args:
        jobs: The model's runs.
        best_id: The run whose loss says what is comparable; without it there are none.
    """
    judged = [job for job in jobs if known(job.rank_value) is not None and not job.status.live]
    best = next((job for job in jobs if job.id == best_id), None)
    if best is None or len(judged) < _LEAST:
        return ()
    newest = sorted(judged, key=lambda job: job.created_at)[-_MOST:]
    wanted = _identity(best)
    like = [job for job in newest if _like(wanted, _identity(job))]
    flat = [_numbers(job) for job in like]
    keys = dict.fromkeys(key for one in flat for key in one)
    found = [item for key in keys if (item := _of(key, like, flat)) is not None]
    return tuple(sorted(found, key=lambda item: (-abs(item.rho), item.key)))


class Together:
    """`correlations` with its last answer: which of the same runs are compared changes nothing of it."""

    def __init__(self) -> None:
        self._jobs: tuple[Job, ...] = ()  # kept, so that no other job can come by one's id
        self._ids: frozenset[int] = frozenset()
        self._like: tuple[str | None, ...] | None = None
        self._found: tuple[Correlation, ...] = ()

    def __call__(self, jobs: Sequence[Job], best_id: str | None) -> tuple[Correlation, ...]:
        """As `correlations`."""
        best = next((job for job in jobs if job.id == best_id), None)
        like = None if best is None else _identity(best)
        # Live ones do not count, and change all the time.
        ended = tuple(job for job in jobs if not job.status.live)
        ids = frozenset(map(id, ended))
        if like is None or (ids, like) != (self._ids, self._like):
            self._found = correlations(jobs, best_id)
            self._jobs, self._ids, self._like = ended, ids, like
        return self._found


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Spearman's rank correlation; None where one side is the same everywhere or there are fewer than two."""
    # It loads decimals and fractions, which the first chart needs not wait for.
    from statistics import StatisticsError, correlation

    try:
        return correlation(ranks(xs), ranks(ys))
    except StatisticsError:
        return None


def ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value from 1; equal ones share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    at = 0
    while at < len(order):
        end = at
        while end + 1 < len(order) and values[order[end + 1]] == values[order[at]]:
            end += 1
        for place in order[at : end + 1]:
            found[place] = (at + end) / 2 + 1
        at = end + 1
    return found


def _of(key: str, jobs: Sequence[Job], flat: Sequence[Mapping[str, float]]) -> Correlation | None:
    pairs = [
        (one[key], loss)
        for job, one in zip(jobs, flat, strict=True)
        if key in one and (loss := known(job.rank_value)) is not None
    ]
    if len(pairs) < _LEAST:
        return None
    rho = spearman([x for x, _ in pairs], [y for _, y in pairs])
    return None if rho is None else Correlation(key, rho, len(pairs), len(pairs) < FEW)


def _numbers(job: Job) -> dict[str, float]:
    """Its settings that are numbers, or yes and no."""
    return {
        key: float(value)
        for key, value in settings(job)
        if key not in _NOT_ASKED and _is_number(value) and known(float(value)) is not None
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and (isinstance(value, bool) or abs(value) < 1e300)


def _identity(job: Job) -> tuple[str | None, ...]:
    """What must be the same for two losses to mean the same."""
    values = (facet.value(job) for facet in FACETS)
    return tuple(None if value is None else value[0] for value in values)


def _like(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> bool:
    """Is nothing known that keeps the losses from meaning the same?"""
    return all(
        mine is None or theirs is None or mine == theirs for mine, theirs in zip(one, other, strict=True)
    )
