"""Who may act: one supervisor a job, one training job a slot. Locks are flocks, so the kernel frees them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

_TRIES: Final = 5
"""Somebody who only looks (`holder`) shares the lock for an instant: try again before giving up."""


class Lock:
    """An flock on a file, which names its holder's process id.

    Args:
        path: The file; made when missing, and left behind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def take(self) -> bool:
        """Take the lock if it is free.

        Raises:
            OSError: The file can't be made.
        """
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        for _ in range(_TRIES):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.02)
                continue
            self._fd = fd
            # The name is for people and for tests: a full disk must not keep the job from running.
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            return True
        os.close(fd)
        return False

    def release(self) -> None:
        """Let go of the lock; nothing if it was not held."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def held(path: Path) -> bool:
    """Does anybody hold the lock on that file?"""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def holder(path: Path) -> int | None:
    """The process id of the lock's holder; None when it is free or the holder could not write its name."""
    if not held(path):
        return None
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


class Slot:
    """A place in the queue of those who wait for one lock: first come, first served.

    Each waiter holds the flock of its own ticket in a folder beside the lock; a ticket that nobody
    holds is that of a dead process and is thrown away.

    Args:
        path: The slot's lock file; its folder is made when missing.

    Raises:
        OSError: From the constructor and `take`: the folder can't be written to.
    """

    def __init__(self, path: Path) -> None:
        self._lock = Lock(path)
        self._queue = path.with_name(f"{path.name}.queue")
        self._queue.mkdir(parents=True, exist_ok=True)
        self._name = f"{time.time_ns():020}-{os.getpid()}"
        # Locked before it gets its name: others must never see it free.
        self._ticket = Lock(self._queue / f".{self._name}")
        self._ticket.take()
        self._ticket.path.rename(self._queue / self._name)

    def take(self) -> bool:
        """Take the slot if it is free and nobody who is still there came earlier."""
        return self._first() and self._lock.take()

    def _first(self) -> bool:
        for name in sorted(ticket.name for ticket in self._queue.iterdir()):
            if name == self._name:
                return True
            if name.startswith("."):
                continue
            if held(self._queue / name):
                return False
            with contextlib.suppress(FileNotFoundError):
                (self._queue / name).unlink()
        return True

    def leave(self) -> None:
        """Free the slot and the place in the queue."""
        with contextlib.suppress(OSError):
            (self._queue / self._name).unlink()
        self._ticket.release()
        self._lock.release()
