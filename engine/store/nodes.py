"""What a job's other machines say of themselves: heartbeats, which join those of the first one, and alerts.

They are kept among the job's events under numbers below zero, which no event of the job's own has: node N's
begin below -N·2³², the newest lowest. So whoever reads the job's events, from 1 on, never meets them.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from engine.errors import BadWireLine
from engine.job.events import Event, EventType, Status, decode, stamp
from engine.records import Alert, Gpu, HostSample
from engine.store.rows import alert_of, event_of, host_sample_of
from engine.store.values import json_text, words

_SPAN: Final = 1 << 32
"""Numbers for each node."""
_LONGEST: Final = 16_384
"""No event that is kept is longer (characters)."""
_APART: Final = timedelta(minutes=2)
"""Figures that lie further apart are not of the same moment, or by clocks that differ."""


def take_in(db: sqlite3.Connection, job_id: str, node: int, lines: bytes, end: int) -> int:
    """Keep heartbeats, alerts and failures; the caller holds the transaction. How many were kept."""
    top = -node * _SPAN
    found = db.execute(
        "SELECT min(seq) FROM training_events WHERE job_id = ? AND seq > ? AND seq < ?",
        (job_id, top - _SPAN, top),
    ).fetchone()[0]
    newest, rows = found or top, []
    for line in lines.splitlines():
        try:
            event = decode(line)
        except BadWireLine:
            continue
        if (_figures(event) or _news(event)) and len(data := json_text(event.data)) <= _LONGEST:
            newest -= 1
            rows.append((job_id, newest, stamp(event.ts), event.attempt, event.type, None, data))
    db.executemany(
        "INSERT INTO training_events (job_id, seq, ts, attempt, type, step, data) "
        "SELECT ?, ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM local_training_jobs WHERE id = ?)",
        [(*row, job_id) for row in rows],
    )
    db.execute(
        "INSERT INTO stream_offsets (job_id, file, bytes) SELECT ?, ?, ? "
        "WHERE EXISTS (SELECT 1 FROM local_training_jobs WHERE id = ?) "
        "ON CONFLICT (job_id, file) DO UPDATE SET bytes = excluded.bytes",
        (job_id, f"nodes/{node}/events.jsonl", end, job_id),
    )
    return len(rows)


def _figures(event: Event) -> bool:
    return event.type == EventType.HEARTBEAT


def _news(event: Event) -> bool:
    """Is it something that somebody should know of that machine?"""
    failed = event.type == EventType.STATE and event.data.get("status") == Status.FAILED
    return failed or event.type == EventType.ALERT


def alerts(db: sqlite3.Connection, job_id: str, limit: int) -> Sequence[Alert]:
    """The last alerts of each other node and why it failed, if it did; each message says which node."""
    found: list[Alert] = []
    for node in range(1, _nodes(db, job_id) + 1):
        rows = db.execute(
            "SELECT seq, ts, attempt, type, step, data FROM training_events WHERE job_id = ? "
            "AND type IN ('alert', 'state') AND seq > ? AND seq < ? ORDER BY seq LIMIT ?",
            (job_id, -(node + 1) * _SPAN, -node * _SPAN, limit),
        ).fetchall()
        for alert in (_alert(job_id, event_of(row)) for row in rows):
            found.append(replace(alert, message=f"node {node}: {alert.message}"))
    return found


def _alert(job_id: str, event: Event) -> Alert:
    if event.type == EventType.ALERT:
        return alert_of(job_id, event)
    why = words(event.data.get("error")) or "it does not say why"
    return Alert(job_id, event.ts, "node_failed", "error", f"failed: {why}", event.step)


def _nodes(db: sqlite3.Connection, job_id: str) -> int:
    """How many other machines have said something; 0 for a job of one."""
    lowest = db.execute("SELECT min(seq) FROM training_events WHERE job_id = ?", (job_id,)).fetchone()[0]
    return 0 if lowest is None or lowest >= 0 else int(-lowest // _SPAN)


def beats(
    db: sqlite3.Connection, job_id: str, limit: int, until: datetime | None
) -> Mapping[int, Sequence[HostSample]]:
    """The last figures of each other node, oldest first; none for a job of one machine."""
    found = {}
    for node in range(1, _nodes(db, job_id) + 1):
        rows = db.execute(
            "SELECT seq, ts, attempt, type, step, data FROM training_events "
            "WHERE job_id = ? AND type = 'heartbeat' AND seq > ? AND seq < ? AND (? IS NULL OR ts <= ?) "
            "ORDER BY seq LIMIT ?",
            (
                job_id, -(node + 1) * _SPAN, -node * _SPAN,
                *(2 * (stamp(until + _APART) if until is not None else None,)), limit,
            ),
        ).fetchall()  # fmt: skip
        samples = [host_sample_of(event_of(row)) for row in reversed(rows)]
        found[node] = [sample for sample in samples if sample is not None]
    return found


def joined(samples: Sequence[HostSample], others: Mapping[int, Sequence[HostSample]]) -> list[HostSample]:
    """Node 0's heartbeats, each with the GPUs of all nodes at that moment."""
    if not others or not samples:
        return list(samples)
    for node, there in others.items():
        if there:
            samples = _with(samples, node, there)
    return list(samples)


def _with(samples: Sequence[HostSample], node: int, there: Sequence[HostSample]) -> list[HostSample]:
    """Those of node 0 with another one's GPUs. Clocks that are far apart are held against each other."""
    ahead = there[-1].ts - samples[-1].ts
    ahead = ahead if ahead > _APART else timedelta(0)
    times = [sample.ts - ahead for sample in there]
    found = []
    for sample in samples:
        place = bisect(times, sample.ts)
        near = [at for at in (place - 1, place) if 0 <= at < len(times)]
        best = min(near, key=lambda at: abs(times[at] - sample.ts))
        gpus: tuple[Gpu, ...] = ()
        if abs(times[best] - sample.ts) <= _APART:
            gpus = tuple(replace(gpu, node=node) for gpu in there[best].gpus)
        found.append(replace(sample, gpus=(*sample.gpus, *gpus)))
    return found
