"""The supervisor's pen and eyes on `events.jsonl`.

What it writes is not lost to a full disk, and it sees what the trainer wrote.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

from engine.errors import BadWireLine
from engine.job.events import MAX_LINE, Event, EventType, EventWriter, Status, decode

_WAITING: Final = 200
"""Events that are remembered while they can't be written."""
_READ: Final = 1 << 22
"""Bytes that one look reads at most."""


class Journal:
    """Writes events, and remembers those that could not be written.

    Args:
        path: The events file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: EventWriter | None = None
        self._waiting: deque[tuple[int, EventType, dict[str, Any]]] = deque(maxlen=_WAITING)
        self.attempt = 1
        self.mine: set[int] = set()
        """The seqs written here that `Watch` has not met yet."""

    @property
    def behind(self) -> bool:
        """Are there events that could not be written yet?"""
        return bool(self._waiting)

    def emit(self, type: EventType, **data: Any) -> None:
        """Write an event, now or as soon as it is possible."""
        self._waiting.append((self.attempt, type, data))
        self.flush()

    def beat(self, **data: Any) -> None:
        """Write a heartbeat, now or never."""
        self.flush()
        if not self.behind:
            with contextlib.suppress(OSError):
                self._write(self.attempt, EventType.HEARTBEAT, data)

    def flush(self) -> bool:
        """Write what is waiting; False when it still can't be written."""
        while self._waiting:
            attempt, type, data = self._waiting[0]
            try:
                self._write(attempt, type, data)
            except OSError:
                return False
            self._waiting.popleft()
        return True

    def _write(self, attempt: int, type: EventType, data: dict[str, Any]) -> None:
        if self._writer is None:
            self._writer = EventWriter(self._path)
        self._writer.attempt = attempt
        self.mine.add(self._writer.append(type, **data).seq)

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class Watch:
    """Reads what others append to the events file.

    Args:
        path: The events file; reading starts at its present end.
        mine: Seqs of our own events; those that are met are taken out.
    """

    def __init__(self, path: Path, mine: set[int]) -> None:
        self._path = path
        self._mine = mine
        self._offset = path.stat().st_size if path.exists() else 0
        self.begin()

    def begin(self) -> None:
        """Forget what the last trainer did: a new one starts now."""
        self.seen_at = time.monotonic()
        """When the trainer last wrote an event, monotonic seconds."""
        self.finished = False
        """Did it write `result`?"""
        self.saved = False
        """Did it write a checkpoint?"""
        self.ended: Event | None = None
        """The `state` event in which it explained its end."""

    def drain(self) -> None:
        """Read all that is new."""
        before = -1
        while self._offset != before:
            before = self._offset
            self.look()

    def look(self) -> None:
        """Read what is new, at most some megabytes."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(_READ)
        except OSError:
            return
        end = data.rfind(b"\n") + 1
        # A torn tail is read again: its writer may finish it, or take it back when the disk is full.
        self._offset += end if end or len(data) <= MAX_LINE else len(data)
        for line in data[:end].splitlines():
            with contextlib.suppress(BadWireLine):
                self._met(decode(line))

    def _met(self, event: Event) -> None:
        if event.seq in self._mine:
            self._mine.discard(event.seq)
            return
        self.seen_at = time.monotonic()
        if event.type == EventType.RESULT:
            self.finished = True
        elif event.type == EventType.CHECKPOINT and not event.data.get("removed"):
            self.saved = True
        elif event.type == EventType.STATE and event.data.get("status") == Status.FAILED:
            self.ended = event
