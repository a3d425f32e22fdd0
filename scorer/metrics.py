"""What goes into a score: a checkpoint's numbers and the weights of the parts; how far to trust them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from scorer.number import number, whole


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
    """A number that the formula needs is not there, is no number, or is out of its range."""


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
        for name in ("eval_loss", "gap", "perplexity", "bonus"):
            given = getattr(self, name)
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

    def cleaned(self) -> CheckpointMetrics:
        """The same with real numbers; what is none becomes None, and a step that is none −1."""
        step = whole(self.step)
        return CheckpointMetrics(
            -1 if step is None else step,
            number(self.eval_loss),
            number(self.train_loss),
            str(self.improved).lower() in ("true", "1", "1.0"),
            number(self.accuracy),
            number(self.reward),
            number(self.kl),
        )
