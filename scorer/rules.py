"""The rules that may choose a checkpoint: each a sort key, what comes first is chosen.

Every key ends in `order_key`, which tells any two different scores apart, so every rule is a strict
total order of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from scorer.score import Score

Key = Callable[[Score], tuple[Any, ...]]

DEFAULT_RULE: Final = "multi-metric"
"""The rule that the documentation promises: the lowest total of the score."""

EMA_WEIGHT: Final = 0.5
"""The newest eval's share in the moving average of the rule `ema`."""


def order_key(score: Score) -> tuple[Any, ...]:
    """The sort key of a score: validity, total, eval loss, step, and then whatever else tells two apart."""
    metrics = score.metrics
    rest = (metrics.train_loss, metrics.accuracy, metrics.reward, metrics.kl)
    return (
        score.validity,
        _last(score.total),
        _last(metrics.eval_loss),
        metrics.step,
        *(_comparable(value) for value in rest),
        metrics.improved,
        score.reason,
        score.formula,
    )


def finite_loss(score: Score) -> bool:
    """Has it an eval loss to go by?"""
    return _last(score.metrics.eval_loss) < math.inf


def by_eval_loss(score: Score) -> tuple[Any, ...]:
    """The sort key of the lowest eval loss: the loss, then the step."""
    return (_last(score.metrics.eval_loss), score.metrics.step, *order_key(score))


def _last(value: float | None) -> float:
    """A number for sorting: what is missing or not finite comes last."""
    return value if value is not None and math.isfinite(value) else math.inf


def _comparable(value: float | None) -> tuple[int, float]:
    """Any number in a comparable form: finite and infinite ones, NaN, nothing."""
    if value is None:
        return (2, 0.0)
    return (0, value) if value == value else (1, 0.0)


def _by_smoothed_loss(scores: Sequence[Score]) -> Key:
    """By the exponential moving average of the eval losses up to each checkpoint."""
    smoothed: dict[tuple[Any, ...], float] = {}
    mean = math.nan
    for score in sorted(scores, key=lambda score: (score.metrics.step, order_key(score))):
        if finite_loss(score):
            loss = _last(score.metrics.eval_loss)
            mean = loss if mean != mean else mean + EMA_WEIGHT * (loss - mean)
        smoothed[order_key(score)] = mean if finite_loss(score) else math.inf
    return lambda score: (smoothed[order_key(score)], *by_eval_loss(score))


RULES: Final[Mapping[str, Callable[[Sequence[Score]], Key]]] = {
    DEFAULT_RULE: lambda scores: order_key,
    "eval-loss": lambda scores: by_eval_loss,
    "ema": _by_smoothed_loss,
    "last": lambda scores: lambda score: (-score.metrics.step, *order_key(score)),
}
"""Each rule's name and, given all scores of a run, its sort key."""
