"""Events out of `events.jsonl`, a batch at a time, from a position that outlives this process.

The file itself is the queue: nothing is copied, so what waits takes no room on the disk.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.errors import BadWireLine
from engine.job.events import MAX_LINE, Event, decode, last_event

MOST: Final = 500
"""Events a batch."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader is.

    Args:
        offset: Bytes of the file that are done with.
        seq: The last event that is done with.
        skipped: Events that the receiver could not take.
    """

    offset: int = 0
    seq: int = 0
    skipped: int = 0

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Position:
        """From JSON; what makes no sense is the beginning."""
        found = {key: kept.get(key) for key in ("offset", "seq", "skipped")}
        if not all(type(value) is int and value >= 0 for value in found.values()):
            return cls()
        return cls(**found)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some events that follow each other.

    Args:
        events: Each with the offset behind it.
        end: The offset behind all that was read, lines that are no events included.
    """

    events: tuple[tuple[Event, int], ...]
    end: int


def read(path: Path, position: Position, most: int = MOST) -> Batch:
    """What follows a position: at most a megabyte, and at most `most` events; a torn last line waits."""
    data, offset = _bytes(path, position.offset)
    end = data.rfind(b"\n") + 1
    if not end:
        # A line that is longer than an event can be is passed over.
        return Batch((), offset + len(data) if len(data) >= MAX_LINE else offset)
    found = []
    for event, behind in _events(data[:end].splitlines(keepends=True), offset):
        offset = behind
        if event is not None and event.seq > position.seq:
            found.append((event, behind))
            if len(found) == most:
                break
    return Batch(tuple(found), offset)


def newest(path: Path) -> int:
    """The seq of the last event of a file; 0 when there is none."""
    with contextlib.suppress(OSError):
        last = last_event(path)
        return last.seq if last else 0
    return 0


def _events(lines: Iterable[bytes], offset: int) -> Iterator[tuple[Event | None, int]]:
    for line in lines:
        offset += len(line)
        try:
            yield decode(line), offset
        except BadWireLine:
            yield None, offset


def _bytes(path: Path, offset: int) -> tuple[bytes, int]:
    """A megabyte from an offset; from the beginning, where that is not the beginning of a line."""
    try:
        with path.open("rb") as file:
            if offset and (
                os.fstat(file.fileno()).st_size < offset or os.pread(file.fileno(), 1, offset - 1) != b"\n"
            ):
                # A full disk took something back. What was done with is known by its seq.
                offset = 0
            return os.pread(file.fileno(), MAX_LINE, offset), offset
    except OSError:
        return b"", offset
