"""Who writes events: rank 0 the job's, another machine's first rank its signs of life, the others none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.job.events import Event, EventType, EventWriter, Phase
from engine.trainer.distributed import Ranks


def writer(ranks: Ranks, path: Path, attempt: int) -> EventWriter:
    """What a rank writes events with: rank 0 all, another machine's first rank a few, the others none.

    Raises:
        OSError: The file can't be made.
    """
    if ranks.leads:
        return EventWriter(path, attempt)
    return NodeWriter(path, attempt) if ranks.local == 0 else Mute(attempt)


class NodeWriter(EventWriter):
    """Writes that another machine than the first is alive, what it is busy with, and how it ended."""

    def put(self, type: str, step: int | None, data: Mapping[str, Any], *, sync: bool = False) -> Event:
        """Write an event if it says so; of a logged step the phase is left."""
        if type == EventType.TRAIN:
            return super().put(EventType.PHASE, step, {"phase": Phase.TRAIN})
        if type in (EventType.PHASE, EventType.STATE, EventType.RESULT, EventType.RECOVERY):
            return super().put(type, step, data, sync=sync)
        return unwritten(type, step, self.attempt)


class Mute(EventWriter):
    """Writes nothing."""

    def __init__(self, attempt: int = 1) -> None:
        self.attempt = attempt

    def put(self, type: str, step: int | None, data: Mapping[str, Any], *, sync: bool = False) -> Event:
        """Write nothing."""
        return unwritten(type, step, self.attempt)

    def close(self) -> None:
        """There is nothing to close."""


def unwritten(type: str, step: int | None, attempt: int) -> Event:
    """An event that stands in no file."""
    from datetime import UTC, datetime

    return Event(0, datetime.now(UTC), attempt, type, step)
