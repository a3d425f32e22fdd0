"""Which alerts are held back: the same again, too many, in the night. Pure; times are the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from engine.job.notices import Notice

_RESERVE: Final = 2.0
"""Messages of a burst that are kept for errors."""
_MANY: Final = 500
"""Notices that are remembered."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours in which only errors are sent, if those.

    Args:
        start: Minutes after midnight.
        end: Minutes after midnight; before `start`, it is the next day's.
        offset: The user's zone, minutes east of UTC.
        errors: Are errors sent all the same?
    """

    start: int
    end: int
    offset: int = 0
    errors: bool = True

    def holds(self, notice: Notice, now: datetime) -> bool:
        """Is this one not to be sent now?"""
        if notice.severity == "error" and self.errors:
            return False
        local = now.astimezone(UTC) + timedelta(minutes=self.offset)
        minute = local.hour * 60 + local.minute
        if self.start <= self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


@dataclass(slots=True)
class Bucket:
    """Tokens for messages: they come back with time, up to a burst.

    Args:
        per_hour: How many come back an hour.
        burst: How many there can be.
        tokens: How many there are.
        at: When that was, UTC seconds.
    """

    per_hour: float
    burst: float
    tokens: float
    at: float

    def take(self, now: float, *, error: bool) -> bool:
        """Take a token if there is one; the last ones are for errors."""
        # A clock that was set back gives none, and takes none.
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.per_hour / 3600)
        self.at = now
        kept = 0.0 if error else min(_RESERVE, self.burst - 1)
        if self.tokens < 1 + kept:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class Seen:
    """What was sent a while ago.

    Args:
        minutes: How long the same is not sent again.
        when: When each was sent last, UTC seconds.
    """

    minutes: float
    when: dict[str, float] = field(default_factory=dict)

    def again(self, notice: Notice) -> bool:
        """Was the same, of the same cause, sent a while ago? If not, it counts as sent now."""
        key, now = _key(notice), notice.ts.timestamp()
        before = self.when.get(key)
        if before is not None and abs(now - before) < 60 * self.minutes:
            return True
        self.when.pop(key, None)
        self.when[key] = now
        for old in list(self.when)[:-_MANY]:
            del self.when[old]
        return False

    def forget(self, notice: Notice) -> None:
        """It was not sent after all."""
        self.when.pop(_key(notice), None)


def _key(notice: Notice) -> str:
    return f"{notice.alert} {notice.cause}"


def quiet_of(told: Any) -> Quiet | None:
    """The quiet hours in JSON; None where there are none."""
    if not isinstance(told, Mapping):
        return None
    try:
        start, end, offset = (int(told[key]) for key in ("start", "end", "offset"))
    except (KeyError, TypeError, ValueError):
        return None
    return Quiet(start, end, offset, told.get("errors") is not False)
