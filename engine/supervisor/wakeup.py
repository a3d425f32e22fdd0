"""Sleeping until a signal, a dead child or the next tick."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from types import FrameType
from typing import Any


class Wakeup:
    """Takes the process's signals; only the main thread may make one.

    SIGTERM and SIGINT ask the supervisor to leave; SIGHUP means nothing to it; SIGCHLD ends a sleep.
    """

    def __init__(self) -> None:
        self.leave = ""
        """The name of the signal that asked to leave; empty when none did."""
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()
        self._old_fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._old: dict[int, Any] = {
            number: signal.signal(number, self._handle)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        }

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self.leave = signal.Signals(number).name

    def sleep(self, seconds: float) -> None:
        """Sleep, but not through a signal."""
        select.select([self._read], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 512):
                pass

    def close(self) -> None:
        """Give the signals back."""
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)


def _pipe() -> tuple[int, int]:
    """A non-blocking pipe where the system has no pipe2."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends
