"""Rows that came from the hosted store -> rows here, merged with what was changed here meanwhile."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from engine.errors import NoSuchJob
from engine.job.events import Event, Status, parse_stamp
from engine.store.hosted import ledger
from engine.store.hosted.columns import ALL, USERS, Row, fetched, said, sent, stored
from engine.store.hosted.merge import merge
from engine.store.values import column, count, json_text, mapping
from engine.store.writes import write_job

_FIGURES: Final = tuple(name for name in ALL if name not in USERS)


def take_rows(db: sqlite3.Connection, account: str, remotes: Sequence[Row]) -> set[str]:
    """Take in jobs' rows; the caller holds the transaction. Returns the ids here of those that changed."""
    told = [str(remote["id"]) for remote in remotes]
    here = {*ledger.revisions(db, account, told), *_among(db, told)}
    new = [remote for remote in remotes if str(remote["id"]) not in here]
    _add(db, account, new)
    changed = {take_row(db, account, remote) for remote in remotes if str(remote["id"]) in here}
    return {str(remote["id"]) for remote in new} | {job_id for job_id in changed if job_id is not None}


def take_row(db: sqlite3.Connection, account: str, remote: Row) -> str | None:
    """Take in a job's row; the caller holds the transaction.

    Returns:
        The id here of a job that changed; None when this is nothing new.
    """
    copy = ledger.copy_with(db, account, str(remote["id"]))
    if copy is None:
        if local_row(db, str(remote["id"])) is None:
            _add(db, account, [remote])
            return str(remote["id"])
        copy = _met(db, account, str(remote["id"]))
    elif int(remote["revision"]) <= copy.revision and copy.base:
        return None
    local = local_row(db, copy.job_id)
    if local is None:
        return None  # purged here: that is still to be said there
    row, mine = fetched(remote), sent(local)
    merged = merge(copy.base, mine, row, USERS)
    changes = dict(merged.here)
    if copy.here and Status(local["status"]).live:
        # Who put it there did not know that it goes on: what costs money is never out of sight.
        changes.pop("deleted_at", None)
    if (number := count(remote.get("number"))) and number != local["number"]:
        changes["number"] = number  # where it was taken by another run that came there first
    if not copy.here:
        # Who follows it knows its figures.
        changes |= {
            name: row[name]
            for name in _FIGURES
            if row[name] != copy.base.get(name) and row[name] != mine[name]
        }
    metadata = {**mine["metadata"], **({"note": mine["note"]} if mine["note"] else {})}
    write_job(db, copy.job_id, stored(changes, metadata))
    ledger.note(db, account, copy.job_id, base=row, revision=int(remote["revision"]))
    if not copy.here and not merged.there:
        settle(db, account, copy.job_id)
    return copy.job_id if changes else None


def settle(db: sqlite3.Connection, account: str, job_id: str) -> None:
    """All that the job is here has been sent."""
    db.execute(
        "UPDATE hosted_jobs SET sent = (SELECT revision FROM local_training_jobs WHERE id = job_id) "
        "WHERE project = ? AND job_id = ?",
        (account, job_id),
    )


def local_row(db: sqlite3.Connection, job_id: str) -> dict[str, Any] | None:
    """A job's columns as stored; None when there is no such job."""
    cursor = db.execute("SELECT * FROM local_training_jobs WHERE id = ?", (job_id,))
    found = cursor.fetchone()
    return dict(zip((item[0] for item in cursor.description), found, strict=True)) if found else None


def _among(db: sqlite3.Connection, job_ids: Sequence[str]) -> list[str]:
    """Those of them that are jobs here."""
    found = db.execute(
        "SELECT id FROM local_training_jobs WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(job_ids),),
    )
    return [row[0] for row in found]


_ADDED: Final = (
    "id",
    "user_id",
    "number",
    "created_at",
    *(name for name in ALL if name != "note"),
    "revision",
)
_OBJECTS: Final = ("config", "metadata", "spent", "laptop_spent")


def _add(db: sqlite3.Connection, account: str, remotes: Sequence[Row]) -> None:
    """Add jobs that are followed elsewhere, with their copies: all of it in as few statements as can be."""
    newest = db.execute("UPDATE revision SET value = value + ? RETURNING value", (len(remotes),)).fetchone()[
        0
    ]
    jobs, copies = [], []
    for revision, remote in enumerate(remotes, newest - len(remotes) + 1):
        row, id = fetched(remote), str(remote["id"])
        values = {
            **stored(row, {}),
            "id": id,
            "user_id": remote.get("user_id"),
            "number": count(remote.get("number")) or 0,
            "created_at": said("created_at", remote.get("created_at")),
            "revision": revision,
        }
        values |= {name: {} for name in _OBJECTS if not values[name]}
        jobs.append([column(values[name]) for name in _ADDED])
        copies.append((account, id, id, json_text(row), int(remote["revision"]), revision))
    places = ", ".join("?" * len(_ADDED))
    db.executemany(f"INSERT INTO local_training_jobs ({', '.join(_ADDED)}) VALUES ({places})", jobs)
    db.executemany(
        "INSERT INTO hosted_jobs (project, job_id, hosted_id, here, base, revision, sent) "
        "VALUES (?, ?, ?, 0, ?, ?, ?)",
        copies,
    )


def _met(db: sqlite3.Connection, account: str, job_id: str) -> ledger.Copy:
    """A copy of a job that is here already, and was not known to be there.

    It is followed from here, unless another user of this machine has it from elsewhere.
    """
    db.execute(
        "INSERT INTO hosted_jobs (project, job_id, hosted_id, here, base) "
        "SELECT ?, ?, ?, NOT EXISTS (SELECT 1 FROM hosted_jobs WHERE job_id = ? AND NOT here), '{}'",
        (account, job_id, job_id, job_id),
    )
    copy = ledger.copy_of(db, account, job_id)
    if copy is None:
        raise NoSuchJob(f"no job {job_id!r}")
    return copy


def event_of(row: Mapping[str, Any]) -> Event | None:
    """An event as it came; None for what is none."""
    try:
        seq, attempt = int(row["seq"]), int(row["attempt"] or 1)
        moment = parse_stamp(str(said("made_at", row["ts"])))
        step = None if row["step"] is None else int(row["step"])
    except (KeyError, TypeError, ValueError):
        return None
    return (
        Event(seq, moment, attempt, str(row["type"]), step, dict(mapping(row["data"]))) if seq > 0 else None
    )


_METRICS: Final = (
    "epoch", "learning_rate", "grad_norm", "perplexity", "train_perplexity", "samples_per_second",
    "tokens_per_second", "gpu_memory_allocated_gb", "gpu_memory_reserved_gb", "gpu_utilization_percent",
)  # fmt: skip


def old_metrics(rows: Sequence[Row]) -> list[Event]:
    """Rows of the old system's metrics, which had no events, as the events that they would have been."""
    events = []
    for row in rows:
        told = {name: row[name] for name in _METRICS if row.get(name) is not None}
        losses = {name: row[name] for name in ("train_loss", "eval_loss") if row.get(name) is not None}
        kind = "eval" if "eval_loss" in losses else "train"
        if kind == "train":
            losses = {"loss": losses["train_loss"]} if losses else {}
        events.append(_old(2 * int(row["id"]), row, kind, {**told, **losses}))
    return [event for event in events if event is not None]


def old_predictions(rows: Sequence[Row]) -> list[Event]:
    """Rows of the old system's predictions, in the same way."""
    gone = ("id", "job_id", "user_id", "step", "attempt", "created_at")
    made = []
    for row in rows:
        data = {name: value for name, value in row.items() if name not in gone and value is not None}
        made.append(_old(2 * int(row["id"]) + 1, row, "prediction", data))
    return [event for event in made if event is not None]


def _old(seq: int, row: Row, kind: str, data: dict[str, Any]) -> Event | None:
    return event_of(
        {
            "seq": seq,
            "ts": row.get("timestamp") or row.get("created_at"),
            "attempt": 1,
            "type": kind,
            "step": row.get("step"),
            "data": data,
        }
    )
