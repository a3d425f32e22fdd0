"""The losses of single eval examples, by which checkpoints are compared in pairs; read from the events."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from engine.job.events import EventType, number
from engine.store.values import json_object

Losses = Mapping[int, tuple[float, ...]]
"""Step -> the loss of each eval example, nats, in one order for all steps."""

_MOST: Final = 200
"""Evaluations that are looked at, the newest."""


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
            rows = db.execute(f"SELECT step, data {where} ORDER BY seq DESC LIMIT {_MOST}", key)
            known = _in_one_order([(step, json_object(data)) for step, data in rows])
            # One job is looked at at a time, or the few of a comparison.
            if len(self._known) > 20:
                self._known.clear()
            self._known[job_id] = (newest, known)
        return known


def _in_one_order(told: Sequence[tuple[int | None, Mapping[str, Any]]]) -> Losses:
    """The evaluations, newest first, whose examples stand in the newest one's order; of a step the newest."""
    found: dict[int, tuple[float, ...]] = {}
    for step, data in told:
        losses = data.get("losses")
        if step is None or step in found or not isinstance(losses, list):
            continue
        if data.get("order") == told[0][1].get("order"):
            found[step] = tuple(math.nan if (value := number(loss)) is None else value for loss in losses)
    return found
