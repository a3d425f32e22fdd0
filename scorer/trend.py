"""A run's losses as they are logged -> a verdict at any time, with a state that survives a restart.

The window and the order of the verdicts are in `scorer.verdict`. What can go wrong between two losses is
judged at every loss; the slope, which takes the time, at every tenth: over a hundred losses it can't turn
faster. benchmarks/trend.py measures false calls, power and cost. Ships; stdlib only.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Any, Final, Self

from scorer.number import jsonable, number, whole
from scorer.slope import Slope, fit
from scorer.stored import mapping, rows
from scorer.verdict import FEWEST, EvalPoint, TrainPoint, TrendName, Verdict, judge, robust_z

__all__ = ["EVERY", "WINDOW", "LossTrend", "TrendName", "Verdict"]

WINDOW: Final = 100
"""Losses that a verdict looks at."""
EVERY: Final = 10
"""Losses between two fits of the slope."""

_KEPT_EVALS: Final = 100


class LossTrend:
    """Follows the losses of one run; a loss at an old step (a resume) drops what came after it."""

    def __init__(self) -> None:
        self._train: list[TrainPoint] = []
        self._evals: list[EvalPoint] = []
        self._count = 0
        self._lowest_before = math.inf
        self._slope: Slope | None = None
        self._slope_is_due = True

    def add_train(self, step: int, loss: object, grad_norm: object = None) -> None:
        """Take in a logged training loss (nats a token) and gradient norm; what is no number is ignored."""
        value = number(loss)
        if value is None:
            return
        before = self._train
        if before and before[-1].step >= step:
            before = [point for point in before if point.step < step]
            self._count -= len(self._train) - len(before)
            self._slope_is_due = True
        point = TrainPoint(step, value, number(grad_norm), robust_z(before, value))
        self._train = [*before, point][-(WINDOW + EVERY) :]
        self._count += 1
        self._slope_is_due = self._slope_is_due or self._count % EVERY == 0

    def add_eval(self, step: int, eval_loss: object) -> None:
        """Take in an eval loss, nats a token; what is no number is ignored."""
        value = number(eval_loss)
        if value is None:
            return
        before = [point for point in self._evals if point.step < step]
        since = before[-1].step if before else -1
        losses = [p.loss for p in self._train if since < p.step <= step and math.isfinite(p.loss)]
        self._evals = [*before, EvalPoint(step, value, median(losses) if losses else None)]
        if len(self._evals) > _KEPT_EVALS:
            self._lowest_before = _lowest(self._lowest_before, self._evals.pop(0).loss)

    def verdict(self) -> Verdict:
        """How training goes now."""
        if self._slope_is_due:
            settled = self._train[: len(self._train) - self._count % EVERY][-WINDOW:]
            points = [(point.step, point.loss) for point in settled if math.isfinite(point.loss)]
            self._slope = fit(points) if len(points) >= FEWEST else None
            self._slope_is_due = False
        lowest = self._lowest_before
        for point in self._evals:
            lowest = _lowest(lowest, point.loss)
        return judge(self._train[-WINDOW:], self._evals, lowest, self._slope)

    def to_json(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {
            "count": self._count,
            "lowest_before": jsonable(self._lowest_before),
            "train": [[jsonable(value) for value in point] for point in self._train],
            "evals": [[jsonable(value) for value in point] for point in self._evals],
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The follower as it was.

        Raises:
            ValueError: It is no such state.
        """
        stored = mapping(value, "a trend's state")
        trend = cls()
        count, lowest = whole(stored.get("count")), number(stored.get("lowest_before"))
        train, evals = rows(stored.get("train"), 4), rows(stored.get("evals"), 3)
        if count is None or count < len(train) or lowest is None:
            raise ValueError("a trend's state without its count or its lowest eval loss")
        trend._count, trend._lowest_before = count, lowest
        trend._train = [
            TrainPoint(step, _real(loss), norm, _real(z))
            for step, loss, norm, z in train[-(WINDOW + EVERY) :]
        ]
        trend._evals = [EvalPoint(step, _real(loss), before) for step, loss, before in evals[-_KEPT_EVALS:]]
        return trend


def _lowest(known: float, loss: float) -> float:
    """The lower of two losses, of which the newer may be NaN."""
    return loss if loss < known else known


def _real(value: float | None) -> float:
    if value is None:
        raise ValueError("a trend's state that lacks a number")
    return value
