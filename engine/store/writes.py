"""Rows into the database: the job, its series, its checkpoints, its predictions. All idempotent upserts."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from engine.records import Checkpoint
from engine.store.pyramid import rebuild
from engine.store.rows import CHECKPOINT_COLUMNS, checkpoint_of
from engine.store.standing import best_of
from engine.store.values import column

if TYPE_CHECKING:
    from engine.store.projection import Projection


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


def write_series(db: sqlite3.Connection, job_id: str, projection: Projection) -> None:
    """Store the new rows, their metrics' names and the pyramid above them."""
    db.executemany(
        "INSERT INTO training_curve_names (job_id, kind, name, place) VALUES (?, ?, ?, ?)",
        [(job_id, *name) for name in projection.new_names],
    )
    for kind, series in projection.series.items():
        if series.changed:
            series.write()
            rebuild(db, job_id, series, projection.names[kind])


def write_checkpoints(db: sqlite3.Connection, job_id: str, checkpoints: list[dict[str, Any]]) -> None:
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


def write_predictions(db: sqlite3.Connection, job_id: str, predictions: list[dict[str, Any]]) -> None:
    """Insert predictions, or replace those of an earlier attempt."""
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


def best_columns(db: sqlite3.Connection, job_id: str) -> dict[str, Any]:
    """The job's columns about its checkpoints."""
    checkpoints = checkpoints_of(db, job_id)
    best = best_of(checkpoints)
    kept = [item for item in checkpoints if item.path is not None]
    return {
        "best_step": best.step if best else None,
        "best_epoch": best.epoch if best else None,
        "best_at": best.created_at if best else None,
        "best_checkpoint_path": best.path if best else None,
        "best_checkpoint_score": best.score.total if best and best.score else None,
        "checkpoint_count": len(kept),
        "size_bytes": sum(item.size_bytes or 0 for item in kept),
    }
