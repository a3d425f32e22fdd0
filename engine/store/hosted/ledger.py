"""What this machine knows of its jobs' copies in a hosted store: rows of `hosted_jobs`."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from engine.store.hosted.columns import Row
from engine.store.values import json_object, json_text

_SPACE: Final = uuid.UUID("5b1d6c36-0a3f-4a43-9a53-8b2f3a1f6e0d")
_COLUMNS: Final = "job_id, hosted_id, here, base, revision, sent, sent_seq, taken"


@dataclass(frozen=True, slots=True)
class Copy:
    """A job's copy in the hosted store.

    Args:
        job_id: The job here.
        hosted_id: Its id there.
        here: Is it followed from this machine?
        base: Its row there when both sides last agreed; empty while it is not there.
        revision: The row's revision then.
        sent: The job's revision here that was last sent.
        sent_seq: The newest event that is there.
        taken: The row's revision when its events were last taken from there.
    """

    job_id: str
    hosted_id: str
    here: bool
    base: Row
    revision: int
    sent: int
    sent_seq: int
    taken: int


def hosted_id(account: str, job_id: str) -> str:
    """A job's id there: its own, or where that is no UUID one that follows from it."""
    try:
        return str(uuid.UUID(job_id))
    except ValueError:
        return str(uuid.uuid5(_SPACE, f"{account} {job_id}"))


def track(db: sqlite3.Connection, account: str, job_id: str) -> None:
    """From now on this job is to be in the hosted store, as one that is followed from here."""
    db.execute(
        "INSERT OR IGNORE INTO hosted_jobs (project, job_id, hosted_id, here) VALUES (?, ?, ?, 1)",
        (account, job_id, hosted_id(account, job_id)),
    )


def copy_of(db: sqlite3.Connection, account: str, job_id: str) -> Copy | None:
    """A job's copy; None when it is to have none."""
    return _first(db, "project = ? AND job_id = ?", account, job_id)


def copied(db: sqlite3.Connection, account: str, job_id: str) -> bool:
    """Has it a copy of this account's, or one of anybody's that is followed elsewhere?"""
    found = db.execute(
        "SELECT 1 FROM hosted_jobs WHERE job_id = ? AND (project = ? OR NOT here)", (job_id, account)
    ).fetchone()
    return found is not None


def copy_with(db: sqlite3.Connection, account: str, hosted: str) -> Copy | None:
    """The copy with that id there."""
    return _first(db, "project = ? AND hosted_id = ?", account, hosted)


def note(db: sqlite3.Connection, account: str, job_id: str, **columns: Any) -> None:
    """Set columns of a copy."""
    values = [json_text(value) if isinstance(value, dict) else value for value in columns.values()]
    names = ", ".join(f"{name} = ?" for name in columns)
    db.execute(f"UPDATE hosted_jobs SET {names} WHERE project = ? AND job_id = ?", (*values, account, job_id))


def unsent(db: sqlite3.Connection, account: str) -> list[str]:
    """The jobs that changed here since they were last sent, live ones first."""
    found = db.execute(
        "SELECT j.id FROM hosted_jobs AS h JOIN local_training_jobs AS j ON j.id = h.job_id "
        "WHERE h.project = ? AND j.revision > h.sent "
        "ORDER BY j.status IN ('completed', 'failed', 'cancelled'), j.revision",
        (account,),
    )
    return [row[0] for row in found]


def waiting(db: sqlite3.Connection, account: str) -> int:
    """How many events are not there yet."""
    found = db.execute(
        "SELECT sum(max(0, "
        "coalesce((SELECT max(seq) FROM training_events WHERE job_id = h.job_id), 0) - h.sent_seq)) "
        "FROM hosted_jobs AS h JOIN local_training_jobs AS j ON j.id = h.job_id "
        "WHERE h.project = ? AND h.here AND j.revision > h.sent",
        (account,),
    ).fetchone()
    return int(found[0] or 0)


def purged(db: sqlite3.Connection, account: str) -> list[Copy]:
    """The copies of jobs that were removed here for good."""
    found = db.execute(
        f"SELECT {_COLUMNS} FROM hosted_jobs AS h WHERE project = ? "
        "AND NOT EXISTS (SELECT 1 FROM local_training_jobs WHERE id = h.job_id)",
        (account,),
    )
    return [_copy(row) for row in found]


def untaken(db: sqlite3.Connection, account: str, attended: Collection[str]) -> list[Copy]:
    """The copies followed elsewhere that may have new events: of live jobs and of attended ones."""
    found = db.execute(
        f"SELECT {', '.join(f'h.{name.strip()}' for name in _COLUMNS.split(','))}, j.status "
        "FROM hosted_jobs AS h JOIN local_training_jobs AS j ON j.id = h.job_id "
        "WHERE h.project = ? AND NOT h.here AND h.revision > h.taken "
        "AND (j.status IN ('pending', 'running', 'paused') OR j.id IN (SELECT value FROM json_each(?)))",
        (account, json.dumps(list(attended))),
    )
    return [_copy(row) for row in found]


def known(db: sqlite3.Connection, account: str) -> list[str]:
    """The ids there of all copies."""
    return [row[0] for row in db.execute("SELECT hosted_id FROM hosted_jobs WHERE project = ?", (account,))]


def revisions(db: sqlite3.Connection, account: str, hosted_ids: Collection[str]) -> dict[str, int]:
    """The revisions that are known of some of the jobs there."""
    found = db.execute(
        "SELECT hosted_id, revision FROM hosted_jobs "
        "WHERE project = ? AND hosted_id IN (SELECT value FROM json_each(?))",
        (account, json.dumps(list(hosted_ids))),
    )
    return dict(found.fetchall())


def cursor(db: sqlite3.Connection, account: str) -> int:
    """Up to which revision rows were fetched; -1 at first."""
    found = db.execute("SELECT revision FROM hosted_cursors WHERE project = ?", (account,)).fetchone()
    return int(found[0]) if found else -1


def move_cursor(db: sqlite3.Connection, account: str, revision: int, now: str) -> None:
    """Rows up to a revision were fetched."""
    db.execute(
        "INSERT INTO hosted_cursors (project, revision, synced_at) VALUES (?, ?, ?) ON CONFLICT (project) "
        "DO UPDATE SET revision = max(revision, excluded.revision), synced_at = excluded.synced_at",
        (account, revision, now),
    )


def _first(db: sqlite3.Connection, condition: str, *values: str) -> Copy | None:
    found = db.execute(f"SELECT {_COLUMNS} FROM hosted_jobs WHERE {condition}", values).fetchone()
    return _copy(found) if found else None


def _copy(row: Any) -> Copy:
    job_id, hosted, here, base, revision, sent, sent_seq, taken = row[:8]
    return Copy(job_id, hosted, bool(here), json_object(base), revision, sent, sent_seq, taken)
