"""Numbers as a row of bars, one cell each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

_BARS: Final = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], low: float | None = None, high: float | None = None) -> str:
    """One bar a value; empty with fewer than two finite values.

    Args:
        values: Numbers; those that are not finite leave a gap.
        low: What the lowest bar stands for; by default the least value.
        high: What the highest bar stands for; by default the greatest value.
    """
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    bottom = min(finite) if low is None else low
    span = (max(finite) if high is None else high) - bottom
    return "".join(_bar((value - bottom) / span if span > 0 else 0.0) for value in values)


def _bar(height: float) -> str:
    if not math.isfinite(height):
        return " "
    return _BARS[max(0, min(len(_BARS) - 1, round(height * (len(_BARS) - 1))))]
