"""How training goes, judged from the newest logged losses: one verdict with the sentence that justifies it.

The first that holds, in this order:

    nan           a loss or a gradient norm that is not finite
    spike         one of the newest 5 losses has a robust z above 6 against the 50 before it
    diverging     the newest 5 are each spike-high or each above twice the median before them, or the
                  losses rise by 2 % or more with a Mann–Kendall z above 2.58
    overfitting   the eval loss is more than 5 % above its lowest and rose three times in a row while
                  the train loss fell (the GL and UP criteria of Prechelt 1998)
    improving     the losses fall by 1 % or more with a z below −2.58
    plateau       the 95 % interval of the change lies within ±1 %
    inconclusive  none of these, or fewer than 30 losses; "warming up" below 10

Changes are over the window, by Theil–Sen, in shares of its median. Ships; stdlib only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from typing import Final, NamedTuple

from scorer.number import jsonable
from scorer.slope import Slope

FEWEST: Final = 30
"""Losses below which the slope says nothing."""

_FEWEST_WARM: Final = 10
_SPIKE_WINDOW: Final = 50
_FEWEST_BEFORE_SPIKE: Final = 20
_SPIKE_Z: Final = 6.0
_RECENT: Final = 5
_SURE_Z: Final = 2.58
_RISE, _DROP, _FLAT = 0.02, 0.01, 0.01
_GENERALIZATION_LOSS: Final = 0.05
_RISING_EVALS: Final = 3
_SMALLEST_LEVEL: Final = 0.01
"""Changes are relative to at least this (nats): near zero, percent mean nothing."""
_MAD_TO_SD: Final = 1.4826


class TrendName(StrEnum):
    """How training goes."""

    NAN = "nan"
    SPIKE = "spike"
    DIVERGING = "diverging"
    OVERFITTING = "overfitting"
    IMPROVING = "improving"
    PLATEAU = "plateau"
    INCONCLUSIVE = "inconclusive"
    WARMING_UP = "warming up"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How training goes, and what says so.

    Args:
        name: The verdict.
        evidence: One sentence.
        numbers: What is behind it: losses in nats; `change`, `low` and `high` as shares of the level.
    """

    name: TrendName
    evidence: str
    numbers: dict[str, float] = field(default_factory=dict)


class TrainPoint(NamedTuple):
    """A logged loss; `z` says how far above the losses before it, in robust standard deviations."""

    step: int
    loss: float
    grad_norm: float | None
    z: float


class EvalPoint(NamedTuple):
    """An eval loss and the median of the train losses since the eval before it."""

    step: int
    loss: float
    train: float | None


def robust_z(before: Sequence[TrainPoint], loss: float) -> float:
    """How far a loss lies above the finite ones before it, in standard deviations by median and MAD."""
    losses = [point.loss for point in before[-_SPIKE_WINDOW:] if math.isfinite(point.loss)]
    if len(losses) < _FEWEST_BEFORE_SPIKE or not math.isfinite(loss):
        return 0.0
    middle = median(losses)
    spread = _MAD_TO_SD * median(abs(value - middle) for value in losses)
    # A constant series has no spread: there, a thousandth of the level is one deviation.
    return (loss - middle) / max(spread, 0.001 * abs(middle), 1e-9)


def judge(
    train: Sequence[TrainPoint], evals: Sequence[EvalPoint], lowest_eval: float, slope: Slope | None
) -> Verdict:
    """The verdict on a window.

    Args:
        train: The newest losses, in order of step.
        evals: The newest evals, in order of step.
        lowest_eval: The lowest eval loss of the whole run, infinite where there is none.
        slope: The trend of the losses, None where there are too few.
    """
    return (
        _not_finite(train, evals)
        or _spike(train)
        or _diverging(train, slope)
        or _overfitting(evals, lowest_eval)
        or _by_slope(train, slope)
    )


def _not_finite(train: Sequence[TrainPoint], evals: Sequence[EvalPoint]) -> Verdict | None:
    for point in reversed(train):
        for words, value in (("loss", point.loss), ("gradient norm", point.grad_norm)):
            if value is not None and not math.isfinite(value):
                text = f"The {words} at step {point.step} is {jsonable(value)}."
                return Verdict(TrendName.NAN, text, {"step": point.step})
    if evals and not math.isfinite(evals[-1].loss):
        text = f"The eval loss at step {evals[-1].step} is {jsonable(evals[-1].loss)}."
        return Verdict(TrendName.NAN, text, {"step": evals[-1].step})
    return None


def _spike(train: Sequence[TrainPoint]) -> Verdict | None:
    recent = train[-_RECENT:]
    high = [point for point in recent if point.z > _SPIKE_Z]
    if not high or len(high) == _RECENT:
        return None
    worst = max(high, key=lambda point: point.z)
    text = (
        f"The loss at step {worst.step} is {worst.loss:.4g}, {worst.z:.0f} robust standard deviations "
        f"above the losses before it."
    )
    return Verdict(TrendName.SPIKE, text, {"step": worst.step, "loss": worst.loss, "z": worst.z})


def _diverging(train: Sequence[TrainPoint], slope: Slope | None) -> Verdict | None:
    recent, before = train[-_RECENT:], [point.loss for point in train[:-_RECENT]]
    if len(before) >= _RECENT:
        level = median(before)
        least = min(point.loss for point in recent)
        doubled = level > _SMALLEST_LEVEL and least > 2.0 * level
        if doubled or all(point.z > _SPIKE_Z for point in recent):
            text = f"The last {_RECENT} losses are at {least:.4g} or more; the median before was {level:.4g}."
            return Verdict(TrendName.DIVERGING, text, {"loss": least, "level": level})
    if slope and slope.z > _SURE_Z and slope.change >= _RISE * _level(slope):
        return Verdict(TrendName.DIVERGING, _moved("rose", train, slope), _numbers(slope))
    return None


def _overfitting(evals: Sequence[EvalPoint], lowest: float) -> Verdict | None:
    last = evals[-1 - _RISING_EVALS :]
    if len(last) <= _RISING_EVALS or not 0.0 < lowest < math.inf:
        return None
    rising = all(later.loss > earlier.loss for earlier, later in itertools.pairwise(last))
    over = last[-1].loss / lowest - 1.0
    before, now = last[0].train, last[-1].train
    if not rising or over <= _GENERALIZATION_LOSS or before is None or now is None or now >= before:
        return None
    text = (
        f"The eval loss rose {_RISING_EVALS} times in a row to {last[-1].loss:.4g}, {100 * over:.1f} % above "
        f"its lowest ({lowest:.4g}), while the train loss fell from {before:.4g} to {now:.4g}."
    )
    numbers = {"eval_loss": last[-1].loss, "lowest": lowest, "train_before": before, "train_now": now}
    return Verdict(TrendName.OVERFITTING, text, numbers)


def _by_slope(train: Sequence[TrainPoint], slope: Slope | None) -> Verdict:
    if len(train) < _FEWEST_WARM:
        return Verdict(TrendName.WARMING_UP, f"Only {len(train)} losses so far.")
    if slope is None:
        return Verdict(TrendName.INCONCLUSIVE, f"A trend takes {FEWEST} losses; there are {len(train)}.")
    level = _level(slope)
    if slope.z < -_SURE_Z and slope.change <= -_DROP * level:
        return Verdict(TrendName.IMPROVING, _moved("fell", train, slope), _numbers(slope))
    interval = f"{100 * slope.low / level:+.1f} % to {100 * slope.high / level:+.1f} %"
    if -_FLAT * level <= slope.low and slope.high <= _FLAT * level:
        text = f"The loss stays at {slope.level:.4g}: it changed by {interval} over {slope.count} losses."
        return Verdict(TrendName.PLATEAU, text, _numbers(slope))
    text = f"The loss is noisy: over {slope.count} losses it changed by {interval}."
    return Verdict(TrendName.INCONCLUSIVE, text, _numbers(slope))


def _level(slope: Slope) -> float:
    """What changes are shares of, nats."""
    return max(abs(slope.level), _SMALLEST_LEVEL)


def _moved(verb: str, train: Sequence[TrainPoint], slope: Slope) -> str:
    share = 100 * abs(slope.change) / _level(slope)
    # Of a level that is near 0 nobody can fall by more than all of it.
    percent = f" ({share:.1f} %)" if verb != "fell" or share <= 100 else ""
    return (
        f"The loss {verb} by {abs(slope.change):.3g} nats{percent} over {slope.count} losses, "
        f"z {slope.z:+.1f} after correction for autocorrelation {slope.autocorrelation:.2f}."
    )


def _numbers(slope: Slope) -> dict[str, float]:
    level = _level(slope)
    return {
        "change": slope.change / level,
        "low": slope.low / level,
        "high": slope.high / level,
        "level": slope.level,
        "z": slope.z,
        "autocorrelation": slope.autocorrelation,
        "count": float(slope.count),
    }
