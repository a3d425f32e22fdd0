"""Keeps this machine's store and the hosted one in step: a thread that sends, takes in and bears faults."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import tenacity

from engine.errors import HostedDown, PodiumError, SignedOut
from engine.store.database import Database
from engine.store.hosted import ledger
from engine.store.hosted.comparing import Comparisons
from engine.store.hosted.pull import Pull
from engine.store.hosted.push import Push
from engine.store.hosted.realtime import Realtime
from engine.store.hosted.server import Server
from engine.store.hosted.state import Standing, State
from engine.store.hosted.wire import Gone, Refused

PACE: Final = 2.0
"""Seconds between two looks for what is new."""

_SOON: Final = 15.0
"""Seconds that a launch waits for its job's token."""

LONGEST_WAIT: Final = 30.0
"""Seconds between two tries at most, while the server is away."""

_SIGNED_OUT: Final = 15.0
_COMPARISONS: Final = 10.0
_PURGED: Final = 300.0
_LOOKED_AT: Final = 60.0
_REFUSED: Final = 60.0
_ENDING: Final = 5.0

Told = Callable[[set[str]], None]


class Sync:
    """Sends what changed here and takes in what changed there.

    Args:
        database: What this machine has.
        connect: Opens the way to the server; called in the thread that uses it.
        account: Whose copies.
        told: Called with the jobs that changed here.
        pace: Seconds between two looks for what is new.
        longest_wait: Seconds between two tries at most, while the server is away.
        realtime: Wakes it when something changes there; it looks at its pace in any case.
    """

    def __init__(
        self,
        database: Database,
        connect: Callable[[], Server],
        account: str,
        told: Told,
        *,
        pace: float = PACE,
        longest_wait: float = LONGEST_WAIT,
        realtime: Realtime | None = None,
    ) -> None:
        self._database, self._connect, self._account, self._told = database, connect, account, told
        self._pace, self._realtime = pace, realtime
        self._exponential = tenacity.wait_random_exponential(multiplier=min(1.0, pace), max=longest_wait)
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()
        self._server: Server | None = None
        self._attended: dict[str, float] = {}
        self._settled = -1  # the revision here at which all was sent
        self._refused: dict[str, tuple[str, float]] = {}
        self._due = {"comparisons": 0.0, "purged": 0.0}
        self.state = State("starting", datetime.now(UTC))

    # ---- for anybody

    def start(self) -> None:
        """Begin to keep in step, in a thread."""
        self._thread = threading.Thread(target=self._run, name="hosted", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something changed, here or there: do not wait for the next turn."""
        self._wake.set()

    def attend(self, job_id: str) -> None:
        """Somebody looks at a job: its events are wanted for a while."""
        new = job_id not in self._attended
        self._attended[job_id] = time.monotonic()
        if new:
            self.wake()

    def close(self) -> None:
        """Stop; what was not sent is sent the next time."""
        self._closing.set()
        self._wake.set()
        if self._realtime is not None:
            self._realtime.close()
        if self._thread is not None:
            self._thread.join(_ENDING)
        if self._server is not None and not (self._thread and self._thread.is_alive()):
            self._server.close()

    # ---- one turn

    def turn(self) -> State:
        """Send and take in everything once.

        Raises:
            HostedDown, SignedOut: It stops here; the next turn goes on.
            Refused: It says what nobody can read.
        """
        with self._turn:
            try:
                refused = self._send()
                self._take_in()
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                what = f"what the hosted store says can't be read ({type(error).__name__}: {error})"
                raise Refused(" ".join(what.split())[:300]) from None
            self._set("refused" if refused else "synced", refused)
        return self.state

    def tried(self) -> State:
        """One turn; what keeps it from being done is in the state."""
        try:
            return self.turn()
        except PodiumError as error:
            self._failed(error)
        return self.state

    def fetch(self, job_id: str) -> None:
        """Take in the events of one job now.

        Raises:
            HostedDown, SignedOut: They can't be had.
        """
        with self._turn:
            self._tell(self._pull().events([job_id]))

    def grant(self, job_id: str, token_sha256: str, hours: float) -> str:
        """Let whoever has that token report a job's events; returns the job's id there.

        Raises:
            HostedDown, SignedOut, Refused: It can't be done now.
        """
        with self._soon():
            # It has to be there first.
            Push(self._database, self._way()).job(job_id)
            hosted = ledger.hosted_id(self._account, job_id)
            self._way().grant(hosted, token_sha256, hours)
            return hosted

    def revoke(self, job_id: str) -> None:
        """Make all tokens of a job worthless."""
        with self._soon():
            with self._database.reading() as db:
                copy = ledger.copy_of(db, self._account, job_id)
            if copy is not None and copy.base and copy.here:
                self._way().revoke(copy.hosted_id)

    @contextmanager
    def _soon(self) -> Iterator[None]:
        """Take the turn, but not for longer than somebody waits who starts a job."""
        if not self._turn.acquire(timeout=_SOON):
            raise HostedDown("the hosted store is busy taking in what is new")
        try:
            yield
        finally:
            self._turn.release()

    def _send(self) -> str:
        """Send what changed here; returns what the server would not have, one line."""
        with self._database.reading() as db:
            now = db.execute("SELECT value FROM revision").fetchone()[0]
            if now == self._settled:
                return ""
            purged, unsent = ledger.purged(db, self._account), ledger.unsent(db, self._account)
            waiting = ledger.waiting(db, self._account)
        if waiting and self.state.standing == "synced":
            self._set("behind")
        push, refused, done = Push(self._database, self._way()), "", True
        for copy in purged:
            try:
                push.purged(copy)
            except Refused as error:
                refused = refused or str(error)
        for job_id in unsent:
            if self._closing.is_set():
                break
            why, until = self._refused.get(job_id, ("", 0.0))
            if time.monotonic() < until:
                refused = refused or why
                continue
            try:
                if push.job(job_id):
                    self._tell({job_id})
                self._refused.pop(job_id, None)
            except Gone as error:
                # It was purged elsewhere, most likely: that is looked into at once, and said if it is not so.
                self._refused[job_id] = str(error), time.monotonic() + _REFUSED
                self._due["purged"], done = 0.0, False
            except Refused as error:
                self._refused[job_id] = str(error), time.monotonic() + _REFUSED
                refused = refused or str(error)
            if self.state.standing == "behind":
                self._set("behind")
        if done and not refused and not self._closing.is_set():
            self._settled = now
        return refused

    def _take_in(self) -> None:
        pull, now = self._pull(), time.monotonic()
        self._tell(pull.jobs())
        for job_id in [job_id for job_id, at in list(self._attended.items()) if now - at > _LOOKED_AT]:
            self._attended.pop(job_id, None)
        self._tell(pull.events(list(self._attended)))
        if now >= self._due["comparisons"]:
            self._tell(Comparisons(self._database, self._way()).sync())
            self._due["comparisons"] = now + _COMPARISONS
        if now >= self._due["purged"]:
            self._tell(pull.gone())
            self._due["purged"] = now + _PURGED

    def _pull(self) -> Pull:
        return Pull(self._database, self._way(), self._came)

    def _came(self, count: int) -> None:
        """So many runs came for the first time: that takes a while, and is said."""
        self._set("starting", f"{count:,} run{'' if count == 1 else 's'} taken in so far")

    def _way(self) -> Server:
        if self._server is None:
            self._server = self._connect()
        return self._server

    def _tell(self, job_ids: set[str]) -> None:
        if job_ids:
            self._told(job_ids)

    # ---- the thread

    def _run(self) -> None:
        while not self._closing.is_set():
            wait = self._pace
            try:
                self._patient()(self._alone)
            except HostedDown:
                pass  # closing: a server that is away is waited for in there
            except SignedOut as error:
                self._failed(error)
                wait = _SIGNED_OUT
            except PodiumError as error:
                if self._closing.is_set():
                    return  # the database was closed meanwhile
                self._failed(error)
                wait = _SIGNED_OUT
            self._wake.wait(wait)
            self._wake.clear()
            self._closing.wait(min(self._pace, 0.5))

    def _alone(self) -> None:
        """One turn, unless another process has its own: that one does our work as well."""
        with _held(self._database.path.with_suffix(".sync")) as ours:
            if ours:
                self.turn()
                if self._realtime is not None:
                    self._realtime.reached(self._way().token())
            else:
                self._set("synced")

    def _patient(self) -> tenacity.Retrying:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(HostedDown),
            wait=self._wait,
            stop=tenacity.stop_when_event_set(self._closing),
            sleep=tenacity.sleep_using_event(self._closing),
            reraise=True,
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, HostedDown):
            self._failed(error)
            return max(error.retry_after, self._exponential(state))
        return self._exponential(state)

    def _failed(self, error: PodiumError) -> None:
        standing: Standing = (
            "offline"
            if isinstance(error, HostedDown)
            else "signed out"
            if isinstance(error, SignedOut)
            else "refused"
        )
        self._set(standing, error.what if standing == "offline" else str(error))

    def _set(self, standing: Standing, why: str = "") -> None:
        try:
            with self._database.reading() as db:
                waiting = 0 if standing == "synced" else ledger.waiting(db, self._account)
        except PodiumError:
            waiting = self.state.waiting
        before = self.state
        since = before.since if before.standing == standing else datetime.now(UTC)
        self.state = State(standing, since, waiting, why)
        if (before.standing, before.waiting, before.why) != (standing, waiting, why):
            self._told(set())


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Hold a lock that dies with its process, if nobody else does."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)
