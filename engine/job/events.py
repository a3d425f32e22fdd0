"""The wire format, v1: one JSON object a line, appended to `events.jsonl`. Ships; stdlib only.

    {"v":1,"seq":17,"ts":"2026-11-21T10:00:00.000Z","attempt":1,"type":"train","step":120,"data":{…}}

`seq` rises by one for ever, across restarts and whichever process wrote it: writers take a lock.
Numbers that JSON has no word for travel as the strings "NaN", "Infinity" and "-Infinity".
A torn last line is end-of-file: wait and read it again. A line that never parses is kept and counted.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from engine.errors import BadWireLine

WIRE_VERSION: Final = 1
"""Rises when a reader of the old version could misread the new one."""

MAX_LINE: Final = 1 << 20
"""A longer line is no event: nothing that we write comes near it (bytes)."""


class EventType(StrEnum):
    """What an event tells."""

    PHASE = "phase"
    """data: phase (a `Phase`), and what the phase is about."""
    TRAIN = "train"
    """data: loss, learning_rate, grad_norm, epoch, tokens, tokens_per_second, samples_per_second…"""
    EVAL = "eval"
    """data: eval_loss, train_loss, perplexity, epoch, score {total and parts}, eval_seconds…"""
    METRIC = "metric"
    """data: kind (train, eval, or more: figures of neither), and figures that are added to what was told of
    that step; nothing that lies beyond it is taken back."""
    CHECKPOINT = "checkpoint"
    """data: path (below the job's folder), bytes, sha256, score; or path and removed=true."""
    PREDICTION = "prediction"
    """data: sample_index, prompt, ground_truth, prediction and its marks."""
    TREND = "trend"
    """data: verdict, evidence (one sentence) and the numbers behind it."""
    ALERT = "alert"
    """data: alert (its name), severity (info, warning, error), message."""
    RECOVERY = "recovery"
    """data: failure (what failed), action (what was done)."""
    STATE = "state"
    """data: status (a `Status`), and for a failure: error, advice."""
    HEARTBEAT = "heartbeat"
    """data: host {cpu_percent, memory_used_gb, memory_total_gb, disk_free_gb}, gpus [ … ], guard,
    outbox {behind (events), state (ok, down, refused), since (seconds)} where reports are sent."""
    RESULT = "result"
    """data: best_step, final_path, total_steps, seconds… once, at the end of a finished job."""
    GRADIENTS = "gradients"
    """data: grad_norm, layers {name: norm before clipping}, largest and smallest {layer, norm}."""
    TOKENS = "tokens"
    """data: sequences, min, mean, p50, p95, max (tokens), truncated, padding and trained (shares)."""
    EXAMPLES = "examples"
    """data: losses (nats, of the first eval examples), order (equal ones can be paired)."""
    MEMORY = "memory"
    """data: phase (the one that ended), gpus [ {index, peak_gb, peak_reserved_gb, …} ]; on a GPU alone."""
    DELIVERY = "delivery"
    """data: alert, channel (its name), ok, tries, error; whether somebody was told of an alert."""
    START = "start"
    """data: config (the effective configuration), total_steps, samples, versions; once an attempt."""


class Status(StrEnum):
    """The states of a job.

    queued → pending → running → completed | failed | cancelled; running → paused → queued.
    """

    QUEUED = "queued"
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def live(self) -> bool:
        """May this job still write events without anybody asking it to?"""
        return self in _LIVE

    @property
    def ended(self) -> bool:
        """Is this job over for good?"""
        return self in _ENDED


# Asked of ten thousand runs at once.
_LIVE = frozenset((Status.QUEUED, Status.PENDING, Status.RUNNING))
_ENDED = frozenset((Status.COMPLETED, Status.FAILED, Status.CANCELLED))


class Phase(StrEnum):
    """What a running job is busy with."""

    PROVISION = "provision"
    UPLOAD = "upload"
    INSTALL = "install"
    LOAD = "load"
    REHEARSE = "rehearse"
    TRAIN = "train"
    EVAL = "eval"
    SAVE = "save"
    PREDICT = "predict"
    MERGE = "merge"
    PUSH = "push"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Args:
        seq: Its number within the job, from 1.
        ts: When it was written, UTC, by the pod's clock.
        attempt: Which start of the trainer it belongs to, from 1.
        type: What it tells; a type that this version does not know stays a plain string.
        step: The optimizer step it belongs to, if any.
        data: Its payload, JSON values only.
    """

    seq: int
    ts: datetime
    attempt: int
    type: str
    step: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


def encode(event: Event) -> bytes:
    """One line of the wire, newline included."""
    record = {
        "v": WIRE_VERSION,
        "seq": event.seq,
        "ts": stamp(event.ts),
        "attempt": event.attempt,
        "type": str(event.type),
        "step": event.step,
        "data": plain(event.data),
    }
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # A lone surrogate has no UTF-8; its backslash form is the JSON escape of the same character.
    return text.encode(errors="backslashreplace") + b"\n"


def decode(line: bytes) -> Event:
    """The event that a line of the wire holds.

    Raises:
        BadWireLine: The line is no event, or of a newer wire version.
    """
    if len(line) > MAX_LINE:
        raise BadWireLine(f"an event line of {len(line)} bytes")
    try:
        record = json.loads(line)
        version = record["v"]
        if version != WIRE_VERSION:
            raise BadWireLine(f"an event of wire version {version!r}", "Update Podium on this machine.")
        seq, attempt, step = record["seq"], record["attempt"], record.get("step")
        data = record.get("data", {})
        if not (_whole(seq) and seq > 0 and _whole(attempt) and (step is None or _whole(step))):
            raise BadWireLine("an event whose seq, attempt or step is no whole number")
        if not isinstance(data, dict) or not isinstance(record["type"], str):
            raise BadWireLine("an event whose type or data has the wrong shape")
        return Event(seq, parse_stamp(record["ts"]), attempt, record["type"], step, data)
    except BadWireLine:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BadWireLine(f"a line that is no event: {type(error).__name__}") from None


def _whole(value: Any) -> bool:
    """Is it an integer that SQLite can hold?"""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def stamp(moment: datetime) -> str:
    """A moment as the wire writes it: UTC, milliseconds, Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_stamp(text: str) -> datetime:
    """The moment that a stamp names; one without a zone is taken as UTC.

    Raises:
        ValueError: It is no ISO 8601 stamp.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def busy_with(event: Event, phase: str) -> str:
    """What a pod is busy with from an event on.

    Args:
        event: The event.
        phase: What it was busy with before, a `Phase`; `idle` is waiting in the queue, paused, or between
            a failure and the next attempt.
    """
    if event.type == EventType.PHASE:
        return str(event.data.get("phase") or phase)
    if event.type == EventType.STATE:
        return phase if event.data.get("status") == Status.RUNNING else Phase.IDLE
    # A recovery without a step is the supervisor's, after a crash; the trainer goes on within its own.
    return Phase.IDLE if event.type == EventType.RECOVERY and event.step is None else phase


def plain(value: Any) -> Any:
    """The same value with non-finite numbers as strings, keys as strings, and unknown objects as text."""
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return value
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return stamp(value)
    return str(value)


def clipped(value: Any, limit: int) -> Any:
    """The same JSON value with every string cut to `limit` characters."""
    if isinstance(value, str):
        return value if len(value) <= limit else value[:limit] + "…"
    if isinstance(value, Mapping):
        return {key: clipped(item, limit) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clipped(item, limit) for item in value]
    return value


def number(value: Any) -> float | None:
    """A wire value as a float: NaN and infinities too; None for what is no number."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float, str)):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return None
    return None


class EventWriter:
    """Appends events to `events.jsonl`; any number of processes may each have one.

    Each append holds an flock on the file, takes the next `seq` from the file's own last line, and
    writes one line with one `write`. A torn tail left by a crash gets its newline first, so that it
    becomes a bad line of its own instead of spoiling the next event. Threads of one process may share one.

    Args:
        path: The events file; made when missing.
        attempt: The attempt that events are stamped with.

    Raises:
        OSError: From `append`, when the line can't be written (disk full, no permission);
            the file is cut back to what it was.
    """

    def __init__(self, path: Path, attempt: int = 1) -> None:
        self.attempt = attempt
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = -1
        self._seq = 0
        # An flock belongs to the open file, so it does not keep threads apart.
        self._threads = threading.Lock()

    def append(self, type: EventType, step: int | None = None, *, sync: bool = False, **data: Any) -> Event:
        """Write one event.

        Args:
            type: What it tells.
            step: The optimizer step it belongs to.
            sync: Also fsync (evals and saves: what must survive a power cut).
            data: The payload.
        """
        return self.put(type, step, data, sync=sync)

    def put(self, type: str, step: int | None, data: Mapping[str, Any], *, sync: bool = False) -> Event:
        """Write one event whose payload is at hand as a mapping, of any type and with any keys."""
        with self._threads:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                return self._append(type, step, data, sync)
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _append(self, type: str, step: int | None, data: Mapping[str, Any], sync: bool) -> Event:
        """Write one event while the lock is held."""
        size = os.fstat(self._fd).st_size
        torn = False
        if size != self._size:
            last, torn = _last(self._fd, size)
            self._seq = last.seq if last else 0
        event, line = _fitting(Event(self._seq + 1, datetime.now(UTC), self.attempt, type, step, data))
        if torn:
            line = b"\n" + line
        try:
            written = os.write(self._fd, line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if sync:
                os.fsync(self._fd)
        except OSError:
            self._size = -1
            os.ftruncate(self._fd, size)
            raise
        self._size, self._seq = size + written, event.seq
        return event

    def close(self) -> None:
        """Close the file; the writer can't be used afterwards."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def last_event(path: Path) -> Event | None:
    """The last whole event of a file; None when there is none, or no file."""
    try:
        with path.open("rb") as file:
            return _last(file.fileno(), os.fstat(file.fileno()).st_size)[0]
    except FileNotFoundError:
        return None


def _fitting(event: Event) -> tuple[Event, bytes]:
    """The event and its line; long strings are cut where the line would be longer than a reader takes."""
    line = encode(event)
    for limit in (1 << 14, 1 << 8, 1 << 4):
        if len(line) <= MAX_LINE:
            return event, line
        event = replace(event, data={**clipped(plain(event.data), limit), "clipped": True})
        line = encode(event)
    if len(line) <= MAX_LINE:
        return event, line
    event = replace(event, data={"clipped": True})
    return event, encode(event)


def _last(fd: int, size: int) -> tuple[Event | None, bool]:
    """The last whole event, and whether the file ends in a torn line."""
    if size == 0:
        return None, False
    window = 1 << 16
    while True:
        start = max(0, size - window)
        tail = os.pread(fd, size - start, start)
        torn = not tail.endswith(b"\n")
        lines = tail.split(b"\n")
        # The first piece may lack its beginning, unless the window reaches the file's start.
        whole = lines if start == 0 else lines[1:]
        for line in reversed(whole[:-1]):
            try:
                return decode(line), torn
            except BadWireLine:
                continue
        if start == 0:
            return None, torn
        window *= 4
