"""What some events change in one job: columns of its row, rows of metrics, checkpoints and predictions.

Events are applied one by one in the order of the file (`handlers.py`), and everything that has to be
known between two of them is kept in the job's row, so that the result does not depend on how the bytes
were delivered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from engine.job.events import Event, Status
from engine.store.memory import Memory
from engine.store.series import Kind, MetricRow, Series
from engine.store.values import count, finite, json_object, json_text

MAX_NAMES: Final = 200
"""Metrics of one kind that a job can have curves of."""

LONGEST_GAP: Final = 86_400.0
"""Seconds between two events that can be training: more is a clock that was set."""

MAX_STEP: Final = 2**53
"""A step beyond it is no step."""

MAX_JSON: Final = 1 << 18
"""Characters that a job's configuration or metadata may have; what would exceed them is left out."""

_NAME: Final = re.compile(r"[A-Za-z_][\w./:-]{0,79}", re.ASCII)


class Projection:
    """Collects what a delivery's events change in one job.

    Args:
        job: The job's columns as stored.
        memory: What was remembered.
        series: The ends of its rows, by kind.
        names: The metrics that it has curves of, by kind, with their places.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        memory: Memory,
        series: Mapping[Kind, Series],
        names: Mapping[Kind, dict[str, int]],
    ) -> None:
        self.job = dict(job)
        self.memory = memory
        self.ts = ""  # of the event that is being applied, as the wire writes it
        self.series = series
        self.names = names
        self.checkpoints: list[dict[str, Any]] = []
        self.predictions: list[dict[str, Any]] = []
        self.new_names: list[tuple[Kind, str, int]] = []

    def tick(self, event: Event) -> None:
        """Let the job's clock run up to an event; a pod's clock that steps back stands still."""
        now, memory = event.ts.timestamp(), self.memory
        if memory.last_ts and memory.clock and 0 < now - memory.last_ts <= LONGEST_GAP:
            memory.elapsed += now - memory.last_ts
        memory.last_ts = max(memory.last_ts, now)
        self.job["attempt"] = max(self.job["attempt"] or 1, event.attempt)
        self.job["updated_at"] = self.ts

    def started(self, event: Event) -> None:
        """Training is under way, at the latest since this event."""
        if self.job["started_at"] is None:
            self.job["started_at"] = self.ts

    def counts(self, event: Event) -> bool:
        """Do an event's metrics count? A later attempt takes back what earlier ones logged from there on."""
        if event.step is None or not has_step(event):
            return False
        if event.attempt > self.memory.attempt:
            self.resume(event.attempt, event.step)
        return event.attempt >= self.memory.attempt

    def resume(self, attempt: int, step: int) -> None:
        """A later attempt begins with `step`: what earlier ones logged there and beyond is void."""
        self.memory.attempt = attempt
        self.series["train"].rewind(step)
        self.series["eval"].rewind(step)

    def move_to(self, event: Event) -> None:
        """The job stands at an event's step."""
        self.job["current_step"] = event.step
        if (epoch := finite(event.data.get("epoch"))) is not None and epoch >= 0:
            self.job["current_epoch"] = epoch
        for name in ("tokens", "num_tokens", "num_input_tokens_seen"):
            if (tokens := count(event.data.get(name))) is not None:
                self.job["total_tokens_processed"] = tokens
                break
        self.check_totals()

    def check_totals(self) -> None:
        """A total that the run has gone past is no total: rather none than «step 120 / 100»."""
        job = self.job
        if (job["current_step"] or 0) > (job["total_steps"] or MAX_STEP):
            job["total_steps"] = None
        if job["total_epochs"] is not None and (job["current_epoch"] or 0) > job["total_epochs"] * (1 + 1e-6):
            job["total_epochs"] = None

    def named(self, kind: Kind, values: Mapping[str, float]) -> dict[str, float]:
        """Those values whose names there is, or still is, a place for."""
        places, kept = self.names[kind], {}
        for name, value in values.items():
            if name not in places:
                if len(places) >= MAX_NAMES or not _NAME.fullmatch(name):
                    continue
                places[name] = len(places)
                self.new_names.append((kind, name, places[name]))
            kept[name] = value
        return kept

    def put(
        self, kind: Kind, event: Event, values: dict[str, float], facts: dict[str, Any] | None = None
    ) -> None:
        """Add a row of metrics at the event's step or, for a heartbeat, at the job's."""
        job = self.job
        tokens = job["total_tokens_processed"]
        row = MetricRow(
            (job["current_step"] if kind == "host" else event.step) or 0,
            event.attempt,
            self.ts,
            job["current_epoch"],
            None if tokens is None else float(tokens),
            self.memory.elapsed,
            values,
            {**(facts or {}), **({"loss_trend": job["loss_trend"]} if job["loss_trend"] else {})},
        )
        if kind == "host":
            self.series[kind].append(row)
        else:
            self.series[kind].put(row)

    def join(self, kind: Kind, event: Event, values: dict[str, float]) -> None:
        """Add metrics to the row of the event's step, wherever that is."""
        epoch = finite(event.data.get("epoch"))
        known = self.job["current_epoch"] if epoch is None else epoch
        row = MetricRow(event.step or 0, event.attempt, self.ts, known, None, self.memory.elapsed, values)
        self.series[kind].join(row)

    def note(self, told: Mapping[str, Any]) -> None:
        """Keep facts from the pod among the job's metadata."""
        metadata = {**stored_object(self.job["metadata"]), **told}
        if len(json_text(metadata)) <= MAX_JSON:
            self.job["metadata"] = metadata

    def settle(self) -> None:
        """Bring the columns up to date that follow from the others."""
        job, memory = self.job, self.memory
        job["elapsed_seconds"] = memory.elapsed
        job["spent"] = dict(memory.spent)
        if job["cost_per_hour"] is not None:
            job["cost_total"] = job["cost_per_hour"] * memory.elapsed / 3600
        if memory.gpu_count:
            job["gpu_utilization_percent"] = memory.gpu_sum / memory.gpu_count
        if memory.evaluated:
            last = self.series["eval"].last
            facts = last.facts if last else {}
            job["best_eval_loss"] = facts.get("best_eval_loss")
            job["epochs_without_improvement"] = facts.get("epochs_without_improvement")
            self._note_reward(last.values.get("best_eval_reward") if last else None)
        step, total = job["current_step"], job["total_steps"]
        job["progress"] = 100 * step / total if total and step is not None else None
        job["remaining_seconds"] = self._remaining(step, total)

    def _note_reward(self, best: float | None) -> None:
        """Keep the highest eval reward, which a resume may take back."""
        if stored_object(self.job["metadata"]).get("best_eval_reward") != best:
            self.note({"best_eval_reward": best})

    def _remaining(self, step: int | None, total: int | None) -> float | None:
        """Seconds to the last step at the pace of the newest logged ones; None when unknown or over."""
        status, pace = Status(self.job["status"]), self.memory.pace
        if status is Status.COMPLETED:
            return 0.0
        if step is None or total is None or len(pace) < 2 or status.ended:
            return None
        steps, seconds = pace[-1][0] - pace[0][0], pace[-1][1] - pace[0][1]
        return (total - step) * seconds / steps


def has_step(event: Event) -> bool:
    """Does it belong to a step at all?"""
    return event.step is not None and 0 <= event.step < MAX_STEP


def stored_object(stored: Any) -> dict[str, Any]:
    """A JSON column as an object, whether it was changed in this delivery or not."""
    return dict(stored) if isinstance(stored, Mapping) else json_object(stored)
