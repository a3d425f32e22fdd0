"""Many scores -> the best one, the lowest eval loss, and what is statistically tied with the best.

The order is `(validity, total, eval_loss, step)`, a strict total order in which what is missing or not
finite comes last. The best is its least element, so neither the order of arrival nor a resume nor a
merge of two journals can change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scorer.explain import explain
from scorer.metrics import Validity
from scorer.rules import DEFAULT_RULE, RULES, finite_loss, order_key
from scorer.score import Score
from scorer.ties import tied_with

__all__ = [
    "DEFAULT_RULE",
    "MEAN_OF_THREE",
    "RULES",
    "Selection",
    "mean_of_three",
    "order_key",
    "ordering",
    "select",
    "usable",
]

MEAN_OF_THREE: Final = "mean-of-three"
"""The rule that averages the weights of three checkpoints instead of choosing one."""


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


def ordering(scores: Iterable[Score], rule: str = DEFAULT_RULE) -> tuple[Score, ...]:
    """The scores from best to worst by a rule, duplicates dropped.

    Raises:
        ValueError: The rule is unknown, or it compares totals and the scores are of different formulas
            or weights.
    """
    if rule not in RULES:
        raise ValueError(f"no rule is called {rule}; known are {', '.join(RULES)}")
    distinct = {order_key(score): score for score in scores}
    kinds = {(score.formula, score.weights) for score in distinct.values()}
    if rule == DEFAULT_RULE and len(kinds) > 1:
        formulas = ", ".join(sorted({formula for formula, _ in kinds}))
        raise ValueError(f"scores of different formulas or weights can't be compared ({formulas})")
    if rule == DEFAULT_RULE:
        return tuple(distinct[key] for key in sorted(distinct))
    return tuple(sorted(distinct.values(), key=RULES[rule](tuple(distinct.values()))))


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
        ValueError: The rule is unknown, or it compares totals and the scores are of different formulas
            or weights.
    """
    order = ordering(scores, rule)
    best = order[0] if order and usable(order[0], rule) else None
    # The order settles what loss and step leave open.
    lowest = min(
        filter(finite_loss, order),
        key=lambda score: (score.metrics.eval_loss, score.metrics.step),
        default=None,
    )
    tied = tied_with(best, order, per_example or {}, noise) if best else ()
    return Selection(best, lowest, tied, explain(best, lowest, tied, order, rule), rule)


def mean_of_three(scores: Iterable[Score]) -> tuple[Score, ...]:
    """The three checkpoints with the best scores, best first: the mean of their weights may beat any one.

    In docs/SELECTION.md averaging is what clearly beats the default both in distribution and under domain
    shift. Empty where fewer than three have a valid score.

    Raises:
        ValueError: The scores are of different formulas or weights.
    """
    best = [score for score in ordering(scores) if score.validity is Validity.VALID][:3]
    return tuple(best) if len(best) == 3 else ()


def usable(score: Score, rule: str = DEFAULT_RULE) -> bool:
    """May a checkpoint be called the best at all?"""
    if rule == DEFAULT_RULE:
        return score.validity <= Validity.NEGATIVE
    return rule == "last" or finite_loss(score)
