"""The supervisor's signs of life: heartbeats with the machine's figures, and alerts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from engine.job.events import EventType
from engine.supervisor.host import Gpus, Host
from engine.supervisor.journal import Journal
from engine.supervisor.outcome import Timing

_DISK_WARNING_GB: Final = 1.0


class Pulse:
    """Writes a heartbeat when one is due.

    Args:
        folder: The job's folder, whose disk counts.
        journal: Where to write.
        timing: How often.
    """

    def __init__(self, folder: Path, journal: Journal, timing: Timing) -> None:
        self._folder, self._journal, self._timing = folder, journal, timing
        self._host, self._gpus = Host(folder), Gpus()
        self._started = self._beaten = time.monotonic()
        self._warned: set[str] = set()

    def beat(self) -> None:
        """Write a heartbeat if the last one is long enough ago."""
        now = time.monotonic()
        lively = now - self._started < self._timing.lively
        if now - self._beaten < (self._timing.heartbeat if lively else self._timing.heartbeat_later):
            return
        self._beaten = now
        host = self._host.read()
        self._journal.beat(host=host, gpus=self._gpus.read())
        free = host["disk_free_gb"]
        if free is not None and free < _DISK_WARNING_GB:
            self.alert("disk_warning", "warning", f"only {free:g} GB are free for {self._folder}")

    def alert(self, alert: str, severity: str, message: str, *, again: bool = False) -> None:
        """Write an alert; one that was given before only if it may come `again`."""
        if alert not in self._warned or again:
            self._warned.add(alert)
            self._journal.emit(EventType.ALERT, alert=alert, severity=severity, message=message)

    def close(self) -> None:
        """End what runs beside."""
        self._gpus.close()
