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
from dataclasses import asdict, astuple, dataclass, field, fields
from enum import IntEnum
from typing import Any, Final, Self

from scorer.number import jsonable, number, whole

FORMULA: Final = "multi-metric/1"
"""A changed formula is a new name; scores of different formulas are never compared."""

FORMULA_DPO: Final = "multi-metric/1-dpo"
"""For preference losses: 1 − eval accuracy takes the perplexity term's place."""

FORMULA_REWARD: Final = "reward-kl/1"
"""For RLHF, which has no eval loss: kl − reward."""

_MAX_EXPONENT: Final = math.log(20.0)
_MIN_LOSS: Final = 0.001
_LONGEST: Final = 500
"""Of a formula's name or a reason that is read back (characters)."""


class Validity(IntEnum):
    """How far a score can be trusted; a lower class always wins over a higher one."""

    VALID = 0
    """Every number that the formula needs is there, finite and in its range."""
    NEGATIVE = 1
    """A loss below zero, which neither cross entropy nor the losses of DPO and ORPO can be: something
    else is being measured, and the formula, which divides by the loss, says nothing about it. Such
    checkpoints are ordered by eval loss alone."""
    NOT_FINITE = 2
    """A number is NaN, infinite, or so large that the total is."""
    MISSING = 3
    """A number that the formula needs is not there, or is no number."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of the four parts, dimensionless.

    Raises:
        ValueError: A weight is no finite number, or is below zero.
    """

    eval_loss: float = 0.5
    gap: float = 0.3
    perplexity: float = 0.1
    bonus: float = 0.1

    def __post_init__(self) -> None:
        for name, given in asdict(self).items():
            value = None if isinstance(given, str) else number(given)
            if value is None or not 0 <= value < math.inf:
                raise ValueError(f"the weight {name} must be a number of at least 0, not {str(given)[:40]!r}")
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class CheckpointMetrics:
    """What is known of a checkpoint at its own eval.

    Args:
        step: The optimizer step.
        eval_loss: Mean loss on the eval split, nats a token.
        train_loss: The newest logged training loss, nats a token.
        improved: Is eval_loss lower than the previous eval's? True for the first.
        accuracy: Share of eval pairs whose chosen answer has the higher reward, 0 to 1 (DPO).
        reward: Mean reward on the eval prompts (RLHF).
        kl: Its divergence from the reference model, nats (RLHF).
    """

    step: int
    eval_loss: float | None = None
    train_loss: float | None = None
    improved: bool = False
    accuracy: float | None = None
    reward: float | None = None
    kl: float | None = None


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
        reason: Why it is not valid, one sentence; empty when it is.
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
            "weights": asdict(self.weights),
            "metrics": {name: jsonable(value) for name, value in asdict(self.metrics).items()},
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The score that was stored, as it was; nothing is computed again.

        Raises:
            ValueError: It is no score: a part is missing or no number, or the parts do not add up.
        """
        stored = _mapping(value, "a score")
        try:
            validity = Validity[_text(stored, "validity").upper()]
        except KeyError:
            raise ValueError("a score of an unknown validity") from None
        total = _part(stored, "total")
        parts = [_part(stored, name) for name in ("eval_loss", "gap", "perplexity", "bonus")]
        if validity is Validity.VALID and not math.isclose(total, sum(parts), rel_tol=1e-9, abs_tol=1e-9):
            raise ValueError("a score whose parts do not add up to its total")
        given = _mapping(stored.get("weights", {}), "a score's weights")
        weights = Weights(**{item.name: given[item.name] for item in fields(Weights) if item.name in given})
        metrics = _stored_metrics(_mapping(stored.get("metrics"), "a score's metrics"))
        formula, reason = _text(stored, "formula"), _text(stored, "reason")
        return cls(metrics, total, parts[0], parts[1], parts[2], parts[3], validity, reason, formula, weights)


def score(metrics: CheckpointMetrics, weights: Weights | None = None, formula: str | None = None) -> Score:
    """Score one checkpoint; any numbers at all give a score, and its validity says what it is worth.

    Args:
        metrics: Its numbers; strings such as "0.5" or "NaN" count as the numbers that they name.
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
    weights = weights or Weights()
    clean = _cleaned(metrics)
    validity, reason = _judged(metrics, clean, name)
    parts = (math.nan,) * 4
    total = math.nan
    if validity is Validity.VALID:
        parts = _reward_parts(clean) if name == FORMULA_REWARD else _parts(clean, weights, name)
        total = sum(parts)
        if not math.isfinite(total):
            validity, reason = Validity.NOT_FINITE, "the numbers are too large to add up"
            parts, total = (math.nan,) * 4, math.nan
    return Score(clean, total, *parts, validity, reason, name, weights)


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


def _formula_for(metrics: CheckpointMetrics) -> str:
    """The formula that the numbers call for."""
    if metrics.reward is not None:
        return FORMULA_REWARD
    return FORMULA if metrics.accuracy is None else FORMULA_DPO


def _cleaned(metrics: CheckpointMetrics) -> CheckpointMetrics:
    """The same with real numbers; what is none becomes None, and a step that is none −1."""
    step = whole(metrics.step)
    return CheckpointMetrics(
        -1 if step is None else step,
        number(metrics.eval_loss),
        number(metrics.train_loss),
        str(metrics.improved).lower() in ("true", "1", "1.0"),
        number(metrics.accuracy),
        number(metrics.reward),
        number(metrics.kl),
    )


def _judged(given: CheckpointMetrics, clean: CheckpointMetrics, formula: str) -> tuple[Validity, str]:
    """The validity class of the numbers that a formula uses, and why."""
    if whole(given.step) is None:
        return Validity.MISSING, "the step is no whole number"
    names = [*_NEEDED[formula], *(name for name in _OPTIONAL[formula] if getattr(given, name) is not None)]
    values: dict[str, float | None] = {name: getattr(clean, name) for name in names}
    for name, value in values.items():
        if value is None:
            if getattr(given, name) is None:
                return Validity.MISSING, f"there is no {_words(name)}"
            return Validity.MISSING, f"the {_words(name)} is no number"
    for name, value in values.items():
        if value is not None and not math.isfinite(value):
            return Validity.NOT_FINITE, f"the {_words(name)} is {jsonable(value)}"
    for name in ("eval_loss", "train_loss"):
        if (values.get(name) or 0.0) < 0:
            return Validity.NEGATIVE, f"the {_words(name)} is below zero"
    if not 0 <= (values.get("accuracy") or 0.0) <= 1:
        return Validity.MISSING, "the accuracy is not between 0 and 1"
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


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must be a mapping")
    return value


def _text(stored: Mapping[str, Any], name: str) -> str:
    value = stored.get(name)
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ValueError(f"a score whose {name} is no short text")
    return value


def _part(stored: Mapping[str, Any], name: str) -> float:
    value = number(stored.get(name))
    if value is None:
        raise ValueError(f"a score whose {_words(name)} is no number")
    return value


def _stored_metrics(stored: Mapping[str, Any]) -> CheckpointMetrics:
    """Metrics as they were stored."""
    step, improved = stored.get("step"), stored.get("improved", False)
    if not isinstance(step, int) or isinstance(step, bool) or not -1 <= step < 1 << 63:
        raise ValueError("a score whose step is no whole number")
    if not isinstance(improved, bool):
        raise ValueError("a score whose improved is neither true nor false")
    values: dict[str, float | None] = {}
    for name in ("eval_loss", "train_loss", "accuracy", "reward", "kl"):
        given = stored.get(name)
        values[name] = number(given)
        if given is not None and values[name] is None:
            raise ValueError(f"a score whose {_words(name)} is no number")
    return CheckpointMetrics(step=step, improved=improved, **values)


def total_order(score: Score) -> tuple[Any, ...]:
    """Every field of a score's metrics in a comparable form: the last resort of the order."""
    values = astuple(score.metrics)
    return tuple((value is None, 0.0 if value is None or value != value else value) for value in values)
