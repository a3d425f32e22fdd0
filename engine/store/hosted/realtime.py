"""Supabase's realtime as a wake-up: it says that some job changed, and the cursor's pull finds out what.

Nothing is read from its messages, so one that is lost, repeated or forged costs at most one small request.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from engine.store.hosted.project import Project
from engine.store.hosted.server import JOBS

if TYPE_CHECKING:
    from realtime import AsyncRealtimeClient

AGAIN: Final = 180.0
"""Seconds until a server is tried again that has no realtime, refuses it or closed it."""

_ENDING: Final = 1.0


class Realtime:
    """Wakes whoever pulls when a job changes there, where the server can say so.

    Args:
        project: Which.
        wake: Called from a thread of this class's own.
        again: Seconds until a server without it is tried again.
    """

    def __init__(self, project: Project, wake: Callable[[], None], *, again: float = AGAIN) -> None:
        self._project, self._wake, self._again = project, wake, again
        self._token = ""
        self._answers, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._socket: _Socket | None = None

    def reached(self, token: str) -> None:
        """The server answered just now to who has that token: listen, and go on with that token."""
        self._token = token
        self._answers.set()
        if self._thread is None and not self._closing.is_set():
            self._thread = threading.Thread(target=self._run, name="hosted-realtime", daemon=True)
            self._thread.start()
        elif socket := self._socket:
            socket.authorise(token)

    def close(self) -> None:
        """Stop listening; waits for no server."""
        self._closing.set()
        self._answers.set()
        if socket := self._socket:
            socket.end()
        if self._thread is not None:
            self._thread.join(2 * _ENDING)

    def _run(self) -> None:
        # What the libraries would write to stderr stood in the middle of the screen.
        for library in ("realtime", "websockets"):
            logging.getLogger(library).addHandler(logging.NullHandler())
        while not self._closing.is_set():
            self._socket = socket = _Socket(self._project, self._wake, self._token)
            # Either this sees that it is closing, or `close` sees the socket.
            if self._closing.is_set():
                socket.end()
            socket.run()
            self._socket = None
            self._closing.wait(self._again * random.uniform(0.75, 1.25))
            # A server that is away is not looked for from here.
            if not self._closing.is_set():
                self._answers.clear()
                self._answers.wait()


class _Socket:
    """One connection, from its opening to its end."""

    def __init__(self, project: Project, wake: Callable[[], None], token: str) -> None:
        self._project, self._wake, self._token = project, wake, token
        self._loop = asyncio.new_event_loop()
        # A library's task that fails is a socket that fails.
        self._loop.set_exception_handler(lambda loop, context: None)
        self._stirred, self._ended = asyncio.Event(), False
        self._task: asyncio.Task[None] | None = None

    def authorise(self, token: str) -> None:
        """Go on with another token."""
        if token != self._token:
            self._token = token
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stirred.set)

    def end(self) -> None:
        """Come to an end, whatever is being waited for."""
        self._ended = True
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._cancel)

    def run(self) -> None:
        """Listen until it ends; blocks."""
        from realtime import NotConnectedError
        from websockets.exceptions import WebSocketException

        failures = (OSError, EOFError, ValueError, ImportError, WebSocketException, NotConnectedError)
        try:
            with suppress(asyncio.CancelledError, *failures):
                self._task = self._loop.create_task(self._listen())
                self._loop.run_until_complete(self._task)
            if rest := asyncio.all_tasks(self._loop):
                for task in rest:
                    task.cancel()
                self._loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        finally:
            self._loop.close()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _listen(self) -> None:
        from realtime import AsyncRealtimeClient

        if self._ended:
            return
        client = AsyncRealtimeClient(
            f"{self._project.url}/realtime/v1", self._project.key, auto_reconnect=False, max_retries=1
        )
        try:
            sent = self._token
            await client.set_auth(sent)
            await self._subscribe(client)
            while not self._ended:
                await self._stirred.wait()
                self._stirred.clear()
                if not self._ended and self._token != sent:
                    sent = self._token
                    await client.set_auth(sent)
        finally:
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(_ENDING):
                    await client.close()

    async def _subscribe(self, client: AsyncRealtimeClient) -> None:
        from realtime import RealtimePostgresChangesListenEvent, RealtimeSubscribeStates

        def stands(state: Any, error: Exception | None) -> None:
            if state is RealtimeSubscribeStates.SUBSCRIBED:
                self._wake()  # for what happened before
            else:
                self._ended = True
                self._stirred.set()

        channel = client.channel("podium")
        channel.on_postgres_changes(
            RealtimePostgresChangesListenEvent.All, lambda change: self._wake(), table=JOBS, schema="public"
        )
        await channel.subscribe(stands)
