"""What the user says of runs (name, note, tags) and takes away for good (runs, files of checkpoints)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from engine.errors import BadInput, NoSuchJob
from engine.job.events import stamp
from engine.store.values import json_object
from engine.store.writes import best_columns, write_job

NOTE: Final = "note"
"""Where a run's note stands among its metadata."""


def annotate(
    db: sqlite3.Connection,
    job_ids: Sequence[str],
    *,
    name: str | None = None,
    note: str | None = None,
    add: Collection[str] = (),
    drop: Collection[str] = (),
) -> None:
    """Set what the user says of some jobs; what is None stays. The caller holds the transaction.

    Raises:
        NoSuchJob: One of them does not exist.
    """
    for job_id in dict.fromkeys(job_ids):
        found = db.execute(
            "SELECT tags, metadata FROM local_training_jobs WHERE id = ?", (job_id,)
        ).fetchone()
        if found is None:
            raise NoSuchJob(f"no job {job_id!r}")
        columns: dict[str, Any] = {} if name is None else {"name": name}
        if add or drop:
            tags = [tag for tag in _texts(found[0]) if tag not in drop]
            columns["tags"] = tuple(dict.fromkeys([*tags, *add]))
        if note is not None:
            metadata = {key: value for key, value in json_object(found[1]).items() if key != NOTE}
            columns["metadata"] = {**metadata, NOTE: note} if note else metadata
        write_job(db, job_id, columns)


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
    db.execute("DELETE FROM actions WHERE id NOT IN (SELECT action_id FROM action_items)")
    db.execute("UPDATE revision SET value = value + 1")


def drop_checkpoints(db: sqlite3.Connection, job_id: str, steps: Collection[int]) -> None:
    """Note that the files of some checkpoints are gone; their numbers stay."""
    db.executemany(
        "UPDATE training_checkpoints SET path = NULL, removed_at = ? WHERE job_id = ? AND step = ?",
        [(stamp(datetime.now(UTC)), job_id, step) for step in steps],
    )
    write_job(db, job_id, best_columns(db, job_id))


def _texts(stored: str) -> list[str]:
    """The texts of a JSON list; none for anything else."""
    try:
        value = json.loads(stored)
    except ValueError:
        return []
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
