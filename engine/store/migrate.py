"""Bring a database file to the current schema: with yoyo when it is behind, at once when it is not."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from engine.errors import StoreError

SCHEMA: Final = Path(__file__).parent / "schema"
"""The folder of the migrations, one numbered SQL file each."""

SCHEMA_VERSION: Final = 4
"""The `user_version` that the newest migration sets."""

APPLICATION_ID: Final = int.from_bytes(b"Podi", "big")
"""What our database files bear in their header, so that another program's file is never written to."""


def migrate(path: Path, busy: float) -> None:
    """Make the file, or bring it to the current schema; takes well under a millisecond when it is there.

    Args:
        path: The database file.
        busy: How long to wait for another writer, seconds.

    Raises:
        StoreError: The file is not ours, or was made by a newer Podium.
        sqlite3.Error: It can't be read or written.
    """
    if _version(path, busy) == SCHEMA_VERSION:
        return
    with _alone(path.parent):
        if _version(path, busy) < SCHEMA_VERSION:
            _apply(path, busy)


def _version(path: Path, busy: float) -> int:
    """The schema version of a file; 0 for a new one. Writes nothing to a file that is not ours."""
    with closing(sqlite3.connect(path, busy, isolation_level=None)) as db:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        owner = int(db.execute("PRAGMA application_id").fetchone()[0])
        if owner != APPLICATION_ID and _has_tables(db):
            raise StoreError(f"{path}: is another program's database", "Set PODIUM_HOME to another folder.")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: was made by a newer Podium (schema {version}, this one knows {SCHEMA_VERSION})",
            "Update Podium, or set PODIUM_HOME to another folder.",
        )
    return version


def _has_tables(db: sqlite3.Connection) -> bool:
    """Does it have tables other than those that yoyo keeps its own notes in?"""
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return any(not name.lstrip("_").startswith(("yoyo", "sqlite_")) for name in names)


def _apply(path: Path, busy: float) -> None:
    """Apply the migrations that are missing, each in a transaction."""
    import yoyo

    backend = yoyo.get_backend(f"sqlite:///{quote(str(path.absolute()))}")
    try:
        # Nobody else migrates while we hold the folder's lock: yoyo's was left by a process that died.
        backend.break_lock()
        backend.apply_migrations(backend.to_apply(yoyo.read_migrations(str(SCHEMA))))
    finally:
        backend.connection.close()
    with closing(sqlite3.connect(path, busy)) as db:
        db.execute("PRAGMA journal_mode = WAL")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which dies with its process as yoyo's own does not."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
