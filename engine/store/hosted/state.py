"""How the hosted store stands to this machine, as one line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Standing = Literal["starting", "synced", "behind", "offline", "signed out", "refused"]


@dataclass(frozen=True, slots=True)
class State:
    """How it stands.

    Args:
        standing: In a word.
        since: Since when, UTC.
        waiting: How many events wait here to be sent.
        why: The reason, one line; empty when all is well.
    """

    standing: Standing
    since: datetime
    waiting: int = 0
    why: str = ""

    @property
    def line(self) -> str:
        """What the user must know, one line; empty while all is well."""
        waits = f"{self.waiting:,} event{'' if self.waiting == 1 else 's'}"
        waits = f"; {waits} wait here" if self.waiting else ""
        if self.standing == "offline":
            return f"Hosted store: offline since {self.since.astimezone():%H:%M} ({self.why}){waits}."
        if self.standing == "signed out":
            return f"Hosted store: {self.why}{waits}"
        if self.standing == "refused":
            return f"Hosted store: {self.why}"
        if self.standing == "starting" and self.why:
            return f"Hosted store: {self.why}."
        if self.standing == "behind":
            return f"Hosted store: behind by {waits[2:].removesuffix(' wait here')}."
        return ""
