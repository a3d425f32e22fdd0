"""Do something when it is due: after a change, but not more often than a period, and never twice at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable


class Pulse:
    """Calls an action after changes; any number of changes in between are one.

    Idle, it costs nothing: there is no timer, only an event that is waited for.

    Args:
        action: What is done.
        period: The least time from the end of one action to the start of the next, seconds.
    """

    def __init__(self, action: Callable[[], Awaitable[None]], period: float) -> None:
        self._action = action
        self._period = period
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._rests = asyncio.Event()
        self._rests.set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = False

    @property
    def idle(self) -> bool:
        """Is nothing due and nothing being done?"""
        return self._rests.is_set()

    async def done(self) -> None:
        """Wait until nothing is due any more."""
        await self._rests.wait()

    def mark(self, *, hurry: bool = False) -> None:
        """Something changed; `hurry` does not wait for the period's end (a key was pressed)."""
        self._changed.set()
        self._rests.clear()
        if hurry:
            self._hurry.set()

    def mark_from_thread(self) -> None:
        """Something changed, on whatever thread; costs next to nothing when it is known already."""
        if self._loop is not None and not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody is looking any more
                self._loop.call_soon_threadsafe(self._heard)

    def _heard(self) -> None:
        self._told = False
        self.mark()

    async def run(self) -> None:
        """Serve until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._action()
            if not self._changed.is_set():
                self._rests.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._period):
                    await self._hurry.wait()
            self._hurry.clear()
