"""Every metric of a job in four numbers: the last, the least, the greatest, and the one at a step.

The least and the greatest come from the top of the pyramid, the others from a few rows, so that a run
of a million steps costs no more than one of a hundred.
"""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Iterable, Mapping
from typing import Final

from engine.records import MetricSummary
from engine.store.pyramid import WIDTH
from engine.store.series import COLUMNS, KINDS, row_of

_NEAR: Final = 200
"""How many rows back a metric is looked for that the newest row lacks."""

_ROWS: Final = f"SELECT {', '.join(COLUMNS)} FROM local_training_metrics WHERE job_id = ? AND kind = ?"

_SCORES: Final = ("exact_match", "char_error_rate", "word_overlap", "length_ratio", "validation_pass")
"""What predictions are judged by."""

Names = Mapping[str, tuple[str, str, int]]
"""A metric's name -> its kind of rows, its name there, its place in their stats."""


def summaries(
    db: sqlite3.Connection, job_id: str, names: Names, step: int | None
) -> dict[str, MetricSummary]:
    """Every metric that has curves."""
    found: dict[str, MetricSummary] = {}
    for kind in KINDS:
        here = {name: (own, place) for name, (where, own, place) in names.items() if where == kind}
        if not here:
            continue
        stats = _top(db, job_id, kind)
        last = _newest(db, job_id, kind, None)
        then = _newest(db, job_id, kind, step) if step is not None else {}
        for name, (own, place) in here.items():
            low, high = _range(stats, place)
            found[name] = MetricSummary(last.get(own), low, high, then.get(own))
    return found


def prediction_summaries(db: sqlite3.Connection, job_id: str, step: int | None) -> dict[str, MetricSummary]:
    """The predictions' scores: the mean of a step's samples counts as that step's value."""
    means = ", ".join(f"avg({name})" for name in _SCORES)
    rows = db.execute(
        f"SELECT step, {means} FROM training_predictions WHERE job_id = ? GROUP BY step ORDER BY step",
        (job_id,),
    ).fetchall()
    found = {}
    for at, name in enumerate(_SCORES, 1):
        values = [(row[0], row[at]) for row in rows if row[at] is not None]
        if not values:
            continue
        before = [value for when, value in values if step is not None and when <= step]
        every = [value for _, value in values]
        found[f"prediction_{name}"] = MetricSummary(
            every[-1], min(every), max(every), before[-1] if before else None
        )
    return found


def _top(db: sqlite3.Connection, job_id: str, kind: str) -> bytes:
    """The stats of the bucket that stands for all rows."""
    found = db.execute(
        "SELECT stats FROM training_curves WHERE job_id = ? AND kind = ? ORDER BY level DESC LIMIT 1",
        (job_id, kind),
    ).fetchone()
    return bytes(found[0]) if found else b""


def _range(stats: bytes, place: int) -> tuple[float | None, float | None]:
    at = place * WIDTH * 8
    if len(stats) < at + WIDTH * 8:
        return None, None
    count, _, low, high, _ = struct.unpack_from(f"<{WIDTH}d", stats, at)
    return (low, high) if count else (None, None)


def _newest(db: sqlite3.Connection, job_id: str, kind: str, step: int | None) -> dict[str, float]:
    """The newest finite value of each metric, up to a step if given."""
    if step is None:
        rows = db.execute(f"{_ROWS} ORDER BY position DESC LIMIT {_NEAR}", (job_id, kind))
    elif kind == "host":
        rows = db.execute(f"{_ROWS} AND step <= ? ORDER BY position DESC LIMIT {_NEAR}", (job_id, kind, step))
    else:
        # Said once more, so that the index of the steps, which is without the host's, is used.
        rows = db.execute(
            f"{_ROWS} AND kind <> 'host' AND step <= ? ORDER BY step DESC LIMIT {_NEAR}", (job_id, kind, step)
        )
    return _first_of_each(row_of(kind, row).values for row in rows)


def _first_of_each(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in rows:
        for name, value in row.items():
            if math.isfinite(value):
                found.setdefault(name, value)
    return found
