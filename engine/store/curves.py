"""Curves read from the pyramid: as many points as a chart has columns, whatever the run's length."""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from engine.records import Axis, Curve, CurvePoint, Place
from engine.store.pyramid import SHIFT, WIDTH
from engine.store.series import column_of
from engine.store.values import json_object, moment, real

MAX_BAD: Final = 300
"""How many x of values that are not finite a curve carries at most."""

NEIGHBOURS: Final = 256
"""How many rows beyond a window are looked at for a point of the curve."""

_X_COLUMN: Final[dict[Axis, str]] = {
    "step": "step",
    "epoch": "epoch",
    "tokens": "tokens",
    "hours": "elapsed_seconds",
    "dollars": "elapsed_seconds",
}


@dataclass(slots=True)
class _Part:
    """Some rows as one: the sum of their x, and their finite and other values."""

    rows: int
    x: float
    count: float
    bad: float
    low: float
    high: float
    sum: float


@dataclass(frozen=True, slots=True)
class CurveReader:
    """Reads one metric of one job.

    Args:
        db: The connection.
        job_id: Whose.
        kind: In which rows the metric is.
        metric: Its name there.
        place: Its place in a bucket's stats.
        axis: What x is.
        scale: What a stored x is multiplied with.
    """

    db: sqlite3.Connection
    job_id: str
    kind: str
    metric: str
    place: int
    axis: Axis
    scale: float

    def read(self, name: str, low: float | None, high: float | None, columns: int) -> Curve:
        """The curve between x `low` and `high`, with at most `columns` points."""
        size = end = self._size()
        first = 0 if low is None else self._first_at(low, end, above=False)
        end = end if high is None else self._first_at(high, end, above=True)
        parts = self._parts(first, end, columns)
        points, bad = [], []
        for part in _merged(parts, columns):
            x = part.x / part.rows * self.scale
            if (low is not None and x < low) or (high is not None and x > high):
                continue
            if part.count:
                points.append(CurvePoint(x, part.low, part.sum / part.count, part.high, int(part.count)))
            if part.bad:
                bad.append(x)
        thinning = math.ceil(len(bad) / MAX_BAD) or 1
        return Curve(
            self.job_id,
            name,
            self.axis,
            tuple(points),
            self._total(),
            tuple(bad[::thinning]),
            None if low is None else self._neighbour(max(0, first - NEIGHBOURS), first, last=True),
            None if high is None else self._neighbour(end, min(size, end + NEIGHBOURS), last=False),
        )

    def _neighbour(self, first: int, end: int, *, last: bool) -> CurvePoint | None:
        """The first or the last finite point among some rows, None when there is none or it is no number."""
        parts = list(self._rows(first, end))
        part = (parts[-1] if last else parts[0]) if parts else None
        if part is None or not part.count:
            return None
        return CurvePoint(part.x * self.scale, part.low, part.sum, part.high, 1)

    def nearest(self, x: float, price: float | None) -> Place | None:
        """The row whose x is nearest to `x`; `price` is dollars a second."""
        at = self._first_at(x, self._size(), above=False)
        found = self.db.execute(
            f"SELECT timestamp, step, epoch, tokens, elapsed_seconds FROM local_training_metrics "
            "WHERE job_id = ? AND kind = ? AND position IN (?, ?) "
            f"ORDER BY abs({_X_COLUMN[self.axis]} * ? - ?) LIMIT 1",
            (self.job_id, self.kind, at - 1, at, self.scale, x),
        ).fetchone()
        if found is None:
            return None
        stamp, step, epoch, tokens, seconds = found
        known = seconds is not None
        return Place(
            ts=moment(stamp),
            step=step,
            epoch=epoch,
            tokens=tokens,
            hours=seconds / 3600 if known else None,
            dollars=seconds * price if known and price is not None else None,
        )

    def _parts(self, first: int, end: int, columns: int) -> Iterator[_Part]:
        """Rows, or buckets of the level that has not many more of them than columns."""
        level, limit = 0, 4 * columns if end - first > columns else columns
        while (end - first) >> (SHIFT * level) > limit:
            level += 1
        return self._rows(first, end) if level == 0 else self._buckets(level, first, end)

    def _rows(self, first: int, end: int) -> Iterator[_Part]:
        known = column_of(self.kind, self.metric)
        found = self.db.execute(
            f"SELECT {_X_COLUMN[self.axis]}, {known or 'extra'} FROM local_training_metrics "
            "WHERE job_id = ? AND kind = ? AND position >= ? AND position < ? ORDER BY position",
            (self.job_id, self.kind, first, end),
        )
        for x, stored in found:
            value = real(stored) if known else real_of(json_object(stored).get(self.metric))
            if x is None or value is None:
                continue
            if math.isfinite(value):
                yield _Part(1, x, 1, 0, value, value, value)
            else:
                yield _Part(1, x, 0, 1, math.inf, -math.inf, 0.0)

    def _buckets(self, level: int, first: int, end: int) -> Iterator[_Part]:
        at, stats_of = self.place * WIDTH * 8, struct.Struct(f"<{WIDTH}d").unpack_from
        found = self.db.execute(
            f"SELECT rows, {_X_COLUMN[self.axis]}, stats FROM training_curves "
            "WHERE job_id = ? AND kind = ? AND level = ? AND bucket >= ? AND bucket <= ? ORDER BY bucket",
            (self.job_id, self.kind, level, first >> (SHIFT * level), max(end - 1, 0) >> (SHIFT * level)),
        )
        for rows, x, stats in found:
            if x is None or len(stats) <= at:
                continue
            count, bad, low, high, total = stats_of(stats, at)
            if count or bad:
                yield _Part(rows, x, count, bad, low, high, total)

    def _size(self) -> int:
        """How many rows there are."""
        found = self.db.execute(
            "SELECT position FROM local_training_metrics WHERE job_id = ? AND kind = ? "
            "ORDER BY position DESC LIMIT 1",
            (self.job_id, self.kind),
        ).fetchone()
        return found[0] + 1 if found else 0

    def _total(self) -> int:
        """How many values were recorded in all, from the pyramid's top."""
        found = self.db.execute(
            "SELECT stats FROM training_curves WHERE job_id = ? AND kind = ? ORDER BY level DESC LIMIT 1",
            (self.job_id, self.kind),
        ).fetchone()
        at = self.place * WIDTH * 8
        if found is None or len(found[0]) <= at:
            return 0
        count, bad = struct.unpack_from("<2d", found[0], at)
        return int(count + bad)

    def _first_at(self, x: float, size: int, *, above: bool) -> int:
        """The first position whose x is at least (`above`: beyond) a bound; x never falls along the rows."""
        low, high = 0, size
        while low < high:
            middle = (low + high) // 2
            found = self.db.execute(
                f"SELECT {_X_COLUMN[self.axis]} FROM local_training_metrics "
                "WHERE job_id = ? AND kind = ? AND position = ?",
                (self.job_id, self.kind, middle),
            ).fetchone()[0]
            there = -math.inf if found is None else found * self.scale
            if there < x or (above and there == x):
                low = middle + 1
            else:
                high = middle
        return low


def real_of(value: object) -> float | None:
    """A value of `extra` as a float."""
    return float(value) if isinstance(value, (int, float, str)) else None


def _merged(parts: Iterator[_Part], columns: int) -> Sequence[_Part]:
    """Neighbours joined so that no more than `columns` are left."""
    found = list(parts)
    size = math.ceil(len(found) / max(columns, 1))
    if size <= 1:
        return found
    merged = []
    for at in range(0, len(found), size):
        whole = found[at]
        for part in found[at + 1 : at + size]:
            whole.rows += part.rows
            whole.x += part.x
            whole.count += part.count
            whole.bad += part.bad
            whole.low = min(whole.low, part.low)
            whole.high = max(whole.high, part.high)
            whole.sum += part.sum
        merged.append(whole)
    return merged
