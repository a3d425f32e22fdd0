"""Bytes of `events.jsonl` -> rows, inside one transaction with the offset that they end at."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from engine.errors import BadWireLine, NoSuchJob
from engine.job.events import Event
from engine.store.base import Ingested
from engine.store.handlers import apply
from engine.store.memory import Memory
from engine.store.projection import Projection
from engine.store.reading import BadLine, Told, parsed, told
from engine.store.series import KINDS, Kind, Series
from engine.store.values import json_object, json_text, text
from engine.store.writes import best_columns, write_checkpoints, write_job, write_predictions, write_series

EVENTS_FILE: Final = "events.jsonl"

KEPT_BAD_LINES: Final = 1000
"""Bad lines of one job that are kept for looking at; the others are only counted."""

KEPT_BAD_BYTES: Final = 4096
"""How much of a bad line is kept."""


def take_in(db: sqlite3.Connection, job_id: str, lines: bytes, at: int) -> Ingested:
    """Take in whole lines; the caller holds the transaction.

    Raises:
        ValueError: A gap would be left between the stored offset and `at`.
        NoSuchJob: There is no such job.
    """
    if db.execute("SELECT 1 FROM local_training_jobs WHERE id = ?", (job_id,)).fetchone() is None:
        raise NoSuchJob(f"no job {job_id!r}")
    stored = offset(db, job_id, EVENTS_FILE)
    if at > stored:
        raise ValueError(f"events of {job_id} from byte {at}, but only {stored} are stored")
    end = at + lines.rfind(b"\n") + 1
    if end <= stored:
        return Ingested(stored, 0, 0)
    new, bad = parsed(lines[stored - at : end - at], stored)
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


def take_events(db: sqlite3.Connection, job_id: str, events: Sequence[Event]) -> int:
    """Take in events that came one by one, not as a file's bytes; the caller holds the transaction.

    Args:
        db: Where.
        job_id: Whose.
        events: In order of seq; those that are here already are skipped.

    Returns:
        How many were new.

    Raises:
        NoSuchJob: There is no such job.
    """
    if db.execute("SELECT 1 FROM local_training_jobs WHERE id = ?", (job_id,)).fetchone() is None:
        raise NoSuchJob(f"no job {job_id!r}")
    usable = []
    for event in events:
        with suppress(BadWireLine):
            usable.append(told(event))
    new = list(_unknown(db, job_id, usable))
    _store_events(db, job_id, new)
    _project(db, job_id, new, 0)
    return len(new)


def offset(db: sqlite3.Connection, job_id: str, file: str) -> int:
    """How many bytes of a file of the job's folder have been taken in."""
    found = db.execute(
        "SELECT bytes FROM stream_offsets WHERE job_id = ? AND file = ?", (job_id, file)
    ).fetchone()
    return int(found[0]) if found else 0


def _unknown(db: sqlite3.Connection, job_id: str, events: list[Told]) -> Iterator[Told]:
    """The events that are not stored yet, each once."""
    newest = db.execute("SELECT max(seq) FROM training_events WHERE job_id = ?", (job_id,)).fetchone()[0] or 0
    seen: set[int] = set()
    for item in events:
        seq = item.event.seq
        if seq > newest:
            newest = seq
        elif seq in seen or _stored(db, job_id, seq):
            continue
        seen.add(seq)
        yield item


def _stored(db: sqlite3.Connection, job_id: str, seq: int) -> bool:
    found = db.execute("SELECT 1 FROM training_events WHERE job_id = ? AND seq = ?", (job_id, seq)).fetchone()
    return found is not None


def _store_events(db: sqlite3.Connection, job_id: str, events: list[Told]) -> None:
    db.executemany(
        "INSERT INTO training_events (job_id, seq, ts, attempt, type, step, data) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (job_id, event.seq, ts, event.attempt, text(event.type, 100), event.step, data)
            for event, ts, data in events
        ],
    )


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


def _project(db: sqlite3.Connection, job_id: str, events: list[Told], bad: int) -> None:
    """Apply the events to the job's rows."""
    cursor = db.execute("SELECT * FROM local_training_jobs WHERE id = ?", (job_id,))
    before = dict(zip((item[0] for item in cursor.description), cursor.fetchone(), strict=True))
    series: dict[Kind, Series] = {kind: Series(db, job_id, kind) for kind in KINDS}
    memory = Memory.from_json(json_object(before["projection"]))
    projection = Projection(before, memory, series, _names(db, job_id))
    for event, projection.ts, _ in events:
        apply(projection, event)
    write_series(db, job_id, projection)
    write_checkpoints(db, job_id, projection.checkpoints)
    write_predictions(db, job_id, projection.predictions)
    after = projection.job
    if events:
        projection.settle()
        after["projection"] = json_text(memory.to_json())
    if projection.checkpoints:
        after |= best_columns(db, job_id)
    after["bad_lines"] += bad
    write_job(db, job_id, {name: value for name, value in after.items() if value != before[name]})


def _names(db: sqlite3.Connection, job_id: str) -> dict[Kind, dict[str, int]]:
    """The metrics that the job has curves of, with their places."""
    names: dict[Kind, dict[str, int]] = {kind: {} for kind in KINDS}
    for kind, name, place in db.execute(
        "SELECT kind, name, place FROM training_curve_names WHERE job_id = ?", (job_id,)
    ):
        names[kind][name] = place
    return names
