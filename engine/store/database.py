"""A SQLite file: one connection a thread, transactions, and errors as one line each."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from engine.errors import StoreError
from engine.store.migrate import migrate

BUSY_SECONDS: Final = 30.0
"""A writer's transaction takes milliseconds: who waits for so long waits for something else."""

_TROUBLE: Final = {
    sqlite3.SQLITE_BUSY: ("is locked by another program", "Close what has it open, then try again."),
    sqlite3.SQLITE_LOCKED: ("is locked by another program", "Close what has it open, then try again."),
    sqlite3.SQLITE_READONLY: ("can't be written to", "Give yourself write permission, or set PODIUM_HOME."),
    sqlite3.SQLITE_PERM: ("can't be written to", "Give yourself write permission, or set PODIUM_HOME."),
    sqlite3.SQLITE_CANTOPEN: ("can't be opened", "See that its folder exists and that you may write to it."),
    sqlite3.SQLITE_FULL: ("can't grow: the disk is full", "Free some space; what was stored is safe."),
    sqlite3.SQLITE_IOERR: ("can't be read or written", "See that the disk is mounted, healthy and not full."),
}
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Database:
    """A database file at the current schema.

    Args:
        path: The file; made when missing.
        busy: How long to wait for another writer before giving up, seconds.

    Raises:
        StoreError: It can't be opened, or is not ours.
    """

    def __init__(self, path: Path, busy: float = BUSY_SECONDS) -> None:
        self.path = path
        self._busy = busy
        self._local = threading.local()
        self._open: dict[threading.Thread, sqlite3.Connection] = {}
        self._used: dict[threading.Thread, int] = {}
        self._guard = threading.Lock()
        self._closed = False
        try:
            migrate(path, busy)
            self._connection()
        except (sqlite3.Error, OSError) as error:
            raise explained(error, path) from None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for some reads that see one state of the database."""
        try:
            with self._using() as db:
                db.execute("BEGIN")
                try:
                    yield db
                finally:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise explained(error, self.path) from None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a transaction that is committed at the end, or taken back on any error."""
        try:
            with self._using() as db:
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                    db.execute("COMMIT")
                except BaseException:
                    # A full disk makes SQLite roll back by itself.
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise explained(error, self.path) from None

    def close(self) -> None:
        """Close the connections of all threads; one that is in use is closed by its thread, when it is done.

        SQLite crashes the process when a connection is closed while another thread reads from it.
        """
        with self._guard:
            self._closed = True
            for thread, db in self._open.items():
                if thread not in self._used:
                    db.close()
            self._open.clear()

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, which nobody else closes meanwhile."""
        db, thread = self._connection(), threading.current_thread()
        with self._guard:
            self._used[thread] = self._used.get(thread, 0) + 1
        try:
            yield db
        finally:
            with self._guard:
                self._used[thread] -= 1
                if not self._used[thread]:
                    del self._used[thread]
                    if self._closed:
                        db.close()

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        if self._closed:
            raise StoreError(f"{self.path}: is closed")
        known: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if known is None:
            known = self._connect()
            self._local.connection = known
        return known

    def _connect(self) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(self.path, self._busy, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA foreign_keys = ON")
            # Safe against a killed process; after a power cut the last deliveries come again from the mirror.
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA cache_size = -16000")
            # Twice as many events a second as with 1,000 pages, for a log of at most 16 MB beside the file.
            db.execute("PRAGMA wal_autocheckpoint = 4000")
        except sqlite3.Error as error:
            raise explained(error, self.path) from None
        with self._guard:
            for thread in [thread for thread in self._open if not thread.is_alive()]:
                self._open.pop(thread).close()
            self._open[threading.current_thread()] = db
        return db


def explained(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    """What went wrong with the file, in one line with advice."""
    if isinstance(error, OSError):
        return StoreError(f"{path}: can't be opened ({error.strerror})", "Set PODIUM_HOME to another folder.")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        return StoreError(
            f"{path}: is damaged or no Podium database",
            f"It was left as it is. Move it away (mv {path.name} {path.name}.damaged) and start again; "
            "what the runs wrote is still in their folders beside it.",
        )
    what, advice = _TROUBLE.get(code, (f"database error: {error}", ""))
    return StoreError(f"{path}: {what}", advice)
