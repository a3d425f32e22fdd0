"""One checkpoint's metrics -> its score: a total and the four parts that add up to it.

multi-metric/1, lower is better:

    total = 0.5·eval_loss
          + 0.3·|train_loss − eval_loss| / max(eval_loss, 0.001)
          + 0.1·min(e^eval_loss / 20, 1)
          − 0.1·[eval_loss improved on the previous eval]

The first eval counts as improved. Without a train loss there is no gap part. Losses are in nats.
multi-metric/1-dpo is the same with 1 − eval accuracy in the place of min(e^eval_loss / 20, 1): a
preference loss has no perplexity. reward-kl/1, for RLHF, is kl − reward: its eval_loss part is −reward
and its gap part, the distance from the reference model, is kl; it takes no weights.

The formula is that of the system Podium replaces; docs/SELECTION.md has its evidence and its flaws.
A score is computed once, at eval time, and stored; nothing recomputes it alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from scorer.metrics import CheckpointMetrics, Validity, Weights
from scorer.number import jsonable, whole
from scorer.stored import score_fields

__all__ = [
    "FORMULA",
    "FORMULA_DPO",
    "FORMULA_REWARD",
    "CheckpointMetrics",
    "Score",
    "Validity",
    "Weights",
    "score",
]

FORMULA: Final = "multi-metric/1"
"""A changed formula is a new name; scores of different formulas are never compared."""

FORMULA_DPO: Final = "multi-metric/1-dpo"
"""For preference losses: 1 − eval accuracy takes the perplexity term's place."""

FORMULA_REWARD: Final = "reward-kl/1"
"""For RLHF, which has no eval loss: kl − reward."""

_MAX_EXPONENT: Final = math.log(20.0)
_MIN_LOSS: Final = 0.001
_DEFAULT_WEIGHTS: Final = Weights()

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    FORMULA: ("eval_loss",),
    FORMULA_DPO: ("eval_loss", "accuracy"),
    FORMULA_REWARD: ("reward",),
}
"""What each formula can't do without."""

_OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    FORMULA: ("train_loss",),
    FORMULA_DPO: ("train_loss",),
    FORMULA_REWARD: ("kl",),
}
"""What each formula also takes; where it is given, it must be a finite number."""


@dataclass(frozen=True, slots=True)
class Score:
    """A score and the parts that add up to its total; lower is better.

    Args:
        metrics: The numbers it was computed from.
        total: The sum of the four parts; NaN unless valid, as are the parts.
        eval_loss: The weighted eval-loss part.
        gap: The weighted train-eval gap part.
        perplexity: The weighted perplexity part.
        bonus: The weighted improvement part, zero or negative.
        validity: Its class.
        reason: Why it is not valid, a clause; empty when it is.
        formula: The formula's name.
        weights: The weights that were used.
    """

    metrics: CheckpointMetrics
    total: float
    eval_loss: float
    gap: float
    perplexity: float
    bonus: float
    validity: Validity = Validity.VALID
    reason: str = ""
    formula: str = FORMULA
    weights: Weights = field(default_factory=Weights)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values; what is not finite travels as "NaN", "Infinity" or "-Infinity"."""
        return {
            "total": jsonable(self.total),
            "eval_loss": jsonable(self.eval_loss),
            "gap": jsonable(self.gap),
            "perplexity": jsonable(self.perplexity),
            "bonus": jsonable(self.bonus),
            "formula": self.formula,
            "validity": self.validity.name.lower(),
            "reason": self.reason,
            "weights": {name: getattr(self.weights, name) for name in Weights.__slots__},
            "metrics": {name: jsonable(getattr(self.metrics, name)) for name in CheckpointMetrics.__slots__},
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The score that was stored, as it was; nothing is computed again.

        Raises:
            ValueError: It is no score: a part is missing or no number, or the parts do not add up.
        """
        return cls(**score_fields(value))


def score(metrics: CheckpointMetrics, weights: Weights | None = None, formula: str | None = None) -> Score:
    """Score one checkpoint; any numbers at all give a score, and its validity says what it is worth.

    Args:
        metrics: Its numbers; texts such as "0.5" or "NaN" count as the numbers that they name.
        weights: The weights of the four parts; None takes the default.
        formula: The formula's name; None takes reward-kl/1 where there is a reward, multi-metric/1-dpo
            where there is an accuracy, else multi-metric/1. A run whose evals may lack a number names it,
            so that all of its checkpoints are scored alike.

    Raises:
        ValueError: No formula has that name.
    """
    name = formula or _formula_for(metrics)
    if name not in _NEEDED:
        raise ValueError(f"no formula is called {name}; known are {', '.join(_NEEDED)}")
    weights = weights or _DEFAULT_WEIGHTS
    clean = metrics.cleaned()
    validity, reason = _judged(metrics, clean, name)
    if validity is Validity.VALID:
        parts = _reward_parts(clean) if name == FORMULA_REWARD else _parts(clean, weights, name)
        total = sum(parts)
        if math.isfinite(total):
            return Score(clean, total, *parts, validity, reason, name, weights)
        validity, reason = Validity.NOT_FINITE, "the numbers are too large to add up"
    nan = math.nan
    return Score(clean, nan, nan, nan, nan, nan, validity, reason, name, weights)


def _formula_for(metrics: CheckpointMetrics) -> str:
    """The formula that the numbers call for."""
    if metrics.reward is not None:
        return FORMULA_REWARD
    return FORMULA if metrics.accuracy is None else FORMULA_DPO


def _judged(given: CheckpointMetrics, clean: CheckpointMetrics, formula: str) -> tuple[Validity, str]:
    """The validity class of the numbers that a formula uses, and why."""
    if whole(given.step) is None:
        return Validity.MISSING, "the step is no whole number"
    names = [*_NEEDED[formula], *(name for name in _OPTIONAL[formula] if getattr(given, name) is not None)]
    values: dict[str, float] = {}
    for name in names:
        value = getattr(clean, name)
        if value is None:
            lacks = getattr(given, name) is None
            return (
                Validity.MISSING,
                f"there is no {_words(name)}" if lacks else f"the {_words(name)} is no number",
            )
        values[name] = value
    for name, value in values.items():
        if not math.isfinite(value):
            return Validity.NOT_FINITE, f"the {_words(name)} is {jsonable(value)}"
    if not 0 <= values.get("accuracy", 0.0) <= 1:
        return Validity.MISSING, "the accuracy is not between 0 and 1"
    for name in ("eval_loss", "train_loss"):
        if values.get(name, 0.0) < 0:
            return Validity.NEGATIVE, f"the {_words(name)} is below zero"
    return Validity.VALID, ""


def _parts(metrics: CheckpointMetrics, weights: Weights, formula: str) -> tuple[float, float, float, float]:
    """The weighted parts of multi-metric/1 and of its variant for preference losses."""
    eval_loss = metrics.eval_loss or 0.0
    gap = 0.0
    if metrics.train_loss is not None:
        gap = abs(metrics.train_loss - eval_loss) / max(eval_loss, _MIN_LOSS)
    # e^x is bounded through x: it can't overflow.
    third = math.exp(min(eval_loss, _MAX_EXPONENT)) / 20.0
    if formula == FORMULA_DPO:
        third = 1.0 - (metrics.accuracy or 0.0)
    bonus = -weights.bonus if metrics.improved else 0.0
    return weights.eval_loss * eval_loss, weights.gap * gap, weights.perplexity * min(third, 1.0), bonus


def _reward_parts(metrics: CheckpointMetrics) -> tuple[float, float, float, float]:
    """The parts of reward-kl/1."""
    return -(metrics.reward or 0.0), metrics.kl or 0.0, 0.0, 0.0


def _words(name: str) -> str:
    """A field's name as words."""
    return "KL" if name == "kl" else name.replace("_", " ")
