"""Archive, restore, delete and undo: what was there before is kept with what was done."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from engine.errors import BadInput, NoSuchJob
from engine.job.events import Status, stamp
from engine.store.base import Action, Done
from engine.store.writes import write_job

_ADVICE: Final = "Stop it first: podium stop JOB."


def act(db: sqlite3.Connection, action: Action, job_ids: Sequence[str]) -> Done:
    """Do it to all of the jobs or, with an error, to none; the caller holds the transaction.

    Raises:
        NoSuchJob: One of them does not exist.
        BadInput: A job that is to be deleted still lives.
    """
    now = stamp(datetime.now(UTC))
    items = []
    for job_id in dict.fromkeys(job_ids):
        name, status, archived, deleted = _job(db, job_id)
        if action == "delete" and Status(status).live:
            raise BadInput(f"{name} is {status} and can't be deleted", _ADVICE)
        after = _after(action, archived, deleted, now)
        if after != (archived, deleted):
            items.append((job_id, archived, deleted, *after))
    if items:
        action_id = db.execute("INSERT INTO actions (action, done_at) VALUES (?, ?)", (action, now)).lastrowid
        for item in items:
            db.execute("INSERT INTO action_items VALUES (?, ?, ?, ?, ?, ?)", (action_id, *item))
            write_job(db, item[0], {"archived_at": item[3], "deleted_at": item[4]})
    return Done(action, tuple(item[0] for item in items))


def undo(db: sqlite3.Connection) -> Done | None:
    """Take back the last action; jobs that were changed again since then keep what they have."""
    found = db.execute(
        "SELECT id, action FROM actions WHERE undone_at IS NULL ORDER BY id DESC LIMIT 1"
    ).fetchone()
    if found is None:
        return None
    action_id, action = found
    db.execute("UPDATE actions SET undone_at = ? WHERE id = ?", (stamp(datetime.now(UTC)), action_id))
    reverted = []
    for job_id, archived, deleted, *after in db.execute(
        "SELECT job_id, archived_before, deleted_before, archived_after, deleted_after "
        "FROM action_items WHERE action_id = ?",
        (action_id,),
    ).fetchall():
        if list(_job(db, job_id)[2:]) == after:
            write_job(db, job_id, {"archived_at": archived, "deleted_at": deleted})
            reverted.append(job_id)
    return Done(action, tuple(reverted))


def _after(
    action: Action, archived: str | None, deleted: str | None, now: str
) -> tuple[str | None, str | None]:
    """What archived_at and deleted_at become."""
    if action == "archive":
        return archived or now, deleted
    if action == "delete":
        return archived, deleted or now
    return None, None


def _job(db: sqlite3.Connection, job_id: str) -> tuple[Any, ...]:
    found: tuple[Any, ...] | None = db.execute(
        "SELECT name, status, archived_at, deleted_at FROM local_training_jobs WHERE id = ?", (job_id,)
    ).fetchone()
    if found is None:
        raise NoSuchJob(f"no job {job_id!r}")
    return found
