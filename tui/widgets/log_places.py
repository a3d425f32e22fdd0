"""Where in a log something is: the step or the epoch that a line tells, a time of day. Pure.

The trainer's lines tell steps; a script's console lines tell epochs; of others, the time is what there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["step", "epoch", "time", "line", "share"]

TOLD: Final[dict[str, re.Pattern[bytes]]] = {
    "step": re.compile(rb"(?i)\bstep[ =:]{1,9}(\d{1,12})\b"),
    "epoch": re.compile(rb"(?i)\bepoch[ =:]{1,9}(\d{1,9}(?:\.\d{1,9})?)\b"),
}
"""How lines tell where training stands."""

CLOCK: Final = re.compile(rb"(?m)^\[?(?:\d{4}-\d\d-\d\d[T ])?(\d\d):(\d\d):(\d\d)")
"""The time of day that a line begins with."""

_WANTED: Final = (
    ("time", re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?")),
    ("line", re.compile(r"(?:line|#|l) *(\d{1,12})")),
    ("epoch", re.compile(r"(?:epoch|e) *(\d{1,9}(?:\.\d{1,9})?)")),
    ("step", re.compile(r"(?:step|s)? *(\d{1,12})")),
    ("share", re.compile(r"(\d{1,3}) *%")),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where somebody wants to go: a step, an epoch, a second of the day, a line from 1, a percentage."""

    kind: Kind
    value: float


def wanted(text: str) -> Wanted | None:
    """Read `1200`, `step 1200`, `epoch 3`, `12:41`, `12:41:07`, `line 88` or `50 %`; else None."""
    for kind, pattern in _WANTED:
        if found := pattern.fullmatch(text.strip().casefold()):
            parts = [float(part or 0) for part in found.groups()]
            value = parts[0] * 3600 + parts[1] * 60 + parts[2] if kind == "time" else parts[0]
            return Wanted(kind, value)  # type: ignore[arg-type]
    return None


def second_of_day(parts: Iterable[bytes]) -> int:
    """Hours, minutes and seconds as seconds since midnight."""
    hours, minutes, seconds = map(int, parts)
    return hours * 3600 + minutes * 60 + seconds
