"""A run's last sign of life, read from what is mirrored here. Blocking; the pod's clock may be off."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from engine.errors import BadWireLine
from engine.job.events import Event, EventType, decode, number
from engine.records import Reports

_OLDEST: Final = timedelta(days=3650)
"""No sign is older, whatever the pod's clock says."""
_TAIL: Final = 1 << 16
"""How much of the events is looked through (bytes): heartbeats are a few seconds apart."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What the last heartbeat said, on this machine's clock.

    Args:
        heard_at: When it came.
        proven_at: When a rented pod's guard had last proven that it can end the pod; None when it never had.
        hours: How long the pod had run then.
        reports: How far its reports were; None where it sends none.
    """

    heard_at: datetime
    proven_at: datetime | None
    hours: float | None
    reports: Reports | None = None


def last_sign(events: Path) -> Sign | None:
    """The last sign that an events file holds; None where there is none.

    Of the pod's clock only differences count: what was written last came when the mirror was last written.
    """
    try:
        with events.open("rb") as file:
            status = os.fstat(file.fileno())
            file.seek(max(0, status.st_size - _TAIL))
            lines = file.read(_TAIL).splitlines()
    except OSError:
        return None
    newest: Event | None = None
    for line in reversed(lines):
        try:
            event = decode(line)
        except BadWireLine:
            continue
        newest = newest or event
        if event.type == EventType.HEARTBEAT:
            said = event.data.get("guard")
            guard = said if isinstance(said, dict) else {}
            before = min(_OLDEST, max(timedelta(0), newest.ts - event.ts))
            heard = datetime.fromtimestamp(status.st_mtime, UTC) - before
            told = _sign(heard, number(guard.get("proven_s")), number(guard.get("hours")))
            return replace(told, reports=_reports(event.data.get("outbox")))
    return None


def _sign(heard: datetime, proven: float | None, hours: float | None) -> Sign:
    """A pod's figures may be anything; those that make no sense are none."""
    sensible = proven is not None and 0 <= proven < 1e8
    return Sign(
        heard_at=heard,
        proven_at=heard - timedelta(seconds=proven) if sensible and proven is not None else None,
        hours=hours if hours is not None and 0 <= hours < 1e6 else None,
    )


def _reports(told: Any) -> Reports | None:
    """What a heartbeat says of the outbox; None for what makes no sense."""
    said = told if isinstance(told, dict) else {}
    behind, seconds, state = number(said.get("behind")), number(said.get("since")), said.get("state")
    if behind is None or seconds is None or not (0 <= behind < 1e12 and 0 <= seconds < 1e9):
        return None
    return Reports(int(behind), state, seconds) if state in ("ok", "down", "refused") else None
