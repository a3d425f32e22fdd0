"""The losses of single eval examples, by which checkpoints are compared in pairs; read from the events."""

from __future__ import annotations

import sqlite3

from engine.job.events import EventType
from engine.job.examples import MOST, Losses, in_one_order
from engine.store.values import json_object

__all__ = ["ExampleLosses", "Losses"]


class ExampleLosses:
    """Reads a job's, and again only when there are new ones."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, Losses]] = {}

    def of(self, db: sqlite3.Connection, job_id: str) -> Losses:
        """The losses of a job's evaluations whose examples stand in the newest one's order."""
        where = "FROM training_events WHERE job_id = ? AND type = ?"
        key = (job_id, EventType.EXAMPLES.value)
        newest = db.execute(f"SELECT MAX(seq) {where}", key).fetchone()[0]
        if newest is None:
            return {}
        seq, known = self._known.get(job_id, (0, {}))
        if seq != newest:
            rows = db.execute(f"SELECT step, data {where} ORDER BY seq DESC LIMIT {MOST}", key)
            known = in_one_order((step, json_object(data)) for step, data in rows)
            # One job is looked at at a time, or the few of a comparison.
            if len(self._known) > 20:
                self._known.clear()
            self._known[job_id] = (newest, known)
        return known
