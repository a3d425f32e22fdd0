"""What has happened to runs since the app was opened that somebody should hear. Blocking."""

from __future__ import annotations

from typing import Final

from engine.analysis.snapshot import Alarm
from engine.errors import PodiumError
from engine.home import Home
from engine.job.events import EventType
from engine.job.notices import NAMED, SEVERITIES, notices_of
from engine.store.base import Store

_TYPES: Final = (EventType.ALERT, EventType.STATE, EventType.RECOVERY)
_ALWAYS: Final = ("job_completed",)
"""Heard whatever the severity: it is what people wait for."""


class Alarms:
    """Finds what is new in the runs that are followed from here, each thing once.

    Args:
        home: Where alerts.yaml is: `terminal` says what is heard.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen: dict[str, int] = {}
        self._first = True
        self._least: int | None = None
        self._bell = self._notify = True

    def fresh(self, store: Store) -> tuple[Alarm, ...]:
        """What is new since the last call; the first one finds nothing."""
        found: list[Alarm] = []
        for job in store.jobs(archived=True):
            followed = job.status.live and self._home.job(job.id).events.exists()
            if not (followed or job.id in self._seen) or job.replay:
                continue
            known = self._seen.get(job.id)
            if known is None and self._first:
                last = store.events(job.id, _TYPES, limit=1)
                self._seen[job.id] = last[-1].seq if last else 0
                continue
            for event in store.events(job.id, _TYPES, after=known or 0):
                self._seen[job.id] = event.seq
                found += [
                    Alarm(job.name, notice.alert, notice.message, self._bell, self._notify)
                    for notice in notices_of(event)
                    if self._heard(notice.alert, SEVERITIES.index(notice.severity))
                ]
            self._seen.setdefault(job.id, 0)
            if not job.status.live:
                del self._seen[job.id]
        self._first = False
        return tuple(found)

    def _heard(self, alert: str, severity: int) -> bool:
        if self._least is None:
            self._read()
        assert self._least is not None
        return alert in _ALWAYS or (severity >= self._least and (alert in NAMED or severity == 2))

    def _read(self) -> None:
        """Read the settings once; broken ones are said elsewhere."""
        self._least = SEVERITIES.index("warning")
        from engine.controller.alerting import settings_of

        try:
            wanted = settings_of(self._home).terminal
        except PodiumError:
            return
        self._least = SEVERITIES.index(wanted.severity)
        self._bell, self._notify = wanted.bell, wanted.notify
