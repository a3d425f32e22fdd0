"""The supervisor's signs of life: heartbeats with the machine's figures, and alerts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from engine.job.events import EventType
from engine.supervisor.host import Gpus, Host, disk_used
from engine.supervisor.journal import Journal
from engine.supervisor.outcome import Timing

_DISK_WARNING_GB: Final = 1.0
_DISK_FULL: Final = 0.92
"""The share of the disk at which a checkpoint is saved while there is room for one."""
_BUSY_PERCENT: Final = 10.0
"""A GPU that does more than this is at work."""


class Pulse:
    """Writes a heartbeat when one is due.

    Args:
        folder: The job's folder, whose disk counts.
        journal: Where to write.
        timing: How often.
        reports: Reads how far reports are behind; None where none are sent.
    """

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        timing: Timing,
        reports: Callable[[], Mapping[str, Any] | None] = lambda: None,
    ) -> None:
        self._folder, self._journal, self._timing, self._reports = folder, journal, timing, reports
        self._host, self._gpus = Host(folder), Gpus()
        self._started = self._beaten = time.monotonic()
        self._warned: set[str] = set()
        self.busy = False
        """Did a GPU work, when they were last looked at?"""
        self.disk_full = False
        """Is the disk as good as full?"""

    def beat(self, read: Callable[[], Mapping[str, float]]) -> None:
        """Write a heartbeat if the last one is long enough ago.

        Args:
            read: Reads the limits that are watched, and what of them is used.
        """
        now = time.monotonic()
        lively = now - self._started < self._timing.lively
        if now - self._beaten < (self._timing.heartbeat if lively else self._timing.heartbeat_later):
            return
        self._beaten = now
        host, gpus = self._host.read(), self._gpus.read()
        told = {"guard": read(), "outbox": self._reports()}
        self._journal.beat(host=host, gpus=gpus, **{name: dict(said) for name, said in told.items() if said})
        if gpus:
            self.busy = any((gpu["utilization_percent"] or 0) > _BUSY_PERCENT for gpu in gpus)
        if self._gpus.hangs:
            self.busy = False
            self.alert("gpu_tool", "warning", "nvidia-smi does not answer: the GPUs' figures are missing")
        used = disk_used(self._folder)
        self.disk_full = used is not None and used >= _DISK_FULL
        free = host["disk_free_gb"]
        if free is not None and free < _DISK_WARNING_GB:
            self.alert("disk_warning", "warning", f"only {free:g} GB are free for {self._folder}")

    def alert(self, alert: str, severity: str, message: str, *, again: bool = False) -> None:
        """Write an alert; one that was given before only if it may come `again`."""
        if alert not in self._warned or again:
            self._warned.add(alert)
            self._journal.emit(EventType.ALERT, alert=alert, severity=severity, message=message)

    def forget(self, *alerts: str) -> None:
        """Let these alerts be given anew: what they warned of is no longer so."""
        self._warned.difference_update(alerts)

    def close(self) -> None:
        """End what runs beside."""
        self._gpus.close()
