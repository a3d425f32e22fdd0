"""SIGTERM: remember it, and let the training loop save and leave at the next chance."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopNow(Exception):
    """Leave what takes long (an evaluation) so that the checkpoint can be saved in time."""


class StopRequest:
    """Has somebody asked this process to save and leave?

    Where there is nothing to save (`at_once`), the process leaves without waiting to be asked.
    """

    def __init__(self) -> None:
        self.requested = False
        self._loading = False

    @classmethod
    def on_sigterm(cls) -> StopRequest:
        """One that SIGTERM sets."""
        request = cls()
        signal.signal(signal.SIGTERM, request._remember)
        # A rank is born with it blocked, so that none is lost before.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return request

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Leave as soon as SIGTERM comes: loading a large model can take longer than it may."""
        self._loading = True
        try:
            if self.requested:  # it came before there was anything to leave
                raise SystemExit(0)
            yield
        finally:
            self._loading = False

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if self._loading:
            raise SystemExit(0)
