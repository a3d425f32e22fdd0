"""Archive, restore, delete, and what is said of jobs: what was there before is kept for undo."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from engine.errors import BadInput, NoSuchJob
from engine.job.events import Status, stamp
from engine.store.base import Action, Change, Done
from engine.store.values import json_list, json_object, json_text
from engine.store.writes import write_job

NOTE: Final = "note"
"""Where a run's note stands among its metadata."""

_ADVICE: Final = "Stop it first: podium stop JOB."

_State = dict[str, Any]
"""Columns of a job, as JSON has them, that an action may change; the note is one of them."""


def act(db: sqlite3.Connection, action: Action, job_ids: Sequence[str]) -> Done:
    """Do it to all of the jobs or, with an error, to none; the caller holds the transaction.

    Raises:
        NoSuchJob: One of them does not exist.
        BadInput: A job that is to be deleted still lives.
    """
    now = stamp(datetime.now(UTC))
    wanted = []
    for job_id in dict.fromkeys(job_ids):
        job = _job(db, job_id)
        if action == "delete" and Status(job["status"]).live:
            raise BadInput(f"{job['name']} is {job['status']} and can't be deleted", _ADVICE)
        wanted.append((job_id, job, _hidden(action, job, now)))
    return _change(db, action, wanted)


def annotate(
    db: sqlite3.Connection,
    job_ids: Sequence[str],
    *,
    name: str | None = None,
    note: str | None = None,
    add: Collection[str] = (),
    drop: Collection[str] = (),
) -> Done:
    """Set what the user says of some jobs; what is None stays. The caller holds the transaction.

    Raises:
        NoSuchJob: One of them does not exist.
    """
    wanted = []
    for job_id in dict.fromkeys(job_ids):
        job = _job(db, job_id)
        said: _State = {} if name is None else {"name": name}
        if add or drop:
            tags = [tag for tag in job["tags"] if tag not in drop]
            said["tags"] = list(dict.fromkeys([*tags, *add]))
        if note is not None:
            said[NOTE] = note or None
        wanted.append((job_id, job, said))
    return _change(db, "rename" if name is not None else "tag" if add or drop else "note", wanted)


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
    for job_id, *texts in db.execute(
        "SELECT job_id, before, after FROM action_changes WHERE action_id = ?", (action_id,)
    ).fetchall():
        before, after = map(json_object, texts)
        if _part(_job(db, job_id), after) == after:
            _write(db, job_id, before)
            reverted.append(job_id)
    return Done(action, tuple(reverted))


def _change(db: sqlite3.Connection, action: Change, wanted: Iterable[tuple[str, _State, _State]]) -> Done:
    """Bring jobs from their states to others, and remember those that were not in them already."""
    items = [
        (job_id, before, after) for job_id, job, after in wanted if (before := _part(job, after)) != after
    ]
    if items:
        made = "INSERT INTO actions (action, done_at) VALUES (?, ?)"
        action_id = db.execute(made, (action, stamp(datetime.now(UTC)))).lastrowid
        for job_id, before, after in items:
            db.execute(
                "INSERT INTO action_changes (action_id, job_id, before, after) VALUES (?, ?, ?, ?)",
                (action_id, job_id, json_text(before), json_text(after)),
            )
            _write(db, job_id, after)
    return Done(action, tuple(item[0] for item in items))


def _hidden(action: Action, job: _State, now: str) -> _State:
    """What archived_at and deleted_at become."""
    archived, deleted = job["archived_at"], job["deleted_at"]
    if action == "archive":
        return {"archived_at": archived or now, "deleted_at": deleted}
    if action == "delete":
        return {"archived_at": archived, "deleted_at": deleted or now}
    return {"archived_at": None, "deleted_at": None}


def _part(job: _State, like: _State) -> _State:
    return {key: job[key] for key in like}


def _job(db: sqlite3.Connection, job_id: str) -> _State:
    found = db.execute(
        "SELECT name, status, archived_at, deleted_at, tags, metadata FROM local_training_jobs WHERE id = ?",
        (job_id,),
    ).fetchone()
    if found is None:
        raise NoSuchJob(f"no job {job_id!r}")
    *columns, tags, metadata = found
    state = dict(zip(("name", "status", "archived_at", "deleted_at"), columns, strict=True))
    texts = [tag for tag in json_list(tags) if isinstance(tag, str)]
    return {**state, "tags": texts, NOTE: json_object(metadata).get(NOTE)}


def _write(db: sqlite3.Connection, job_id: str, state: _State) -> None:
    """Set the columns; the note goes among the metadata, of which the rest stays as it is."""
    columns = {key: value for key, value in state.items() if key != NOTE}
    if NOTE in state:
        found = db.execute("SELECT metadata FROM local_training_jobs WHERE id = ?", (job_id,)).fetchone()
        others = {key: value for key, value in json_object(found[0]).items() if key != NOTE}
        columns["metadata"] = {**others, NOTE: state[NOTE]} if state[NOTE] else others
    write_job(db, job_id, columns)
