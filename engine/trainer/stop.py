"""SIGTERM: remember it, and let the training loop save and leave at the next chance."""

from __future__ import annotations

import signal
from types import FrameType


class StopNow(Exception):
    """Leave what takes long (an evaluation) so that the checkpoint can be saved in time."""


class StopRequest:
    """Has somebody asked this process to save and leave?"""

    def __init__(self) -> None:
        self.requested = False

    @classmethod
    def on_sigterm(cls) -> StopRequest:
        """One that SIGTERM sets."""
        request = cls()
        signal.signal(signal.SIGTERM, request._remember)
        return request

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
