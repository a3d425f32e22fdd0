"""An event -> what it changes: columns of the job, rows of metrics, checkpoints and predictions.

Events are applied one by one in the order of the file, and everything that has to be remembered between
two of them is kept in the job's row, so that the result does not depend on how the bytes were delivered.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from engine.job.events import Event, EventType, Status, number, plain, stamp
from engine.job.spec import merged
from engine.store.rows import gpus_of
from engine.store.series import Kind, MetricRow, Series
from engine.store.values import count, finite, json_object, mapping, text, words

MAX_NAMES: Final = 200
"""Metrics of one kind that a job can have curves of."""

RATE_WINDOW: Final = 50
"""Logged steps that the time left is estimated from."""

_NAME: Final = re.compile(r"[A-Za-z_][\w./:-]{0,79}", re.ASCII)
_X_NAMES: Final = frozenset({"step", "epoch", "tokens", "num_tokens", "num_input_tokens_seen", "total_flos"})
_TRAIN_COLUMNS: Final = (
    "loss", "learning_rate", "grad_norm", "samples_per_second", "tokens_per_second", "train_perplexity",
    "gpu_memory_allocated_gb", "gpu_memory_reserved_gb",
)  # fmt: skip
_NOT_METADATA: Final = frozenset({"config", "total_steps", "total_epochs"})


@dataclass(slots=True)
class Memory:
    """What the projection remembers of a job between two deliveries.

    Args:
        attempt: The attempt whose metrics count; those of earlier ones that still arrive do not.
        last_ts: When the newest event was written, seconds since 1970; 0 before the first.
        elapsed: Seconds that the job was not queued, paused or over.
        clock: Does that time run?
        gpu_sum: Sum of the GPU utilizations seen since the first step, percent.
        gpu_count: How many.
        trainer_memory: Does the trainer tell the GPU memory that it holds?
        pace: The last logged steps and the elapsed seconds at each.
        evaluated: The newest eval's step, epoch, eval_loss, train_loss and score.
    """

    attempt: int = 0
    last_ts: float = 0.0
    elapsed: float = 0.0
    clock: bool = True
    gpu_sum: float = 0.0
    gpu_count: int = 0
    trainer_memory: bool = False
    pace: list[list[float]] = field(default_factory=list)
    evaluated: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Memory:
        """What was remembered."""
        return cls(**{name: stored[name] for name in cls.__dataclass_fields__ if name in stored})

    def to_json(self) -> dict[str, Any]:
        """It as JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


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
        self.series = series
        self.names = names
        self.checkpoints: list[dict[str, Any]] = []
        self.predictions: list[dict[str, Any]] = []
        self.new_names: list[tuple[Kind, str, int]] = []

    def apply(self, event: Event) -> None:
        """Take in one event; whatever a pod may have put into its data."""
        self._tick(event)
        self.job["attempt"] = max(self.job["attempt"] or 1, event.attempt)
        self.job["updated_at"] = stamp(event.ts)
        if handler := _HANDLERS.get(event.type):
            handler(self, event)

    def settle(self) -> None:
        """Bring the columns up to date that follow from others."""
        job, memory = self.job, self.memory
        job["elapsed_seconds"] = memory.elapsed
        if job["cost_per_hour"] is not None:
            job["cost_total"] = job["cost_per_hour"] * memory.elapsed / 3600
        if memory.gpu_count:
            job["gpu_utilization_percent"] = memory.gpu_sum / memory.gpu_count
        if memory.evaluated:
            last = self.series["eval"].last
            facts = last.facts if last else {}
            job["best_eval_loss"] = facts.get("best_eval_loss")
            job["epochs_without_improvement"] = facts.get("epochs_without_improvement")
        step, total, epoch, epochs = (
            job[name] for name in ("current_step", "total_steps", "current_epoch", "total_epochs")
        )
        # A total that the run has gone past is no total: rather none than «step 120 / 100».
        if total is not None and step is not None and step > total:
            job["total_steps"] = total = None
        if epochs is not None and epoch is not None and epoch > epochs * (1 + 1e-6):
            job["total_epochs"] = None
        job["progress"] = 100 * step / total if total and step is not None else None
        job["remaining_seconds"] = self._remaining(step, total)

    def _remaining(self, step: int | None, total: int | None) -> float | None:
        """Seconds to the last step at the pace of the newest logged ones; None when unknown or over."""
        if self.job["status"] == Status.COMPLETED:
            return 0.0
        pace = self.memory.pace
        if step is None or total is None or len(pace) < 2 or Status(self.job["status"]).ended:
            return None
        steps, seconds = pace[-1][0] - pace[0][0], pace[-1][1] - pace[0][1]
        return (total - step) * seconds / steps

    def _tick(self, event: Event) -> None:
        """Let the job's clock run up to an event; a pod's clock that steps back stands still."""
        now, memory = event.ts.timestamp(), self.memory
        if memory.last_ts and memory.clock and now > memory.last_ts:
            memory.elapsed += now - memory.last_ts
        memory.last_ts = max(memory.last_ts, now)

    # ---- what the trainer logs

    def _train(self, event: Event) -> None:
        data, memory = event.data, self.memory
        if not self._current(event):
            return
        self._started(event)
        measured = _measured(data)
        for name in _TRAIN_COLUMNS:
            if name in measured:
                self.job[name] = measured[name]
        memory.trainer_memory |= "gpu_memory_allocated_gb" in measured
        self._move_to(event)
        if memory.pace and memory.pace[-1][0] >= (event.step or 0):
            memory.pace.clear()
        memory.pace.append([event.step or 0, memory.elapsed])
        del memory.pace[:-RATE_WINDOW]
        self._put("train", event, self._named("train", measured))

    def _eval(self, event: Event) -> None:
        data, score = event.data, mapping(event.data.get("score"))
        if not self._current(event):
            return
        self._started(event)
        self._move_to(event)
        measured = _measured(data)
        loss, train_loss = measured.get("eval_loss"), measured.pop("train_loss", None)
        if (total := number(score.get("total"))) is not None:
            measured["score"] = total
        if loss is not None:
            self.job["eval_loss"] = loss
            self.job["perplexity"] = measured.get("perplexity", math.exp(min(loss, 700.0)))
        self.memory.evaluated = {
            "step": event.step,
            "epoch": finite(data.get("epoch")),
            "eval_loss": plain(loss),
            "train_loss": plain(train_loss),
            "score": dict(score),
        }
        values = self._named("eval", measured)
        if train_loss is not None:
            # Kept in its column, but no curve of its own: the training loss has one already.
            values["train_loss"] = train_loss
        self._put("eval", event, values, self._best_so_far(event.step or 0, loss))

    def _best_so_far(self, step: int, loss: float | None) -> dict[str, Any]:
        """The lowest eval loss up to a row: a function of the row before it and of its own."""
        last = self.series["eval"].last
        facts = dict(last.facts) if last else {}
        epoch = self.job["current_epoch"]
        best = facts.get("best_eval_loss")
        if loss is not None and math.isfinite(loss) and (best is None or loss < best):
            facts |= {"best_eval_loss": loss, "best_epoch": epoch, "best_step": step}
        since = facts.get("best_epoch")
        if since is not None and epoch is not None:
            facts["epochs_without_improvement"] = max(0, int(epoch - since))
        return facts

    def _current(self, event: Event) -> bool:
        """Do an event's metrics count? A later attempt takes back what earlier ones logged from there on."""
        memory = self.memory
        if event.step is None or event.step < 0:
            return False
        if event.attempt > memory.attempt:
            memory.attempt = event.attempt
            self._rewind(event.step)
        return event.attempt >= memory.attempt

    def _rewind(self, step: int) -> None:
        self.series["train"].rewind(step)
        self.series["eval"].rewind(step)

    def _move_to(self, event: Event) -> None:
        """The job stands at an event's step."""
        self.job["current_step"] = event.step
        if (epoch := finite(event.data.get("epoch"))) is not None and epoch >= 0:
            self.job["current_epoch"] = epoch
        for name in ("tokens", "num_tokens", "num_input_tokens_seen"):
            if (tokens := count(event.data.get(name))) is not None:
                self.job["total_tokens_processed"] = tokens
                break

    def _named(self, kind: Kind, values: Mapping[str, float]) -> dict[str, float]:
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

    def _put(
        self, kind: Kind, event: Event, values: dict[str, float], facts: dict[str, Any] | None = None
    ) -> None:
        job = self.job
        facts = facts or {}
        if job["loss_trend"]:
            facts["loss_trend"] = job["loss_trend"]
        tokens = job["total_tokens_processed"]
        row = MetricRow(
            event.step or 0,
            event.attempt,
            stamp(event.ts),
            job["current_epoch"],
            None if tokens is None else float(tokens),
            self.memory.elapsed,
            values,
            facts,
        )
        if kind == "host":
            self.series[kind].append(row)
        else:
            self.series[kind].put(row)

    # ---- how the job goes

    def _start(self, event: Event) -> None:
        data, job = event.data, self.job
        self._started(event)
        if event.attempt > self.memory.attempt and event.step is not None and event.step >= 0:
            self.memory.attempt = event.attempt
            self._rewind(event.step + 1)
        config = merged(_object(job["config"]), mapping(data.get("config")))
        job["config"] = config
        samples = mapping(data.get("samples"))
        for name, side in (("train_samples", "train"), ("val_samples", "eval")):
            job[name] = count(data.get(name)) or count(samples.get(side)) or job[name]
        job["total_samples"] = count((job["train_samples"] or 0) + (job["val_samples"] or 0))
        job["total_steps"] = count(data.get("total_steps"))
        self._configured(config, finite(data.get("total_epochs")))
        told = {name: value for name, value in data.items() if name not in _NOT_METADATA}
        job["metadata"] = {**_object(job["metadata"]), **told}

    def _configured(self, config: Mapping[str, Any], total_epochs: float | None) -> None:
        """Columns that repeat the configuration."""
        job, training, pod = self.job, mapping(config.get("training")), mapping(config.get("pod"))
        if total_epochs is None and training.get("max_steps") is None:
            total_epochs = finite(training.get("epochs"))
        job["total_epochs"] = total_epochs if total_epochs is not None and total_epochs > 0 else None
        for name in ("batch_size", "gradient_accumulation_steps", "warmup_steps"):
            if (value := count(training.get(name))) is not None:
                job[name] = value
        if job["learning_rate"] is None:
            job["learning_rate"] = finite(training.get("learning_rate"))
        if job["cost_per_hour"] is None:
            job["cost_per_hour"] = finite(pod.get("cost_per_hour"))

    def _started(self, event: Event) -> None:
        if self.job["started_at"] is None:
            self.job["started_at"] = stamp(event.ts)

    def _state(self, event: Event) -> None:
        job = self.job
        try:
            status = Status(str(event.data.get("status")))
        except ValueError:
            return
        job["status"] = status.value
        self.memory.clock = status in (Status.PENDING, Status.RUNNING)
        if status is Status.RUNNING:
            self._started(event)
        if not status.ended:
            job["completed_at"] = job["failed_at"] = job["error_message"] = None
            return
        job["completed_at"] = stamp(event.ts) if status is not Status.FAILED else None
        job["failed_at"] = stamp(event.ts) if status is Status.FAILED else None
        parts = [words(event.data.get("error")), words(event.data.get("advice"))]
        if any(parts):
            job["error_message"] = ". ".join(part.rstrip(".") for part in parts if part)
        if (code := finite(event.data.get("exit_code"))) is not None and abs(code) < 2**31:
            job["exit_code"] = int(code)
        job["final_loss"], job["final_eval_loss"] = job["loss"], job["eval_loss"]

    def _phase(self, event: Event) -> None:
        if phase := words(event.data.get("phase"), 60):
            self.job["phase"] = phase

    def _trend(self, event: Event) -> None:
        if verdict := words(event.data.get("verdict"), 100):
            self.job["loss_trend"] = verdict

    def _result(self, event: Event) -> None:
        self.job["metadata"] = {**_object(self.job["metadata"]), "result": dict(event.data)}

    def _heartbeat(self, event: Event) -> None:
        job, memory = self.job, self.memory
        job["last_heartbeat_at"] = stamp(event.ts)
        gpus = gpus_of(event.data)[:16]
        busy = [gpu.utilization_percent for gpu in gpus if gpu.utilization_percent is not None]
        if job["current_step"] is not None and memory.clock:
            memory.gpu_sum += sum(busy)
            memory.gpu_count += len(busy)
        held = [gpu.memory_used_gb for gpu in gpus if gpu.memory_used_gb is not None]
        if held and not memory.trainer_memory:
            job["gpu_memory_allocated_gb"] = sum(held)
        if gpus:
            job["gpu_type"] = job["gpu_type"] or gpus[0].name
            job["gpu_count"] = job["gpu_count"] or len(gpus)
        figures = {name: finite(value) for name, value in mapping(event.data.get("host")).items()}
        for gpu in gpus:
            figures |= {
                f"gpu{gpu.index}_utilization_percent": gpu.utilization_percent,
                f"gpu{gpu.index}_memory_used_gb": gpu.memory_used_gb,
                f"gpu{gpu.index}_temperature_c": gpu.temperature_c,
                f"gpu{gpu.index}_power_w": gpu.power_w,
            }
        values = self._named("host", {name: value for name, value in figures.items() if value is not None})
        if values:
            self._put("host", event, values)

    # ---- what the trainer makes

    def _checkpoint(self, event: Event) -> None:
        data = event.data
        path = _inside(data.get("path"))
        if data.get("removed") is True:
            self.checkpoints.append({"removed_at": stamp(event.ts), "path": path, "step": event.step})
            return
        if event.step is None or event.step < 0:
            return
        known = self.memory.evaluated if self.memory.evaluated.get("step") == event.step else {}
        score = dict(mapping(data.get("score"))) or known.get("score") or {}
        sources = (data, known, mapping(score.get("metrics")))
        epoch = finite(data.get("epoch"))
        self.checkpoints.append(
            {
                "step": event.step,
                "attempt": event.attempt,
                "epoch": epoch if epoch is not None else known.get("epoch") or self.job["current_epoch"],
                "eval_loss": _first("eval_loss", sources),
                "train_loss": _first("train_loss", sources),
                "score": score or None,
                "path": path,
                "size_bytes": count(data.get("bytes")),
                "sha256": words(data.get("sha256"), 64),
                "verified": data.get("verified") is True,
                "created_at": stamp(event.ts),
            }
        )

    def _prediction(self, event: Event) -> None:
        data = event.data
        index = finite(data.get("sample_index"))
        if index is None or not 0 <= index < 2**31:
            return
        row: dict[str, Any] = {name: finite(data.get(name)) for name in _PREDICTION_NUMBERS}
        row |= {name: int(row[name]) for name in _PREDICTION_COUNTS if row[name] is not None}
        row |= {name: words(data.get(name), 100_000) for name in _PREDICTION_TEXTS}
        row |= {name: data[name] if isinstance(data.get(name), bool) else None for name in _PREDICTION_MARKS}
        errors = data.get("validation_errors")
        row["validation_errors"] = text(errors) if isinstance(errors, str) else errors and list(errors)
        row |= {"step": event.step or 0, "sample_index": int(index), "attempt": event.attempt}
        self.predictions.append({**row, "created_at": stamp(event.ts)})


_PREDICTION_TEXTS: Final = ("prompt", "ground_truth", "prediction", "prompt_id")
_PREDICTION_MARKS: Final = ("exact_match", "validation_pass")
_PREDICTION_COUNTS: Final = ("prompt_tokens", "completion_tokens", "max_new_tokens")
_PREDICTION_NUMBERS: Final = (
    "epoch", "char_error_rate", "length_ratio", "word_overlap", "latency_ms", *_PREDICTION_COUNTS,
)  # fmt: skip

_HANDLERS: Final[Mapping[str, Callable[[Projection, Event], None]]] = {
    EventType.TRAIN: Projection._train,
    EventType.EVAL: Projection._eval,
    EventType.START: Projection._start,
    EventType.STATE: Projection._state,
    EventType.PHASE: Projection._phase,
    EventType.TREND: Projection._trend,
    EventType.RESULT: Projection._result,
    EventType.HEARTBEAT: Projection._heartbeat,
    EventType.CHECKPOINT: Projection._checkpoint,
    EventType.PREDICTION: Projection._prediction,
}
"""Alerts and recoveries change no row: they are read from the events themselves."""


def _measured(data: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an event that are metrics."""
    found = {}
    for name, value in data.items():
        if name in _X_NAMES or not (isinstance(value, (int, float)) or _is_special(value)):
            continue
        if (measured := number(value)) is not None:
            found[name] = measured
    return found


def _is_special(value: Any) -> bool:
    """Is it one of the words for numbers that JSON lacks?"""
    return isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity")


def _first(name: str, sources: Sequence[Mapping[str, Any]]) -> float | None:
    """The number of that name in the first source that has one."""
    return next((found for source in sources if (found := number(source.get(name))) is not None), None)


def _object(stored: Any) -> dict[str, Any]:
    """A JSON column as an object, whether it was changed in this delivery or not."""
    return dict(stored) if isinstance(stored, Mapping) else json_object(stored)


def _inside(path: Any) -> str | None:
    """A pod's path below the job's folder; None for one that leads out of it."""
    if not isinstance(path, str) or not 0 < len(path) <= 1000 or not path.isprintable():
        return None
    parts = PurePosixPath(path)
    return None if parts.is_absolute() or ".." in parts.parts else str(parts)
