"""The formula as the design writes it, transcribed a second time, to hold the scorer against."""

from __future__ import annotations

from decimal import Decimal, getcontext
from typing import Any

getcontext().prec = 60


def total(eval_loss: float, train_loss: float | None, improved: bool, accuracy: float | None = None) -> float:
    loss = Decimal(eval_loss)
    result = Decimal("0.5") * loss
    if train_loss is not None:
        result += Decimal("0.3") * abs(Decimal(train_loss) - loss) / max(loss, Decimal("0.001"))
    if accuracy is not None:
        result += Decimal("0.1") * (1 - Decimal(accuracy))
    elif loss > 5:
        result += Decimal("0.1")
    else:
        result += Decimal("0.1") * min(loss.exp() / 20, Decimal(1))
    if improved:
        result -= Decimal("0.1")
    return float(result)


def improvements(losses: list[Any]) -> list[bool]:
    """For each eval: is it the first, or below the one before it?"""
    return [i == 0 or loss < losses[i - 1] for i, loss in enumerate(losses)]
