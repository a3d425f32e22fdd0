"""Waiting for processes and files, with generous time-outs; nothing here asserts speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from engine.job.events import Event, decode
from engine.supervisor.process import start_of

T = TypeVar("T")
PATIENCE = 60.0


def until(question: Callable[[], T], what: str = "", patience: float = PATIENCE) -> T:
    """The first true answer; an AssertionError when none comes."""
    deadline = time.monotonic() + patience
    while not (answer := question()):
        assert time.monotonic() < deadline, f"waited {patience:.0f} s in vain: {what}"
        time.sleep(0.02)
    return answer


def gone(pid: int) -> bool:
    """Is that process over (a zombie counts)?"""
    return start_of(pid) is None


def events_of(path: Path) -> list[Event]:
    """All whole events of a file; a line that is none fails the test."""
    data = path.read_bytes() if path.exists() else b""
    return [decode(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def contiguous(events: list[Event]) -> bool:
    """Does seq rise by one from 1?"""
    return [event.seq for event in events] == list(range(1, len(events) + 1))
