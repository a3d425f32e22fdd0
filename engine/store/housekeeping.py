"""What the user takes away for good: runs, and files of checkpoints."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from engine.errors import BadInput
from engine.job.events import stamp
from engine.store.writes import best_columns, write_job


def forget(db: sqlite3.Connection, job_ids: Sequence[str]) -> None:
    """Remove jobs from the trash for good, with all that is known of them; all of them or none.

    Raises:
        BadInput: One of them is not in the trash.
    """
    for job_id in dict.fromkeys(job_ids):
        found = db.execute(
            "SELECT name, deleted_at FROM local_training_jobs WHERE id = ?", (job_id,)
        ).fetchone()
        if found is None:
            continue
        if found[1] is None:
            raise BadInput(f"{found[0]} is not in the trash", "podium delete puts it there.")
        db.execute("DELETE FROM local_training_jobs WHERE id = ?", (job_id,))
        # What the laptop remembered of it, such as when it began to provision.
        db.execute("DELETE FROM settings WHERE key LIKE '%/' || ?", (job_id,))
    db.execute("DELETE FROM actions WHERE id NOT IN (SELECT action_id FROM action_changes)")
    db.execute("UPDATE revision SET value = value + 1")


def drop_checkpoints(db: sqlite3.Connection, job_id: str, steps: Collection[int]) -> None:
    """Note that the files of some checkpoints are gone; their numbers stay."""
    db.executemany(
        "UPDATE training_checkpoints SET path = NULL, removed_at = ? WHERE job_id = ? AND step = ?",
        [(stamp(datetime.now(UTC)), job_id, step) for step in steps],
    )
    write_job(db, job_id, best_columns(db, job_id))
