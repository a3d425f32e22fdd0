"""Runs as a pod would write them, made for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from engine.job.events import Event, EventType, Status, encode
from engine.records import Job
from scorer import CheckpointMetrics, score

START = datetime(2026, 11, 21, 10, tzinfo=UTC)
NAN = float("nan")


def a_job(id: str = "job-1", **changes: Any) -> Job:
    """A job as the laptop adds it before the pod has said anything."""
    columns: dict[str, Any] = {
        "name": "support-qwen",
        "status": Status.QUEUED,
        "created_at": START,
        "base_model": "Qwen/Qwen2.5-7B",
        "cost_per_hour": 3.6,
    }
    return Job(id=id, **{**columns, **changes})


class Wire:
    """Writes lines as they stand in `events.jsonl`; the clock runs a second an event."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.attempt = 1
        self.seconds = 0.0
        self._seq = 0
        self._loss: float | None = None

    @property
    def bytes(self) -> bytes:
        return b"".join(self.lines)

    def write(self, type: str, step: int | None = None, **data: Any) -> Wire:
        self._seq += 1
        moment = START + timedelta(seconds=self.seconds)
        self.lines.append(encode(Event(self._seq, moment, self.attempt, type, step, data)))
        self.seconds += 1
        return self

    def start(self, step: int = 0, total_steps: int | None = 100, **data: Any) -> Wire:
        return self.write(EventType.START, step, total_steps=total_steps, **data)

    def train(self, step: int, loss: float | str, **data: Any) -> Wire:
        return self.write(EventType.TRAIN, step, loss=loss, **data)

    def state(self, status: Status, **data: Any) -> Wire:
        return self.write(EventType.STATE, status=status, **data)

    def evaluate(self, step: int, eval_loss: float, train_loss: float = 1.0, **data: Any) -> Wire:
        """An eval and the checkpoint that follows it, scored as the trainer scores."""
        improved = self._loss is None or eval_loss < self._loss
        self._loss = eval_loss
        told = score(CheckpointMetrics(step, eval_loss, train_loss, improved)).to_json()
        self.write(EventType.EVAL, step, eval_loss=eval_loss, train_loss=train_loss, score=told, **data)
        return self.checkpoint(step, score=told)

    def checkpoint(self, step: int, **data: Any) -> Wire:
        path = f"checkpoints/checkpoint-{step}"
        told = {"path": path, "bytes": 1000 + step, "sha256": "ab" * 32, "verified": True, **data}
        return self.write(EventType.CHECKPOINT, step, **told)

    def raw(self, line: bytes) -> Wire:
        self.lines.append(line + b"\n")
        return self


def a_run(steps: int = 30, *, every: int = 1) -> Wire:
    """A short run that goes to its end: losses fall, every tenth step is evaluated."""
    wire = Wire().state(Status.RUNNING).start(total_steps=steps * every)
    for at in range(1, steps + 1):
        step = at * every
        wire.train(step, 4 - at / steps, learning_rate=1e-3, grad_norm=1.5, epoch=at / 10, tokens=step * 100)
        if at % 10 == 0:
            wire.evaluate(step, 4.2 - at / steps, 4 - at / steps, epoch=at / 10)
    return wire.state(Status.COMPLETED, exit_code=0)
