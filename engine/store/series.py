"""The rows of one kind (train, eval, host) of a job: appended, merged, taken back when a resume rewinds.

Nothing touches the database before `Series.write`, except that a rewind looks up where it ends.
"""

from __future__ import annotations

import bisect
import sqlite3
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from engine.store.values import json_object, json_text, real

Kind = Literal["train", "eval", "host"]
KINDS: Final[tuple[Kind, ...]] = ("train", "eval", "host")

METRIC_COLUMNS: Final = (
    "train_loss", "eval_loss", "learning_rate", "grad_norm", "gpu_memory_allocated_gb",
    "gpu_memory_reserved_gb", "gpu_utilization_percent", "perplexity", "train_perplexity",
    "samples_per_second", "tokens_per_second",
)  # fmt: skip
"""The metrics that have a column; all others are kept in `extra`."""

FACT_COLUMNS: Final = (
    "loss_trend", "best_eval_loss", "best_epoch", "best_step", "epochs_without_improvement",
)  # fmt: skip
"""What was known of the run at that row, as text or numbers; no curves."""

_NO_FACTS: Final = (None,) * len(FACT_COLUMNS)
_KEYS: Final = ("position", "step", "attempt", "epoch", "tokens", "elapsed_seconds")
COLUMNS: Final = (*_KEYS, *METRIC_COLUMNS, *FACT_COLUMNS, "extra", "timestamp")
_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM local_training_metrics WHERE job_id = ? AND kind = ?"
_INSERT: Final = (
    f"INSERT INTO local_training_metrics (job_id, kind, {', '.join(COLUMNS)}, created_at) "
    f"VALUES ({', '.join('?' * (len(COLUMNS) + 3))})"
)


def column_of(kind: str, metric: str) -> str | None:
    """The column that holds a metric; None when it is in `extra`."""
    name = "train_loss" if kind == "train" and metric == "loss" else metric
    return name if name in METRIC_COLUMNS else None


@dataclass(slots=True)
class MetricRow:
    """One row: its x on every axis, and its metrics.

    Args:
        step: The optimizer step.
        attempt: The attempt that logged it.
        timestamp: When, as the wire writes it.
        epoch: Epochs so far.
        tokens: Training tokens so far.
        elapsed: Seconds of training so far.
        values: The metrics by the name that their curve has.
        facts: `FACT_COLUMNS`.
    """

    step: int
    attempt: int
    timestamp: str
    epoch: float | None = None
    tokens: float | None = None
    elapsed: float | None = None
    values: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


class Series:
    """The end of a job's rows of one kind, with what a delivery adds to it.

    Args:
        db: The connection.
        job_id: Whose rows.
        kind: Which.
    """

    def __init__(self, db: sqlite3.Connection, job_id: str, kind: Kind) -> None:
        self._db, self._job_id, self.kind = db, job_id, kind
        self._below = self._stored("ORDER BY position DESC LIMIT 1")
        self._stored_rows = self.base = self._below[0] + 1 if self._below else 0
        self.rows: list[MetricRow] = []

    @property
    def last(self) -> MetricRow | None:
        """The newest row."""
        if self.rows:
            return self.rows[-1]
        return self._below[1] if self._below else None

    @property
    def size(self) -> int:
        """How many rows there are."""
        return self.base + len(self.rows)

    @property
    def changed(self) -> bool:
        """Is there anything to write?"""
        return bool(self.rows) or self.base < self._stored_rows

    def rewind(self, step: int) -> None:
        """Take back all rows at `step` and beyond."""
        while self.rows and self.rows[-1].step >= step:
            self.rows.pop()
        if not self.rows and self._below and self._below[1].step >= step:
            self._below = self._stored("AND step < ? ORDER BY position DESC LIMIT 1", step)
            self.base = self._below[0] + 1 if self._below else 0

    def put(self, row: MetricRow) -> None:
        """Add a row: it takes back what lies beyond its step, and joins a row of its own step.

        A row of the same step and attempt is completed; of an earlier attempt, replaced. What runs
        along x never falls, whatever the pod's clock says.
        """
        last = self.last
        if last is not None and last.step >= row.step:
            self.rewind(row.step + 1)
            last = self.last
        if last is not None and last.step == row.step:
            self.rewind(row.step)
            if last.attempt == row.attempt:
                row.values = {**last.values, **row.values}
                row.facts = {**last.facts, **row.facts}
            last = self.last
        self._append(row, last)

    def join(self, row: MetricRow) -> None:
        """Complete the row of a step, or put one between its neighbours; nothing is taken back."""
        last = self.last
        if last is None or row.step > last.step:
            self._append(row, last)
            return
        self._bring(row.step)
        at = bisect.bisect_left(self.rows, row.step, key=lambda item: item.step)
        after = self.rows[at] if at < len(self.rows) else None
        if after is not None and after.step == row.step:
            after.values = {**after.values, **row.values}
            return
        before = self.rows[at - 1] if at else self._below[1] if self._below else None
        # What is known of it now is not what was so then: it stands where its neighbours do.
        row.tokens, row.elapsed = (before.tokens, before.elapsed) if before else (None, None)
        row.epoch = _risen(before.epoch if before else None, row.epoch)
        if after is not None and after.epoch is not None and row.epoch is not None:
            row.epoch = min(row.epoch, after.epoch)
        self.rows.insert(at, row)

    def _bring(self, step: int) -> None:
        """Have all rows at `step` and beyond at hand, to be written anew."""
        if self._below is None or self._below[1].step < step:
            return
        end = self.base
        self._below = self._stored("AND step < ? ORDER BY position DESC LIMIT 1", step)
        self.base = self._below[0] + 1 if self._below else 0
        self.rows[:0] = self.stored_between(self.base, end)

    def append(self, row: MetricRow) -> None:
        """Add a row that stays whatever the steps do: a heartbeat."""
        self._append(row, self.last)

    def _append(self, row: MetricRow, last: MetricRow | None) -> None:
        if last is not None:
            row.step = max(row.step, last.step)
            row.epoch = _risen(last.epoch, row.epoch)
            row.tokens = _risen(last.tokens, row.tokens)
            row.elapsed = _risen(last.elapsed, row.elapsed)
        self.rows.append(row)

    def write(self) -> list[MetricRow]:
        """Store what changed; returns the new rows, from position `base` on."""
        where = (self._job_id, self.kind)
        if self.base < self._stored_rows:
            self._db.execute(
                "DELETE FROM local_training_metrics WHERE job_id = ? AND kind = ? AND position >= ?",
                (*where, self.base),
            )
        self._db.executemany(
            _INSERT, [(*where, *_columns(self.kind, at, row)) for at, row in enumerate(self.rows, self.base)]
        )
        return self.rows

    def stored_between(self, first: int, end: int) -> list[MetricRow]:
        """The stored rows at positions `first` to before `end`."""
        found = self._db.execute(
            f"{_SELECT} AND position >= ? AND position < ? ORDER BY position",
            (self._job_id, self.kind, first, end),
        )
        return [row_of(self.kind, row) for row in found]

    def _stored(self, condition: str, step: int | None = None) -> tuple[int, MetricRow] | None:
        """Position and row of the first stored row that a condition finds."""
        values = [self._job_id, self.kind, *([] if step is None else [step])]
        found = self._db.execute(f"{_SELECT} {condition}", values).fetchone()
        return None if found is None else (found[0], row_of(self.kind, found))


def _risen(before: float | None, now: float | None) -> float | None:
    """The newer of two x, unless it is unknown or has fallen."""
    return before if now is None or (before is not None and now < before) else now


def _columns(kind: Kind, position: int, row: MetricRow) -> tuple[Any, ...]:
    """A row's columns, in the order of `COLUMNS` and `created_at`."""
    more = dict(row.values)
    if kind == "train" and "loss" in more:
        more["train_loss"] = more.pop("loss")
    take = more.pop
    # SQLite has no NaN, and no NaN equals itself.
    known = [value if (value := take(name, None)) == value else "NaN" for name in METRIC_COLUMNS]
    facts = [row.facts.get(name) for name in FACT_COLUMNS] if row.facts else _NO_FACTS
    keys = (position, row.step, row.attempt, row.epoch, row.tokens, row.elapsed)
    return (*keys, *known, *facts, json_text(more) if more else None, row.timestamp, row.timestamp)


def row_of(kind: str, stored: tuple[Any, ...]) -> MetricRow:
    """A row from its columns, in the order of `COLUMNS`."""
    named = dict(zip(COLUMNS, stored, strict=True))
    values = {name: real(named[name]) for name in METRIC_COLUMNS if named[name] is not None}
    if kind == "train" and "train_loss" in values:
        values["loss"] = values.pop("train_loss")
    if named["extra"]:
        values |= {name: float(value) for name, value in json_object(named["extra"]).items()}
    return MetricRow(
        named["step"],
        named["attempt"],
        named["timestamp"],
        named["epoch"],
        named["tokens"],
        named["elapsed_seconds"],
        {name: value for name, value in values.items() if value is not None},
        {name: named[name] for name in FACT_COLUMNS if named[name] is not None},
    )
