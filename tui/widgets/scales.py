"""Axes: where ticks stand, how they are written, what is done to numbers before they are drawn. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from engine.analysis.format import short


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low or most < 1:
        return [low] if math.isfinite(low) else []
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [round(index * step, 12) for index in range(first, last + 1)]
    return []


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Ticks of a logarithmic axis whose edges are given as exponents of ten; the ticks are exponents too.

    Powers of ten where the axis spans two of them, else round numbers between.
    """
    powers = nice_ticks(math.ceil(low), math.floor(high), most) if high - low >= 2 else []
    whole = [power for power in powers if power == int(power)]
    if len(whole) >= 2:
        return whole
    return [math.log10(tick) for tick in nice_ticks(10**low, 10**high, most) if tick > 0]


def written(ticks: Sequence[float]) -> list[str]:
    """Ticks as text, all with the decimals that tell them apart."""
    if not ticks:
        return []
    largest = max(abs(tick) for tick in ticks)
    if largest >= 10_000 or (0 < largest < 0.001):
        return [short(tick) for tick in ticks]
    gaps = [abs(after - before) for before, after in pairwise(ticks) if after != before]
    gap = min(gaps, default=largest or 1)
    decimals = max(0, min(6, -math.floor(math.log10(gap) + 1e-9)))
    texts = [f"{tick:.{decimals}f}" for tick in ticks]
    told = all(math.isclose(float(text), tick, rel_tol=0.01) for text, tick in zip(texts, ticks, strict=True))
    return texts if told else [short(tick) for tick in ticks]


def smooth(values: Sequence[float], weights: Sequence[int], strength: float) -> list[float]:
    """A centred moving average whose window shrinks towards both ends.

    So the curve has no lag, and its last point is the last value: an exponential average would still
    show the past there.

    Args:
        values: Finite numbers, evenly apart.
        weights: How many points each stands for.
        strength: Half the window's width as a share of the whole, 0 to 1.
    """
    half = round(strength * len(values))
    if half < 1:
        return list(values)
    sums, counts = [0.0], [0]
    for value, weight in zip(values, weights, strict=True):
        sums.append(sums[-1] + value * weight)
        counts.append(counts[-1] + weight)
    smoothed = []
    for index in range(len(values)):
        reach = min(half, index, len(values) - 1 - index)
        first, last = index - reach, index + reach + 1
        smoothed.append((sums[last] - sums[first]) / max(1, counts[last] - counts[first]))
    return smoothed


def usual_range(values: Iterable[float]) -> tuple[float, float]:
    """Where all but the outliers are: the middle 95 %, and its breadth a quarter more on both sides."""
    ordered = sorted(values)
    low, high = ordered[int(0.025 * (len(ordered) - 1))], ordered[math.ceil(0.975 * (len(ordered) - 1))]
    spare = (high - low) / 4
    return max(ordered[0], low - spare), min(ordered[-1], high + spare)


def apart(low: float, high: float) -> tuple[float, float]:
    """The range itself, or one about it where its ends are so near that floats can't tell what is between."""
    if high - low > max(abs(low), abs(high), 1e-280) * 1e-9:
        return low, high
    room = max(abs(low), abs(high)) * 0.1
    return (low - room, high + room) if room > 1e-280 else (low - 0.5, high + 0.5)


def padded(low: float, high: float, share: float = 0.04) -> tuple[float, float]:
    """A range with a little room; never an empty one."""
    low, high = apart(low, high)
    room = (high - low) * share
    return low - room, high + room
