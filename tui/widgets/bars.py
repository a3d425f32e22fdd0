"""Small pictures made of block characters: histories, shares, progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_LEVELS: Final = "▁▂▃▄▅▆▇█"
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def spark(values: Sequence[float | None], low: float, high: float, width: int) -> str:
    """The last `width` values as bars from `low` to `high`; an unknown one is a gap."""
    shown = values[-width:] if width > 0 else ()
    return "".join(" " if value is None else level(value, low, high) for value in shown).rjust(width)


def level(value: float, low: float, high: float) -> str:
    """One bar; what is outside the range is at its edge."""
    if high <= low or value != value:
        return _LEVELS[0]
    share = min(1.0, max(0.0, (value - low) / (high - low)))
    return _LEVELS[min(7, int(share * 8))]


def progress(share: float, width: int) -> tuple[str, str]:
    """A thin bar in two parts: what is done, and what is left; `share` from 0 to 1."""
    halves = round(min(1.0, max(0.0, share)) * width * 2)
    full, half = divmod(halves, 2)
    done = "━" * full + ("╸" if half else "")
    return done, "━" * (width - len(done))


def share(part: float, width: int) -> str:
    """A solid bar of a share from 0 to 1, to an eighth of a cell; what is more than nothing is seen."""
    eighths = round(min(1.0, max(0.0, part)) * width * 8) or (1 if part > 0 else 0)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
