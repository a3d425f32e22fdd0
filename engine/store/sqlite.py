"""The default store: one SQLite file, shared by any number of threads and processes."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from engine.errors import NoSuchJob, StoreError
from engine.job.events import Event, EventType, stamp
from engine.records import (
    Alert,
    Axis,
    Checkpoint,
    Curve,
    HostSample,
    Job,
    MetricSummary,
    Place,
    SavedComparison,
    Trend,
)
from engine.store import actions, housekeeping, lookup, nodes
from engine.store.base import Action, Done, Ingested, Listener
from engine.store.curves import CurveReader
from engine.store.database import BUSY_SECONDS, Database
from engine.store.examples import ExampleLosses, Losses
from engine.store.roster import Roster
from engine.store.rows import (
    JOB_COLUMNS,
    JOB_SELECT,
    PREDICTION_COLUMNS,
    alert_of,
    comparison_of,
    event_of,
    host_sample_of,
    job_of,
    prediction_of,
    trend_of,
)
from engine.store.series import COLUMNS as METRIC_COLUMNS
from engine.store.series import FACT_COLUMNS, KINDS, row_of
from engine.store.standing import with_standing
from engine.store.summaries import prediction_summaries, summaries
from engine.store.values import column, json_text
from engine.store.writes import checkpoints_of, write_job

_JOB: Final = f"SELECT {JOB_SELECT} FROM local_training_jobs WHERE id = ?"
_ELAPSED: Final = "SELECT elapsed_seconds FROM local_training_jobs WHERE id = ?"
_EVENT_SELECT: Final = "SELECT seq, ts, attempt, type, step, data FROM training_events WHERE job_id = ?"
_FIXED: Final = frozenset({"id", "number", "created_at"})
_SETTABLE: Final = frozenset(JOB_COLUMNS) - _FIXED | {"resumed_from_checkpoint", "num_gpus"}


class SQLiteStore:
    """Jobs, their events and what follows from them, in a SQLite file.

    Args:
        path: The file; made when missing, in a folder that exists.
        busy: How long to wait for another writer before giving up, seconds.

    Raises:
        StoreError: It can't be opened, is damaged, or is not ours; it is then left as it is.
    """

    def __init__(self, path: Path, busy: float = BUSY_SECONDS) -> None:
        self._database = Database(path, busy)
        self._roster = Roster()
        self._listeners: list[Listener] = []
        self._guard = threading.Lock()
        self._losses = ExampleLosses()

    # ---- jobs

    def add(self, job: Job) -> Job:
        """Insert a job and return it with its `number` among its model's runs."""
        with self._database.writing() as db:
            if db.execute("SELECT 1 FROM local_training_jobs WHERE id = ?", (job.id,)).fetchone():
                raise StoreError(f"{self._database.path}: there is a job {job.id} already")
            highest = db.execute(
                "SELECT max(number) FROM local_training_jobs WHERE base_model IS ?", (job.base_model,)
            ).fetchone()[0]
            numbered = replace(job, number=(highest or 0) + 1)
            values = [column(getattr(numbered, name)) for name in JOB_COLUMNS]
            places = ", ".join("?" * len(values))
            db.execute(f"INSERT INTO local_training_jobs ({JOB_SELECT}) VALUES ({places})", values)
            write_job(db, job.id, {"updated_at": datetime.now(UTC)})
            self._added(db, numbered)
        self._tell(job.id)
        return numbered

    def _added(self, db: sqlite3.Connection, job: Job) -> None:
        """A job was added; its transaction is open yet."""

    standing = ""

    def sync(self) -> None:
        """Nothing: there is nobody else to be in step with."""

    def elsewhere(self, job_id: str) -> bool:
        """Is it followed from another machine, which shares it through a hosted store?"""
        with self._database.reading() as db:
            found = db.execute("SELECT min(here) FROM hosted_jobs WHERE job_id = ?", (job_id,)).fetchone()
        return bool(found[0] == 0)

    def job(self, job_id: str) -> Job:
        """The job with that id.

        Raises:
            NoSuchJob: There is none.
        """
        with self._database.reading() as db:
            found = db.execute(_JOB, (job_id,)).fetchone()
        if found is None:
            raise NoSuchJob(f"no job {job_id!r}", "podium jobs lists them.")
        return job_of(found)

    def find(self, text: str) -> Job:
        """The job that a user means: its id, its name, or a unique beginning of either.

        Raises:
            NoSuchJob: None answers to it, or several do.
        """
        return lookup.find(self.jobs(archived=True, deleted=True), text)

    def jobs(self, *, archived: bool = False, deleted: bool = False) -> list[Job]:
        """All jobs, live ones first, then newest first; archived and deleted ones on demand."""
        with self._database.reading() as db:
            found = self._roster.read(db)
        return [
            job
            for job in found
            if (archived or job.archived_at is None) and (deleted or job.deleted_at is None)
        ]

    def update(self, job_id: str, **columns: Any) -> None:
        """Set columns of a job that only the laptop knows.

        Raises:
            NoSuchJob: There is none.
            ValueError: A column can't be set, or does not exist.
        """
        if unknown := set(columns) - _SETTABLE:
            raise ValueError(f"not columns of a job that can be set: {', '.join(sorted(unknown))}")
        with self._database.writing() as db:
            found = db.execute(_ELAPSED, (job_id,)).fetchone()
            if found is None:
                raise NoSuchJob(f"no job {job_id!r}", "podium jobs lists them.")
            rate = columns.get("cost_per_hour")
            if rate is not None and found[0] is not None:
                columns.setdefault("cost_total", rate * found[0] / 3600)
            write_job(db, job_id, {"updated_at": datetime.now(UTC), **columns})
        self._tell(job_id)

    # ---- the stream

    def offset(self, job_id: str, file: str) -> int:
        """How many bytes of that file of the job's folder have been taken in; 0 for a new one."""
        from engine.store.ingest import offset

        with self._database.reading() as db:
            return offset(db, job_id, file)

    def ingest(self, job_id: str, lines: bytes, at: int) -> Ingested:
        """Take in whole lines of `events.jsonl`, in one transaction with the new offset.

        Raises:
            ValueError: `at` lies beyond the stored offset: a gap would be left.
        """
        from engine.store.ingest import take_in  # half of the store, and the app starts with reading

        with self._database.writing() as db:
            done = take_in(db, job_id, lines, at)
        if done.events or done.bad_lines:
            self._tell(job_id)
        return done

    def ingest_node(self, job_id: str, node: int, lines: bytes, end: int) -> None:
        """Keep the figures of another of a job's machines, in one transaction with the new offset."""
        with self._database.writing() as db:
            kept = nodes.take_in(db, job_id, node, lines, end)
        if kept:
            self._tell(job_id)

    # ---- what follows from the events

    def events(
        self, job_id: str, types: Collection[str] | None = None, *, after: int = 0, limit: int | None = None
    ) -> list[Event]:
        """A job's events in order of seq, those of some types alone if given; the last `limit` of them."""
        with self._database.reading() as db:
            return _events(db, job_id, types, after, limit)

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """A job's checkpoints by step, each with its standing (best, lowest eval loss, tied)."""
        with self._database.reading() as db:
            found, losses = checkpoints_of(db, job_id), self._losses.of(db, job_id)
        return with_standing(found, losses)

    def example_losses(self, job_id: str) -> Losses:
        """Step -> the loss of each eval example, nats, in one order; empty where none is told."""
        with self._database.reading() as db:
            return self._losses.of(db, job_id)

    def curve(
        self,
        job_id: str,
        metric: str,
        *,
        axis: Axis = "step",
        low: float | None = None,
        high: float | None = None,
        columns: int = 400,
    ) -> Curve:
        """One metric as at most `columns` points between x `low` and `high`, read from the pyramid.

        A metric that evals and training share is the training's; `eval_NAME` is then the evals'.
        On the dollars axis there are no points while the price is unknown.
        """
        with self._database.reading() as db:
            found = _curve_names(db, job_id).get(metric)
            scale = _scale(db, job_id, axis)
            if found is None or scale is None:
                return Curve(job_id, metric, axis, (), 0)
            kind, name, place = found
            reader = CurveReader(db, job_id, kind, name, place, axis, scale)
            return reader.read(metric, low, high, max(1, columns))

    def place(self, job_id: str, axis: Axis, x: float) -> Place | None:
        """The logged training step nearest to a place on an axis, on all axes; None without steps."""
        with self._database.reading() as db:
            scale, price = _scale(db, job_id, axis), _scale(db, job_id, "dollars")
            if scale is None:
                return None
            kinds = (CurveReader(db, job_id, kind, "", 0, axis, scale) for kind in ("train", "eval"))
            return next((place for kind in kinds if (place := kind.nearest(x, price))), None)

    def metrics(self, job_id: str) -> list[str]:
        """The names of the metrics that a job has curves of: training, then evals, then the machine."""
        with self._database.reading() as db:
            return list(_curve_names(db, job_id))

    def summaries(self, job_id: str, *, best_step: int | None = None) -> dict[str, MetricSummary]:
        """Every metric that a job has curves of in four numbers, and the means of its predictions' scores."""
        with self._database.reading() as db:
            found = summaries(db, job_id, _curve_names(db, job_id), best_step)
            return found | prediction_summaries(db, job_id, best_step)

    def metric_rows(self, job_id: str, *, limit: int | None = None) -> list[dict[str, Any]]:
        """The rows of `local_training_metrics` by step, the last `limit` of them.

        Metrics that have no column stand beside the columns.
        """
        names = ", ".join(METRIC_COLUMNS)
        with self._database.reading() as db:
            found = db.execute(
                f"SELECT kind, {names} FROM local_training_metrics WHERE job_id = ? AND kind <> 'host' "
                "ORDER BY step DESC, kind DESC LIMIT ?",
                (job_id, -1 if limit is None else limit),
            ).fetchall()
        return [_metric_row(job_id, row[0], row[1:]) for row in reversed(found)]

    def predictions(self, job_id: str, *, step: int | None = None) -> list[dict[str, Any]]:
        """The rows of `training_predictions` by step and sample; those of one step alone if given."""
        with self._database.reading() as db:
            found = db.execute(
                f"SELECT {', '.join(PREDICTION_COLUMNS)} FROM training_predictions "
                "WHERE job_id = ? AND (? IS NULL OR step = ?) ORDER BY step, sample_index",
                (job_id, step, step),
            ).fetchall()
        return [prediction_of(row) for row in found]

    def host_samples(
        self, job_id: str, limit: int = 120, *, until: datetime | None = None
    ) -> list[HostSample]:
        """The last heartbeats, up to a moment if given, that carried the machine's figures, oldest first."""
        with self._database.reading() as db:
            beats = _events(db, job_id, (EventType.HEARTBEAT,), 0, limit, until)
            others = nodes.beats(db, job_id, limit, until)
        samples = [sample for sample in map(host_sample_of, beats) if sample is not None]
        return nodes.joined(samples, others)

    def alerts(self, job_id: str | None = None, limit: int = 50) -> list[Alert]:
        """The newest alerts, oldest first; of all jobs when none is named, of all machines of a named one."""
        if job_id is not None:
            own = [alert_of(job_id, event) for event in self.events(job_id, (EventType.ALERT,), limit=limit)]
            with self._database.reading() as db:
                others = nodes.alerts(db, job_id, limit)
            return sorted([*own, *others], key=lambda alert: alert.ts)[-limit:] if others else own
        with self._database.reading() as db:
            found = db.execute(
                "SELECT job_id, seq, ts, attempt, type, step, data FROM training_events "
                "WHERE type = 'alert' ORDER BY ts DESC, job_id DESC, seq DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [alert_of(row[0], event_of(row[1:])) for row in reversed(found)]

    def trend(self, job_id: str) -> Trend | None:
        """The newest trend verdict."""
        found = self.events(job_id, (EventType.TREND,), limit=1)
        return trend_of(found[0]) if found else None

    # ---- what the user does

    def act(self, action: Action, job_ids: Sequence[str]) -> Done:
        """Archive, restore or delete (to the trash) jobs, all in one transaction, and remember it for undo.

        Raises:
            BadInput: A job that is to be deleted still lives, or there is no such job; nothing was changed.
        """
        with self._database.writing() as db:
            done = actions.act(db, action, job_ids)
        self._tell(*done.job_ids)
        return done

    def undo(self) -> Done | None:
        """Take back the last action that has not been taken back; None when there is none."""
        with self._database.writing() as db:
            done = actions.undo(db)
        self._tell(*(done.job_ids if done else ()))
        return done

    def annotate(
        self,
        job_ids: Sequence[str],
        *,
        name: str | None = None,
        note: str | None = None,
        add: Collection[str] = (),
        drop: Collection[str] = (),
    ) -> Done:
        """Set what the user says of jobs, of all or of none, and remember it for undo."""
        with self._database.writing() as db:
            done = actions.annotate(db, job_ids, name=name, note=note, add=add, drop=drop)
        self._tell(*done.job_ids)
        return done

    def forget(self, job_ids: Sequence[str]) -> None:
        """Remove jobs from the trash for good, with all that is known of them."""
        with self._database.writing() as db:
            housekeeping.forget(db, job_ids)
        self._tell(*job_ids)

    def drop_checkpoints(self, job_id: str, steps: Collection[int]) -> None:
        """Note that the files of some checkpoints are gone; their numbers stay."""
        with self._database.writing() as db:
            housekeeping.drop_checkpoints(db, job_id, steps)
        self._tell(job_id)

    def save_comparison(self, comparison: SavedComparison) -> None:
        """Insert or replace a comparison by its id."""
        values = [column(getattr(comparison, field.name)) for field in fields(comparison)]
        with self._database.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO training_comparisons "
                f"({', '.join(field.name for field in fields(comparison))}) VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
        self._tell(*comparison.job_ids)

    def comparisons(self) -> list[SavedComparison]:
        """All saved comparisons, newest first."""
        with self._database.reading() as db:
            found = db.execute(
                "SELECT id, name, job_ids, created_at, reference_job_id, notes FROM training_comparisons "
                "ORDER BY created_at DESC, id"
            ).fetchall()
        return [comparison_of(row) for row in found]

    def delete_comparison(self, comparison_id: str) -> None:
        """Forget a saved comparison; its runs stay as they are. One that is gone is forgotten already."""
        with self._database.writing() as db:
            found = db.execute(
                "DELETE FROM training_comparisons WHERE id = ? RETURNING job_ids", (comparison_id,)
            ).fetchall()
        for row in found:
            self._tell(*json.loads(row[0]))

    def setting(self, key: str, default: Any = None) -> Any:
        """A JSON value that the app remembers between starts."""
        with self._database.reading() as db:
            found = db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        try:
            return default if found is None else json.loads(found[0])
        except ValueError:
            return default

    def set_setting(self, key: str, value: Any) -> None:
        """Remember a JSON value."""
        with self._database.writing() as db:
            db.execute("INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)", (key, json_text(value)))

    # ---- listeners and the end

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each change made through this store object; returns its cancellation."""
        with self._guard:
            self._listeners.append(listener)

        def cancel() -> None:
            with self._guard:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return cancel

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _tell(self, *job_ids: str) -> None:
        """Tell the listeners which jobs changed; the transaction is over."""
        if job_ids:
            with self._guard:
                listeners = tuple(self._listeners)
            for listener in listeners:
                listener(frozenset(job_ids))


def _events(
    db: sqlite3.Connection,
    job_id: str,
    types: Iterable[str] | None,
    after: int,
    limit: int | None,
    until: datetime | None = None,
) -> list[Event]:
    wanted = None if types is None else [str(type) for type in types]
    condition = "" if wanted is None else f" AND type IN ({', '.join('?' * len(wanted))})"
    if until is not None:
        condition += " AND ts <= ?"
    found = db.execute(
        f"{_EVENT_SELECT} AND seq > ?{condition} ORDER BY seq DESC LIMIT ?",
        (
            job_id,
            after,
            *(wanted or ()),
            *(() if until is None else (stamp(until),)),
            -1 if limit is None else limit,
        ),
    ).fetchall()
    return [event_of(row) for row in reversed(found)]


def _curve_names(db: sqlite3.Connection, job_id: str) -> dict[str, tuple[str, str, int]]:
    """Metric -> the kind of rows that it is in, its name there and its place in their stats."""
    found = db.execute(
        "SELECT kind, name, place FROM training_curve_names WHERE job_id = ? ORDER BY kind, place", (job_id,)
    ).fetchall()
    names: dict[str, tuple[str, str, int]] = {}
    for kind in KINDS:
        for _, name, place in (row for row in found if row[0] == kind):
            names.setdefault(f"{kind}_{name}" if name in names else name, (kind, name, place))
    return names


def _scale(db: sqlite3.Connection, job_id: str, axis: Axis) -> float | None:
    """What a stored x is multiplied with: seconds become hours or dollars."""
    if axis == "hours":
        return 1 / 3600
    if axis != "dollars":
        return 1.0
    found = db.execute("SELECT cost_per_hour FROM local_training_jobs WHERE id = ?", (job_id,)).fetchone()
    return None if found is None or found[0] is None else float(found[0]) / 3600


def _metric_row(job_id: str, kind: str, stored: tuple[Any, ...]) -> dict[str, Any]:
    """A row of metrics as columns, those that are not set as None."""
    row = row_of(kind, stored)
    columns = dict(zip(METRIC_COLUMNS, stored, strict=True))
    values = dict(row.values)
    if kind == "train" and "loss" in values:
        values["train_loss"] = values.pop("loss")
    facts = {name: columns[name] for name in FACT_COLUMNS}
    del columns["extra"], columns["position"]
    return {"job_id": job_id, "kind": kind, **columns, **facts, **values}
