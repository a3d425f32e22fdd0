"""A run's checkpoints, scored as their evals arrive: what must be remembered between two evals.

`improved` and the train loss of a checkpoint come from what was logged before it, so a resumed run needs
the state of the one it goes on from. The state is small and goes to JSON and back; a run that is split
anywhere and continued from its stored state scores as one that never stopped.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Final, Self

from scorer.metrics import CheckpointMetrics, Weights
from scorer.number import jsonable, number
from scorer.score import Score, score
from scorer.stored import mapping, rows, weights

KEPT: Final = 100
"""How many train losses and evals are remembered: a resume never goes back further in practice."""

_Point = tuple[int, float]


class RunScorer:
    """Scores the checkpoints of one run.

    A step at or before the newest one means that the run was resumed from a checkpoint before it:
    what was remembered from there on is dropped, the later attempt wins.

    Args:
        weights: The weights of the four parts.
        formula: The formula's name; None lets each checkpoint's numbers choose it.
    """

    def __init__(self, weights: Weights | None = None, formula: str | None = None) -> None:
        self.weights = weights or Weights()
        self.formula = formula
        self._train: deque[_Point] = deque(maxlen=KEPT)
        self._evals: deque[_Point] = deque(maxlen=KEPT)

    def add_train(self, step: int, loss: object) -> None:
        """Remember a logged training loss, nats a token; what is no number is ignored."""
        value = number(loss)
        if value is not None:
            _forget_from(step, self._train)
            self._train.append((step, value))

    def add_eval(
        self,
        step: int,
        eval_loss: object,
        *,
        accuracy: object = None,
        reward: object = None,
        kl: object = None,
    ) -> Score:
        """Score the checkpoint at `step` from its own eval and what was logged before it."""
        metrics = self.observe(step, eval_loss, accuracy=accuracy, reward=reward, kl=kl)
        return score(metrics, self.weights, self.formula)

    def observe(self, step: int, eval_loss: object, **given: Any) -> CheckpointMetrics:
        """Remember an eval, and return the numbers that its checkpoint is scored by.

        Its train loss is the newest at or before it. It counts as improved when its eval loss is below
        that of the newest eval before it that had a finite one, and when there is no such eval.
        """
        _forget_from(step, self._evals)
        previous = next((loss for _, loss in reversed(self._evals) if math.isfinite(loss)), math.inf)
        loss = number(eval_loss)
        improved = loss is not None and math.isfinite(loss) and loss < previous
        train_loss = next((value for at, value in reversed(self._train) if at <= step), None)
        if loss is not None:
            self._evals.append((step, loss))
        wanted: Any = eval_loss
        return CheckpointMetrics(step, wanted, train_loss, improved, **given)

    def to_json(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {
            "weights": {name: getattr(self.weights, name) for name in Weights.__dataclass_fields__},
            "formula": self.formula,
            "train": [[step, jsonable(loss)] for step, loss in self._train],
            "evals": [[step, jsonable(loss)] for step, loss in self._evals],
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The scorer as it was.

        Raises:
            ValueError: It is no such state.
        """
        stored = mapping(value, "a run scorer's state")
        formula = stored.get("formula")
        if formula is not None and not isinstance(formula, str):
            raise ValueError("a run scorer whose formula is no text")
        scorer = cls(weights(stored.get("weights", {})), formula)
        scorer._train.extend(_points(stored.get("train")))
        scorer._evals.extend(_points(stored.get("evals")))
        return scorer


def _points(value: object) -> list[_Point]:
    """Stored points, every one with its number."""
    found = rows(value, 2)[-KEPT:]
    if any(loss is None for _, loss in found):
        raise ValueError("a stored point without its number")
    return [(step, loss) for step, loss in found]


def _forget_from(step: int, known: deque[_Point]) -> None:
    """Drop the points from a step on: they belong to an attempt that is over."""
    while known and known[-1][0] >= step:
        known.pop()
