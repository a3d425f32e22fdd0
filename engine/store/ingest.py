"""Bytes of `events.jsonl` -> rows, inside one transaction with the offset that they end at."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import BadWireLine, NoSuchJob
from engine.job.events import Event, decode, stamp
from engine.records import Checkpoint
from engine.store.base import Ingested
from engine.store.projection import Memory, Projection
from engine.store.pyramid import rebuild
from engine.store.rows import CHECKPOINT_COLUMNS, checkpoint_of
from engine.store.series import KINDS, Kind, Series
from engine.store.standing import best_of
from engine.store.values import column, json_object, json_text, text

EVENTS_FILE: Final = "events.jsonl"

KEPT_BAD_LINES: Final = 1000
"""Bad lines of one job that are kept for looking at; the others are only counted."""

KEPT_BAD_BYTES: Final = 4096
"""How much of a bad line is kept."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A whole line that is no event."""

    at: int
    line: bytes
    reason: str


def take_in(db: sqlite3.Connection, job_id: str, lines: bytes, at: int) -> Ingested:
    """Take in whole lines; the caller holds the transaction.

    Raises:
        ValueError: A gap would be left between the stored offset and `at`.
        NoSuchJob: There is no such job.
    """
    stored = offset(db, job_id, EVENTS_FILE)
    if at > stored:
        raise ValueError(f"events of {job_id} from byte {at}, but only {stored} are stored")
    end = at + lines.rfind(b"\n") + 1
    if end <= stored:
        return Ingested(stored, 0, 0)
    new, bad = _parsed(lines[stored - at : end - at], stored)
    events = list(_unknown(db, job_id, new))
    _store_events(db, job_id, events)
    _store_bad_lines(db, job_id, bad)
    _project(db, job_id, events, len(bad))
    db.execute(
        "INSERT INTO stream_offsets (job_id, file, bytes) VALUES (?, ?, ?) "
        "ON CONFLICT (job_id, file) DO UPDATE SET bytes = excluded.bytes",
        (job_id, EVENTS_FILE, end),
    )
    return Ingested(end, len(events), len(bad))


def offset(db: sqlite3.Connection, job_id: str, file: str) -> int:
    """How many bytes of a file of the job's folder have been taken in."""
    found = db.execute(
        "SELECT bytes FROM stream_offsets WHERE job_id = ? AND file = ?", (job_id, file)
    ).fetchone()
    return int(found[0]) if found else 0


def _parsed(lines: bytes, at: int) -> tuple[list[Event], list[BadLine]]:
    """The events and the bad lines of some whole lines that start at byte `at` of the file."""
    events: list[Event] = []
    bad: list[BadLine] = []
    for line in lines[:-1].split(b"\n"):
        if line.strip():
            try:
                events.append(decode(line))
            except BadWireLine as error:
                bad.append(BadLine(at, line, error.what))
        at += len(line) + 1
    return events, bad


def _unknown(db: sqlite3.Connection, job_id: str, events: list[Event]) -> Iterator[Event]:
    """The events that are not stored yet, each once."""
    newest = db.execute("SELECT max(seq) FROM training_events WHERE job_id = ?", (job_id,)).fetchone()[0] or 0
    seen: set[int] = set()
    for event in events:
        if event.seq > newest:
            newest = event.seq
        elif event.seq in seen or _stored(db, job_id, event.seq):
            continue
        seen.add(event.seq)
        yield event


def _stored(db: sqlite3.Connection, job_id: str, seq: int) -> bool:
    found = db.execute("SELECT 1 FROM training_events WHERE job_id = ? AND seq = ?", (job_id, seq)).fetchone()
    return found is not None


def _store_events(db: sqlite3.Connection, job_id: str, events: list[Event]) -> None:
    db.executemany(
        "INSERT INTO training_events (job_id, seq, ts, attempt, type, step, data) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(job_id, *_event_columns(event)) for event in events],
    )


def _event_columns(event: Event) -> tuple[Any, ...]:
    type, data = text(event.type, 100), json_text(event.data)
    return (event.seq, stamp(event.ts), event.attempt, type, event.step, data)


def _store_bad_lines(db: sqlite3.Connection, job_id: str, bad: list[BadLine]) -> None:
    if not bad:
        return
    kept = db.execute("SELECT count(*) FROM training_bad_lines WHERE job_id = ?", (job_id,)).fetchone()[0]
    db.executemany(
        "INSERT OR IGNORE INTO training_bad_lines (job_id, at, length, reason, line) VALUES (?, ?, ?, ?, ?)",
        [
            (
                job_id,
                item.at,
                len(item.line),
                item.reason,
                item.line[:KEPT_BAD_BYTES].decode("utf-8", "replace"),
            )
            for item in bad[: max(0, KEPT_BAD_LINES - kept)]
        ],
    )


def _project(db: sqlite3.Connection, job_id: str, events: list[Event], bad: int) -> None:
    """Apply the events to the job's rows."""
    cursor = db.execute("SELECT * FROM local_training_jobs WHERE id = ?", (job_id,))
    found = cursor.fetchone()
    if found is None:
        raise NoSuchJob(f"no job {job_id!r}")
    before = dict(zip((item[0] for item in cursor.description), found, strict=True))
    series: dict[Kind, Series] = {kind: Series(db, job_id, kind) for kind in KINDS}
    memory = Memory.from_json(json_object(before["projection"]))
    projection = Projection(before, memory, series, _names(db, job_id))
    for event in events:
        projection.apply(event)
    _write_series(db, job_id, projection)
    _write_checkpoints(db, job_id, projection.checkpoints)
    _write_predictions(db, job_id, projection.predictions)
    after = projection.job
    if events:
        projection.settle()
        after["projection"] = json_text(memory.to_json())
    if projection.checkpoints:
        after |= _best(db, job_id)
    after["bad_lines"] += bad
    write_job(db, job_id, {name: value for name, value in after.items() if value != before[name]})


def write_job(db: sqlite3.Connection, job_id: str, columns: Mapping[str, Any]) -> None:
    """Set columns of a job, in a new revision; nothing when there are none."""
    if not columns:
        return
    revision = db.execute("UPDATE revision SET value = value + 1 RETURNING value").fetchone()[0]
    names = ", ".join(f"{name} = ?" for name in columns)
    values = [column(value) for value in columns.values()]
    db.execute(
        f"UPDATE local_training_jobs SET {names}, revision = ? WHERE id = ?", (*values, revision, job_id)
    )


def _names(db: sqlite3.Connection, job_id: str) -> dict[Kind, dict[str, int]]:
    """The metrics that the job has curves of, with their places."""
    names: dict[Kind, dict[str, int]] = {kind: {} for kind in KINDS}
    for kind, name, place in db.execute(
        "SELECT kind, name, place FROM training_curve_names WHERE job_id = ?", (job_id,)
    ):
        names[kind][name] = place
    return names


def _write_series(db: sqlite3.Connection, job_id: str, projection: Projection) -> None:
    """Store the new rows, their metrics' names and the pyramid above them."""
    db.executemany(
        "INSERT INTO training_curve_names (job_id, kind, name, place) VALUES (?, ?, ?, ?)",
        [(job_id, *name) for name in projection.new_names],
    )
    for kind, series in projection.series.items():
        if series.changed:
            series.write()
            rebuild(db, job_id, series, projection.names[kind])


def _write_checkpoints(db: sqlite3.Connection, job_id: str, checkpoints: list[dict[str, Any]]) -> None:
    """Insert or replace checkpoints, and take the path from those that rotation removed."""
    for row in checkpoints:
        if "removed_at" in row:
            db.execute(
                "UPDATE training_checkpoints SET path = NULL, removed_at = ? "
                f"WHERE job_id = ? AND path IS NOT NULL AND {'step' if row['path'] is None else 'path'} = ?",
                (row["removed_at"], job_id, row["step"] if row["path"] is None else row["path"]),
            )
        else:
            names = ", ".join(row)
            changed = ", ".join(f"{name} = excluded.{name}" for name in row if name != "step")
            db.execute(
                f"INSERT INTO training_checkpoints (job_id, {names}) VALUES (?{', ?' * len(row)}) "
                f"ON CONFLICT (job_id, step) DO UPDATE SET {changed}, removed_at = NULL "
                "WHERE excluded.attempt >= training_checkpoints.attempt",
                (job_id, *(column(value) for value in row.values())),
            )


_PREDICTION_KEY: Final = ("step", "sample_index")


def _write_predictions(db: sqlite3.Connection, job_id: str, predictions: list[dict[str, Any]]) -> None:
    for row in predictions:
        changed = ", ".join(f"{name} = excluded.{name}" for name in row if name not in _PREDICTION_KEY)
        db.execute(
            f"INSERT INTO training_predictions (job_id, {', '.join(row)}) VALUES (?{', ?' * len(row)}) "
            f"ON CONFLICT (job_id, step, sample_index) DO UPDATE SET {changed} "
            "WHERE excluded.attempt >= training_predictions.attempt",
            (job_id, *(column(value) for value in row.values())),
        )


def checkpoints_of(db: sqlite3.Connection, job_id: str) -> list[Checkpoint]:
    """A job's checkpoints by step, without their standing."""
    names = ", ".join(CHECKPOINT_COLUMNS)
    found = db.execute(f"SELECT {names} FROM training_checkpoints WHERE job_id = ? ORDER BY step", (job_id,))
    return [checkpoint_of(row) for row in found]


def _best(db: sqlite3.Connection, job_id: str) -> dict[str, Any]:
    """The job's columns about its checkpoints."""
    checkpoints = checkpoints_of(db, job_id)
    best = best_of(checkpoints)
    kept = [item for item in checkpoints if item.path is not None]
    return {
        "best_step": best.step if best else None,
        "best_epoch": best.epoch if best else None,
        "best_checkpoint_path": best.path if best else None,
        "best_checkpoint_score": best.score.total if best and best.score else None,
        "checkpoint_count": len(kept),
        "size_bytes": sum(item.size_bytes or 0 for item in kept),
    }
