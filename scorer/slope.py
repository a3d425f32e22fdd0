"""Is a noisy series falling or rising, and by how much: Theil–Sen slopes and the Mann–Kendall test.

Both come from the slopes of all pairs of points: their median is the Theil–Sen slope (Sen 1968), the
balance of rising over falling ones is Mann–Kendall's S. Logged losses are autocorrelated, which makes S
scatter more than for independent points; its variance is inflated by (1 + r)/(1 − r), r being the lag-1
autocorrelation about the fitted line (the effective sample size of an AR(1) series; Bayley & Hammersley
1946), corrected for its bias of about −(2 + 4r)/n about a fitted line (after Marriott & Pope 1954).
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

_Z_95: Final = 1.96
_MOST_CORRELATED: Final = 0.95
_FEWEST_POINTS: Final = 3


@dataclass(frozen=True, slots=True)
class Slope:
    """The trend of a series.

    Args:
        change: Theil–Sen slope times the span of x: how far the fitted line rises from end to end.
        low: Lower end of the 95 % interval of `change`.
        high: Upper end.
        level: The median of the series.
        z: The corrected Mann–Kendall statistic, standard normal where there is no trend.
        autocorrelation: The lag-1 autocorrelation that was corrected for, 0 to 0.95.
        count: How many points.
    """

    change: float
    low: float
    high: float
    level: float
    z: float
    autocorrelation: float
    count: int


def fit(points: Sequence[tuple[float, float]]) -> Slope:
    """The trend of points in strictly rising order of x, all of them finite.

    Raises:
        ValueError: There are fewer than three points.
    """
    count = len(points)
    if count < _FEWEST_POINTS:
        raise ValueError("a trend needs at least three points")
    slopes: list[float] = []
    for index, (x, y) in enumerate(points, start=1):
        slopes += [(right_y - y) / (right_x - x) for right_x, right_y in points[index:]]
    slopes.sort()
    pairs = len(slopes)
    slope = (slopes[pairs // 2] + slopes[(pairs - 1) // 2]) / 2.0
    correlation = _autocorrelation([y - slope * x for x, y in points])
    inflation = (1.0 + correlation) / (1.0 - correlation)
    spread = math.sqrt(inflation * count * (count - 1) * (2 * count + 5) / 18.0)
    balance = pairs - bisect_right(slopes, 0.0) - bisect_left(slopes, 0.0)
    # The continuity correction: S moves in steps of two.
    z = (balance - math.copysign(1.0, balance)) / spread if balance else 0.0
    reach = _Z_95 * spread / 2.0
    low = slopes[max(0, math.floor(pairs / 2.0 - reach))]
    high = slopes[min(pairs - 1, math.ceil(pairs / 2.0 + reach) - 1)]
    span = points[-1][0] - points[0][0]
    level = median(y for _, y in points)
    return Slope(slope * span, low * span, high * span, level, z, correlation, count)


def _autocorrelation(residuals: Sequence[float]) -> float:
    """The lag-1 autocorrelation about the mean, corrected for its bias, at least 0 and at most 0.95."""
    count = len(residuals)
    mean = math.fsum(residuals) / count
    centred = [value - mean for value in residuals]
    power = math.fsum(value * value for value in centred)
    if power <= 0.0:
        return 0.0
    raw = math.fsum(a * b for a, b in itertools.pairwise(centred)) / power
    corrected = (count * raw + 2.0) / (count - 4.0) if count > 10 else raw
    return min(max(corrected, 0.0), _MOST_CORRELATED)
