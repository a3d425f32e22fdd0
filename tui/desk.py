"""Where the app gets its snapshots and takes its wishes; the app's only door to store and controller."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from engine.analysis.snapshot import Question, Snapshot
from tui.wishes import Wish

Changed = Callable[[], None]
"""Called from any thread when a new snapshot would differ from the last; must return at once."""


class Desk(Protocol):
    """What the app needs of the engine.

    Raises:
        PodiumError: From any method; one line that the app shows.
    """

    async def open(self, changed: Changed) -> None:
        """Open the store and reconnect to the jobs that are under way."""
        ...

    def take(self, question: Question) -> Snapshot:
        """Read a snapshot; blocks, so call it in a thread."""
        ...

    async def carry_out(self, wish: Wish) -> str:
        """Do what the wish asks for and return a line that says what was done, or nothing."""
        ...

    def now(self) -> datetime:
        """The moment that ages are shown against, UTC."""
        ...

    def recall(self, key: str, default: Any = None) -> Any:
        """A setting from the last session."""
        ...

    def remember(self, key: str, value: Any) -> None:
        """Keep a setting for the next session."""
        ...

    async def close(self) -> None:
        """Let go of everything; jobs go on."""
        ...


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)
