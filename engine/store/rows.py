"""Rows of the database <-> the records that the rest of Podium sees."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

from engine.job.events import Event, Status, parse_stamp
from engine.records import Alert, Checkpoint, Gpu, HostSample, Job, SavedComparison, Trend
from engine.store.values import StoredJson, count, finite, json_object, mapping, moment, real, text, words

if TYPE_CHECKING:
    from scorer import Score

JOB_COLUMNS: Final = tuple(field.name for field in fields(Job))
JOB_SELECT: Final = ", ".join(JOB_COLUMNS)

_PLACE: Final = {name: place for place, name in enumerate(JOB_COLUMNS)}
_MOMENTS: Final = tuple(place for name, place in _PLACE.items() if name.endswith("_at"))
_MAY_BE_NAN: Final = tuple(
    _PLACE[name]
    for name in (
        "loss", "eval_loss", "grad_norm", "perplexity", "learning_rate", "final_loss", "final_eval_loss",
        "best_checkpoint_score", "samples_per_second", "tokens_per_second",
    )
)  # fmt: skip
_PUT: Final = tuple(getattr(Job, name).__set__ for name in JOB_COLUMNS)
_STATUS, _CREATED, _TAGS = (_PLACE[name] for name in ("status", "created_at", "tags"))
_OBJECTS: Final = tuple(_PLACE[name] for name in ("config", "metadata", "spent", "laptop_spent"))
_STATUSES: Final = {status.value: status for status in Status}


def job_of(row: Sequence[Any]) -> Job:
    """A job from its columns, in the order of `JOB_COLUMNS`."""
    values = list(row)
    for place in _MOMENTS:
        if (stored := values[place]) is not None:
            try:
                values[place] = datetime.fromisoformat(stored)
            except ValueError:
                values[place] = None
    for place in _MAY_BE_NAN:
        if values[place].__class__ is str:
            values[place] = real(values[place])
    values[_STATUS] = _STATUSES.get(values[_STATUS], Status.FAILED)
    values[_CREATED] = values[_CREATED] or datetime.fromtimestamp(0, UTC)
    for place in _OBJECTS:
        values[place] = StoredJson(values[place])
    values[_TAGS] = _strings(values[_TAGS])
    # The generated __init__ of a frozen class takes five times as long, and there may be 10,000 jobs.
    job = object.__new__(Job)
    for put, value in zip(_PUT, values, strict=True):
        put(job, value)
    return job


@lru_cache(maxsize=4096)
def _strings(stored: str) -> tuple[str, ...]:
    """A JSON list of strings."""
    try:
        value = json.loads(stored)
    except ValueError:
        return ()
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def event_of(row: Sequence[Any]) -> Event:
    """An event from seq, ts, attempt, type, step, data."""
    seq, ts, attempt, type, step, data = row
    return Event(seq, parse_stamp(ts), attempt, type, step, json_object(data))


Severity = Literal["info", "warning", "error"]

CHECKPOINT_COLUMNS: Final = (
    "job_id", "step", "attempt", "epoch", "eval_loss", "train_loss", "score", "path", "size_bytes", "sha256",
    "created_at", "verified",
)  # fmt: skip


def checkpoint_of(row: Sequence[Any]) -> Checkpoint:
    """A checkpoint from its columns, in the order of `CHECKPOINT_COLUMNS`; its standing is not yet known."""
    values: dict[str, Any] = dict(zip(CHECKPOINT_COLUMNS, row, strict=True))
    for name in ("epoch", "eval_loss", "train_loss"):
        values[name] = real(values[name])
    values["score"] = score_of(json_object(values["score"]))
    values["created_at"] = moment(values["created_at"])
    values["verified"] = bool(values["verified"])
    return Checkpoint(**values)


def score_of(stored: Mapping[str, Any]) -> Score | None:
    """A stored score as it was computed; None for what is none."""
    if not stored:
        return None
    from scorer import Score

    try:
        return Score.from_json(stored)
    except ValueError:
        return None


_SEVERITIES: Final[Mapping[str, Severity]] = {"info": "info", "warning": "warning", "error": "error"}


def alert_of(job_id: str, event: Event) -> Alert:
    """An alert event; a severity that nobody knows counts as a warning."""
    severity = _SEVERITIES.get(str(event.data.get("severity")), "warning")
    name = words(event.data.get("alert"), 100) or "alert"
    message = words(event.data.get("message")) or name
    return Alert(job_id, event.ts, name, severity, message, event.step)


PREDICTION_COLUMNS: Final = (
    "job_id", "step", "epoch", "sample_index", "attempt", "prompt_id", "prompt", "ground_truth", "prediction",
    "exact_match", "char_error_rate", "length_ratio", "word_overlap", "validation_pass", "validation_errors",
    "prompt_tokens", "completion_tokens", "latency_ms", "max_new_tokens", "created_at",
)  # fmt: skip
_MARKS: Final = ("exact_match", "validation_pass")


def prediction_of(row: Sequence[Any]) -> dict[str, Any]:
    """A prediction by its columns, in the order of `PREDICTION_COLUMNS`."""
    columns = dict(zip(PREDICTION_COLUMNS, row, strict=True))
    return columns | {name: None if columns[name] is None else bool(columns[name]) for name in _MARKS}


def trend_of(event: Event) -> Trend:
    """A trend event."""
    verdict = words(event.data.get("verdict"), 100) or "inconclusive"
    return Trend(verdict, words(event.data.get("evidence")) or "", event.step)


def host_sample_of(event: Event) -> HostSample | None:
    """A heartbeat's figures; None when it carried none."""
    host, gpus = mapping(event.data.get("host")), gpus_of(event.data)
    if not host and not gpus:
        return None
    return HostSample(
        event.ts,
        finite(host.get("cpu_percent")),
        finite(host.get("memory_used_gb")),
        finite(host.get("memory_total_gb")),
        finite(host.get("disk_free_gb")),
        gpus,
    )


def gpus_of(data: Mapping[str, Any]) -> tuple[Gpu, ...]:
    """A heartbeat's GPUs, at most 64 of them."""
    listed = data.get("gpus")
    found = [mapping(item) for item in listed[:64]] if isinstance(listed, list) else []
    return tuple(
        Gpu(
            (count(gpu.get("index")) or 0) if "index" in gpu else place,
            words(gpu.get("name"), 100),
            finite(gpu.get("utilization_percent")),
            finite(gpu.get("memory_used_gb")),
            finite(gpu.get("memory_total_gb")),
            finite(gpu.get("temperature_c")),
            finite(gpu.get("power_w")),
        )
        for place, gpu in enumerate(found)
        if gpu
    )


def comparison_of(row: sqlite3.Row | Sequence[Any]) -> SavedComparison:
    """A saved comparison from id, name, job_ids, created_at, reference_job_id, notes."""
    id, name, job_ids, created_at, reference, notes = row
    made = moment(created_at) or datetime.fromtimestamp(0, UTC)
    return SavedComparison(id, name, _strings(job_ids), made, reference, text(notes))
