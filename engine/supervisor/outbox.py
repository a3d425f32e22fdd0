"""Reports to a sink: in batches, in order, repeated until they are taken, from where the last process was."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from engine.job.events import Event, EventType
from engine.job.folder import read_json, write_json
from engine.supervisor import feed
from engine.supervisor.post import NotTaken, Refused, Unavailable, Unfit
from engine.supervisor.sinks import Sink

Tell = Callable[[EventType, dict[str, Any]], None]
"""Writes an event, some time soon."""

_TOLD: Final = 3
"""Skipped events that are told one by one; all are counted."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, in seconds.

    Args:
        idle: Between two looks for news.
        retry: The first wait after a failure; it doubles.
        longest: What it doubles up to.
        refused: Between two tries of a sink that refuses us.
        timeout: For one request.
        drain: How long the end of a supervision waits for what is still to be sent.
        give_up: How long an alert is tried to be delivered.
    """

    idle: float = 1.0
    retry: float = 1.0
    longest: float = 60.0
    refused: float = 300.0
    timeout: float = 20.0
    drain: float = 30.0
    give_up: float = 3600.0

    def wait(self, tries: int, wanted: float = 0.0) -> float:
        """How long to wait after so many failures in a row, with jitter; at least what the server wants."""
        doubled = min(self.longest, self.retry * 2.0 ** min(tries - 1, 30))
        return float(max(wanted, doubled) * random.uniform(1.0, 1.25))


class Outbox:
    """Sends one job's events to one sink. One thread steps it, another one may read `standing`.

    Args:
        events: The events file.
        sink: Where to.
        state: The file that remembers how far it is; losing it costs repetition, never an event.
        pace: How long things take.
        tell: How it says what somebody should know.
    """

    def __init__(self, events: Path, sink: Sink, state: Path, pace: Pace, tell: Tell) -> None:
        self._events, self._sink, self._state, self._pace, self._tell = events, sink, state, pace, tell
        self.position = feed.Position.of(read_json(state))
        self._kept = self.position
        self._tries = 0
        self._trouble, self._since = "ok", time.monotonic()
        self._refusal_told = False

    def step(self) -> float:
        """Send the next batch, if there is one.

        Returns:
            Seconds until the next step is due.
        """
        before = self.position.offset
        batch = feed.read(self._events, self.position)
        try:
            self._deliver(batch.events)
        except Unavailable as error:
            return self._failed("down", error)
        except NotTaken as error:
            return self._failed("refused", error)
        self._tries, self._refusal_told = 0, False
        self._be("ok")
        self._at(replace(self.position, offset=batch.end))
        return 0.0 if batch.end != before else self._pace.idle

    @property
    def behind(self) -> int:
        """How many events are still to be sent."""
        return max(0, feed.newest(self._events) - self.position.seq)

    def standing(self) -> dict[str, Any]:
        """What the heartbeat says: events behind, ok | down | refused, and since how many seconds."""
        since = round(time.monotonic() - self._since, 1)
        told: dict[str, Any] = {"behind": self.behind, "state": self._trouble, "since": since}
        return {**told, "skipped": self.position.skipped} if self.position.skipped else told

    def _deliver(self, events: Sequence[tuple[Event, int]]) -> None:
        """Send events; one that can't be taken by a sink that takes its neighbours is passed over."""
        if not events:
            return
        try:
            self._sink.send([event for event, _ in events])
        except Unfit as error:
            if len(events) > 1:
                half = len(events) // 2
                self._deliver(events[:half])
                self._deliver(events[half:])
                return
            if not self._sink.sound():
                raise Refused(str(error)) from None
            self._skip(events[0][0], error)
        last, offset = events[-1]
        self._at(replace(self.position, offset=offset, seq=last.seq))

    def _skip(self, event: Event, error: NotTaken) -> None:
        self.position = replace(self.position, skipped=self.position.skipped + 1)
        if self.position.skipped <= _TOLD:
            message = (
                f"event {event.seq} ({event.type:.40}) was not taken by {self._sink.name}: {error}; left out"
            )
            self._tell(
                EventType.ALERT, {"alert": "report_skipped", "severity": "warning", "message": message}
            )

    def _at(self, position: feed.Position) -> None:
        """Remember how far it is, on a disk that may be full."""
        self.position = position
        if position != self._kept:
            try:
                write_json(self._state, asdict(position))
            except OSError:
                return
            self._kept = position

    def _failed(self, trouble: str, error: NotTaken) -> float:
        self._tries += 1
        self._be(trouble)
        if trouble == "down":
            return self._pace.wait(self._tries, error.wait if isinstance(error, Unavailable) else 0.0)
        if not self._refusal_told:
            self._refusal_told = True
            message = f"{self._sink.name} refuses the run's reports ({error}); they are kept and tried again"
            self._tell(
                EventType.ALERT, {"alert": "reports_refused", "severity": "warning", "message": message}
            )
        return self._pace.refused * random.uniform(1.0, 1.25)

    def _be(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble, self._since = trouble, time.monotonic()
