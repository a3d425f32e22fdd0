"""The pyramid over a job's metric rows: built at ingest, so that a chart costs its columns, not its points.

A bucket of level L stands for 8^L rows. Its stats are, for each metric, five doubles: how many finite
values, how many that are not, the least, the greatest and the sum. A change of the tail rebuilds the
buckets above it from their children alone, in order, so that the same rows always give the same bits.
"""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from engine.store.series import MetricRow, Series

SHIFT: Final = 3
"""Eight children a bucket."""

WIDTH: Final = 5
"""Doubles a metric."""

_NOTHING: Final = (0.0, 0.0, math.inf, -math.inf, 0.0)
_SELECT: Final = (
    "SELECT bucket, rows, step, epoch, tokens, elapsed_seconds, stats FROM training_curves "
    "WHERE job_id = ? AND kind = ? AND level = ? AND bucket >= ? AND bucket < ? ORDER BY bucket"
)

Stats = tuple[float, float, float, float, float]
X = tuple[float | None, ...]
"""Step, epoch, tokens and seconds, or sums of them; None where one of them was unknown."""


@dataclass(slots=True)
class Bucket:
    """Some rows in one: how many, the sums of their x, and the stats of every metric."""

    number: int
    rows: int = 0
    x: X = (0.0, 0.0, 0.0, 0.0)
    stats: list[float] = field(default_factory=list)

    def take_rows(self, rows: Sequence[MetricRow], names: Sequence[str]) -> None:
        """Take the rows that it stands for, all at once; `names` are the metrics in order of place."""
        self.rows = len(rows)
        self.x = (
            float(sum(row.step for row in rows)),
            _added([row.epoch for row in rows]),
            _added([row.tokens for row in rows]),
            _added([row.elapsed for row in rows]),
        )
        columns = [row.values for row in rows]
        for place, name in enumerate(names):
            if values := [column[name] for column in columns if name in column]:
                self._widen(place * WIDTH)
                self.stats += _stats(values)

    def take(self, child: Bucket) -> None:
        """Add a bucket of the level below."""
        self.rows += child.rows
        self.x = _sum(self.x, child.x)
        mine, theirs = self.stats, child.stats
        self._widen(len(theirs))
        for at in range(0, len(theirs), WIDTH):
            points, others, least, most, total = theirs[at : at + WIDTH]
            mine[at] += points
            mine[at + 1] += others
            if least < mine[at + 2]:
                mine[at + 2] = least
            if most > mine[at + 3]:
                mine[at + 3] = most
            mine[at + 4] += total

    def _widen(self, size: int) -> None:
        while len(self.stats) < size:
            self.stats.extend(_NOTHING)


def _stats(values: list[float]) -> Stats:
    """What is kept of a metric's values.

    A zero below zero is written as zero, which is what SQLite makes of it in a column: rows that are read
    back must give the same bits as when they came.
    """
    total = sum(values)
    if math.isfinite(total):
        return (len(values), 0.0, min(values) + 0.0, max(values) + 0.0, total)
    known = [value for value in values if math.isfinite(value)]
    ends = (min(known) + 0.0, max(known) + 0.0) if known else (math.inf, -math.inf)
    return (len(known), len(values) - len(known), *ends, sum(known))


def _added(values: list[float | None]) -> float | None:
    """Their sum; None where one is unknown."""
    return None if None in values else float(sum(values))  # type: ignore[arg-type]


def _sum(a: X, b: X) -> X:
    return (
        None if a[0] is None or b[0] is None else a[0] + b[0],
        None if a[1] is None or b[1] is None else a[1] + b[1],
        None if a[2] is None or b[2] is None else a[2] + b[2],
        None if a[3] is None or b[3] is None else a[3] + b[3],
    )


def rebuild(db: sqlite3.Connection, job_id: str, series: Series, places: Mapping[str, int]) -> None:
    """Bring the pyramid up to a series that was written.

    Args:
        db: The connection, inside the transaction that wrote the rows.
        job_id: Whose.
        series: The rows; everything from its `base` on is new.
        places: The place of each metric in the stats.
    """
    first = series.base >> SHIFT << SHIFT
    rows = [*series.stored_between(first, series.base), *series.rows]
    buckets = _leaves(rows, first, places)
    where = (job_id, series.kind)
    level, size = 1, series.size
    while True:
        size = (size + 7) >> SHIFT
        start = first >> SHIFT
        _replace(db, where, level, start, buckets)
        if size <= 1:
            break
        first, level = start >> SHIFT << SHIFT, level + 1
        buckets = _parents([*_read(db, where, level - 1, first, start), *buckets], start >> SHIFT)
    db.execute("DELETE FROM training_curves WHERE job_id = ? AND kind = ? AND level > ?", (*where, level))


def _leaves(rows: Sequence[MetricRow], first: int, places: Mapping[str, int]) -> list[Bucket]:
    """The buckets of level 1 over rows of which the first stands at position `first`."""
    buckets: list[Bucket] = []
    names = sorted(places, key=places.__getitem__)
    for at in range(0, len(rows), 8):
        buckets.append(Bucket((first + at) >> SHIFT))
        buckets[-1].take_rows(rows[at : at + 8], names)
    return buckets


def _parents(children: Iterable[Bucket], first: int) -> list[Bucket]:
    """The buckets over children of which the first belongs to bucket `first`."""
    parents: list[Bucket] = []
    for child in children:
        if first + len(parents) <= child.number >> SHIFT:
            parents.append(Bucket(child.number >> SHIFT))
        parents[-1].take(child)
    return parents


def _replace(
    db: sqlite3.Connection, where: tuple[str, str], level: int, start: int, buckets: Sequence[Bucket]
) -> None:
    """Put buckets in the place of all from `start` on."""
    db.execute(
        "DELETE FROM training_curves WHERE job_id = ? AND kind = ? AND level = ? AND bucket >= ?",
        (*where, level, start),
    )
    db.executemany(
        "INSERT INTO training_curves "
        "(job_id, kind, level, bucket, rows, step, epoch, tokens, elapsed_seconds, stats) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(*where, level, bucket.number, bucket.rows, *bucket.x, _packed(bucket.stats)) for bucket in buckets],
    )


def _read(db: sqlite3.Connection, where: tuple[str, str], level: int, first: int, end: int) -> list[Bucket]:
    """The stored buckets `first` to before `end` of a level."""
    found = db.execute(_SELECT, (*where, level, first, end))
    return [Bucket(number, rows, tuple(x), _unpacked(stats)) for number, rows, *x, stats in found]


def _packed(stats: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(stats)}d", *stats)


def _unpacked(stats: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(stats) // 8}d", stats))
