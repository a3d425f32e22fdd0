"""Which checkpoints can't be told from the best: the same eval loss, as far as the evidence goes.

From per-example losses: the difference of two checkpoints on the same examples, paired, against its
standard error. Else from the eval curve: the scatter of its points about the line through their
neighbours, robustly. Either way a pair is tied when the difference is below 1.96 standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Final

from scorer.score import Score

_Z: Final = 1.96
"""Two-sided 5 %."""
_FEWEST_EXAMPLES: Final = 10
"""Below this many pairs the standard error is itself a guess."""
_FEWEST_EVALS: Final = 5
"""Below this many evals the curve's scatter is."""
_MAD_TO_SD: Final = 1.4826


def tied_with(
    best: Score,
    order: Sequence[Score],
    per_example: Mapping[int, Sequence[float]],
    noise: float | None = None,
) -> tuple[Score, ...]:
    """Those of `order` whose eval loss can't be told from the best's, in the same order, without the best.

    Args:
        best: The winner.
        order: All checkpoints.
        per_example: Step -> the loss of each eval example, nats, in one order for all steps.
        noise: Standard deviation of one eval loss, nats; None estimates it from the curve.
    """
    if noise is None or not 0 <= noise < math.inf:
        noise = curve_noise([(other.metrics.step, other.metrics.eval_loss) for other in order])
    found = []
    for other in order:
        if other is best or other.metrics.eval_loss is None or best.metrics.eval_loss is None:
            continue
        evidence = paired_difference(
            per_example.get(other.metrics.step, ()), per_example.get(best.metrics.step, ())
        )
        if evidence is None and noise is not None:
            evidence = other.metrics.eval_loss - best.metrics.eval_loss, math.sqrt(2.0) * noise
        # NaN compares false: a checkpoint without a finite loss is tied with nobody.
        if evidence is not None and abs(evidence[0]) <= _Z * evidence[1]:
            found.append(other)
    return tuple(found)


def paired_difference(losses: Sequence[float], reference: Sequence[float]) -> tuple[float, float] | None:
    """Mean of `losses − reference` over the same examples and its standard error, nats; None: too few."""
    if len(losses) != len(reference) or len(losses) < _FEWEST_EXAMPLES:
        return None
    differences = [ours - theirs for ours, theirs in zip(losses, reference, strict=True)]
    if not all(map(math.isfinite, differences)):
        return None
    return fmean(differences), stdev(differences) / math.sqrt(len(differences))


def curve_noise(evals: Sequence[tuple[int, float | None]]) -> float | None:
    """Standard deviation of one eval loss about its smooth curve, nats; None with fewer than five evals.

    Each inner point is held against the line through its neighbours; the residual of noise with standard
    deviation s has s·√(1 + w² + (1 − w)²), w being the nearer neighbour's share. The scale is the median
    absolute deviation, so that a spike does not count and a steady curvature cancels.
    """
    points = sorted({step: loss for step, loss in evals if loss is not None and math.isfinite(loss)}.items())
    if len(points) < _FEWEST_EVALS:
        return None
    residuals = []
    for (left, before), (step, loss), (right, after) in zip(points, points[1:], points[2:], strict=False):
        share = (right - step) / (right - left)
        line = share * before + (1.0 - share) * after
        residuals.append((loss - line) / math.sqrt(1.0 + share**2 + (1.0 - share) ** 2))
    middle = median(residuals)
    noise = _MAD_TO_SD * median(abs(residual - middle) for residual in residuals)
    return noise if math.isfinite(noise) else None
