"""Many scores -> the best one, the lowest eval loss, and what is statistically tied with the best.

The order is `(validity, total, eval_loss, step)`, a strict total order in which what is missing or not
finite comes last. The best is its least element, so neither the order of arrival nor a resume nor a
merge of two journals can change it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scorer.explain import explain
from scorer.score import Score, Validity, total_order
from scorer.ties import tied_with

Key = Callable[[Score], tuple[Any, ...]]

DEFAULT_RULE: Final = "multi-metric"
"""The rule that the documentation promises: the lowest total of the score."""

EMA_WEIGHT: Final = 0.5
"""The newest eval's share in the moving average of the rule `ema`."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What to keep, and why.

    Args:
        best: The winner by the rule; None when no checkpoint has numbers to go by.
        lowest_eval_loss: The one with the lowest eval loss, whichever the rule prefers.
        tied: Those whose eval loss can't be told from the best's, in the rule's order, without the best.
        reason: One sentence for a person.
        rule: The rule that chose.
    """

    best: Score | None
    lowest_eval_loss: Score | None
    tied: tuple[Score, ...]
    reason: str
    rule: str = DEFAULT_RULE


def order_key(score: Score) -> tuple[Any, ...]:
    """The sort key of a score: validity, total, eval loss, step, and then whatever else tells two apart."""
    return (score.validity, _last(score.total), *_by_loss(score))


def ordering(scores: Iterable[Score], rule: str = DEFAULT_RULE) -> tuple[Score, ...]:
    """The scores from best to worst by a rule, duplicates dropped.

    Raises:
        ValueError: The rule is unknown, or the scores can't be compared: different formulas or weights.
    """
    if rule not in RULES:
        raise ValueError(f"no rule is called {rule}; known are {', '.join(RULES)}")
    distinct = list({order_key(score): score for score in scores}.values())
    kinds = {(score.formula, score.weights) for score in distinct}
    if len(kinds) > 1:
        names = ", ".join(sorted({formula for formula, _ in kinds}))
        raise ValueError(f"scores of different formulas or weights can't be compared: {names}")
    return tuple(sorted(distinct, key=RULES[rule](distinct)))


def select(
    scores: Iterable[Score],
    *,
    per_example: Mapping[int, Sequence[float]] | None = None,
    noise: float | None = None,
    rule: str = DEFAULT_RULE,
) -> Selection:
    """Choose among the checkpoints of one run.

    Args:
        scores: Their scores, in any order; the same score twice counts once.
        per_example: Step -> the eval loss of each eval example, nats, in one order for all steps.
        noise: Standard deviation of one eval loss, nats; None estimates it from the eval curve.
        rule: `multi-metric` (the score), or another of `RULES`.

    Raises:
        ValueError: The rule is unknown, or the scores are of different formulas or weights.
    """
    order = ordering(scores, rule)
    best = order[0] if order and usable(order[0], rule) else None
    with_loss = [score for score in order if _last(score.metrics.eval_loss) < math.inf]
    lowest = min(with_loss, key=_by_loss, default=None)
    tied = tied_with(best, order, per_example or {}, noise) if best else ()
    return Selection(best, lowest, tied, explain(best, lowest, tied, order, rule), rule)


def usable(score: Score, rule: str = DEFAULT_RULE) -> bool:
    """May a checkpoint be called the best at all?"""
    if rule == DEFAULT_RULE:
        return score.validity <= Validity.NEGATIVE
    return rule == "last" or _last(score.metrics.eval_loss) < math.inf


def _last(value: float | None) -> float:
    """A number for sorting: what is missing or not finite comes last."""
    return value if value is not None and math.isfinite(value) else math.inf


def _by_loss(score: Score) -> tuple[Any, ...]:
    return (_last(score.metrics.eval_loss), score.metrics.step, *total_order(score), score.reason)


def _multi_metric(_: Sequence[Score]) -> Key:
    return order_key


def _eval_loss(_: Sequence[Score]) -> Key:
    return _by_loss


def _last_step(_: Sequence[Score]) -> Key:
    return lambda score: (-score.metrics.step, *order_key(score))


def _ema(scores: Sequence[Score]) -> Key:
    """By the exponential moving average of the eval losses up to each checkpoint."""
    smoothed: dict[tuple[Any, ...], float] = {}
    mean = math.nan
    for score in sorted(scores, key=lambda score: (score.metrics.step, order_key(score))):
        loss = _last(score.metrics.eval_loss)
        if loss < math.inf:
            mean = loss if mean != mean else mean + EMA_WEIGHT * (loss - mean)
        smoothed[order_key(score)] = mean if loss < math.inf else math.inf
    return lambda score: (smoothed[order_key(score)], *_by_loss(score))


RULES: Final[Mapping[str, Callable[[Sequence[Score]], Key]]] = {
    DEFAULT_RULE: _multi_metric,
    "eval-loss": _eval_loss,
    "ema": _ema,
    "last": _last_step,
}
"""Each rule's name and its sort key: what comes first is what it chooses."""
