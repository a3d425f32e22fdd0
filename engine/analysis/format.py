"""Numbers in words for people, the same in sentences, tables, exports and on every screen. Pure.

None is unknown and written as —, never as 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Final

UNKNOWN: Final = "—"
"""What stands for a value that nobody knows; never 0."""

THIN: Final = "\u202f"
"""The narrow space between groups of digits and before a unit."""


def count(value: float | None) -> str:
    """A whole number with its digits in groups: `18 204`."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:,.0f}".replace(",", " ")


def dollars(value: float | None) -> str:
    """Dollars and cents: `$2.31`."""
    return UNKNOWN if value is None else f"${value:,.2f}".replace(",", " ")


def percent(value: float | None, digits: int = 0) -> str:
    """A percentage: `61 %`; `value` is in percent."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.{digits}f} %"


def change(fraction: float | None) -> str:
    """A relative change with its sign: `+35 %`; `fraction` is 0.35."""
    return UNKNOWN if fraction is None or not math.isfinite(fraction) else f"{fraction * 100:+.0f} %"


def loss(value: float | None, digits: int = 4) -> str:
    """A loss: `0.6686`; NaN and infinity are said, for they matter."""
    if value is None:
        return UNKNOWN
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.3g}"


def short(value: float | None) -> str:
    """Any number in few characters: `1.4e-4`, `0.81`, `3.4k`."""
    if value is None:
        return UNKNOWN
    if not math.isfinite(value):
        return loss(value)
    size = abs(value)
    if size >= 1e15:
        return f"{value:.1e}"
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            return f"{value / (limit if unit != 'k' else 1e3):.3g}{unit}"
    if size >= 0.001 or value == 0:
        return f"{value:.4g}"
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")


def size(value: float | None) -> str:
    """Bytes, in powers of ten: `14.2 GB`."""
    if value is None:
        return UNKNOWN
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= limit:
            return f"{value / limit:.1f} {unit}"
    return f"{value:.0f} B"


def duration(seconds: float | None) -> str:
    """A span in its two largest units: `2 h 18 min`, `41 min`, `12 s`."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest:02} s" if minutes < 10 else f"{minutes} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def age(moment: datetime | None, now: datetime) -> str:
    """How long ago: `2 s ago`; a moment ahead of our clock is now."""
    if moment is None:
        return UNKNOWN
    return f"{duration(max(0.0, (now - moment).total_seconds()))} ago"


def day(moment: datetime | None, now: datetime) -> str:
    """When, in local time: `14:05` today, else `Dec 2`, with the year when it is another."""
    if moment is None:
        return UNKNOWN
    there, here = moment.astimezone(), now.astimezone()
    if there.date() == here.date():
        return f"{there:%H:%M}"
    return f"{there:%b} {there.day}" if there.year == here.year else f"{there:%b} {there.day} {there.year}"


def listed(names: Iterable[str], limit: int = 3) -> str:
    """Some names as a sentence has them: `a, b and 4 more`."""
    every = list(names)
    if len(every) <= 1:
        return "".join(every)
    if len(every) <= limit:
        return f"{', '.join(every[:-1])} and {every[-1]}"
    return f"{', '.join(every[:limit])} and {len(every) - limit} more"
