"""One checkpoint's metrics -> its score: a total and the four parts that add up to it.

multi-metric/1, lower is better:

    total = 0.5·eval_loss
          + 0.3·|train_loss − eval_loss| / max(eval_loss, 0.001)
          + 0.1·min(e^eval_loss / 20, 1)
          − 0.1·[eval_loss improved on the previous eval]

The first eval counts as improved. Without a train loss there is no gap part. Losses are in nats.
The formula is that of the system Podium replaces; docs/SELECTION.md has its evidence and its flaws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

FORMULA: Final = "multi-metric/1"
"""A changed formula is a new name; scores of different formulas are never compared."""

_MAX_EXPONENT: Final = math.log(20.0)
_MIN_LOSS: Final = 0.001


class Validity(IntEnum):
    """How far a score can be trusted; a lower class always wins over a higher one."""

    VALID = 0
    """Every number that the formula needs is finite."""
    NOT_FINITE = 1
    """A number is NaN or infinite."""
    MISSING = 2
    """There is no eval loss, or it is no number."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of the four parts, dimensionless."""

    eval_loss: float = 0.5
    gap: float = 0.3
    perplexity: float = 0.1
    bonus: float = 0.1


@dataclass(frozen=True, slots=True)
class CheckpointMetrics:
    """What is known of a checkpoint at its own eval.

    Args:
        step: The optimizer step.
        eval_loss: Mean loss on the eval split, nats a token.
        train_loss: The newest logged training loss, nats a token.
        improved: Is eval_loss lower than the previous eval's? True for the first.
    """

    step: int
    eval_loss: float | None = None
    train_loss: float | None = None
    improved: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """A score and the parts that add up to its total; lower is better.

    Args:
        metrics: The numbers it was computed from.
        total: The sum of the four parts; NaN unless valid.
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
