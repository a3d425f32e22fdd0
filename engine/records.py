"""The rows of the store, as values: what a job, a checkpoint, a curve and an alert are on the laptop.

Field names are the store's column names. None means unknown and is shown as —, never as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from engine.job.events import Status

if TYPE_CHECKING:
    from scorer import Score

_BY_LOSS: Final = ("sft", "cpt", "dpo", "orpo")
"""Methods whose runs are judged by their eval loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run: a row of `local_training_jobs`.

    Times are UTC; `*_seconds` seconds, `*_gb` GB (10⁹ bytes), `cost_*` dollars; losses nats a token.
    """

    id: str
    name: str
    status: Status
    created_at: datetime
    number: int = 0
    """The run's number among its model's runs, from 1; its colour comes from it and never shifts."""
    user_id: str | None = None
    model_name: str | None = None
    base_model: str | None = None
    dataset_path: str | None = None
    method: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    """The resolved spec."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Facts from the pod: versions, data hash, counts of rows; `replay: true` for a recorded run."""
    error_message: str | None = None
    phase: str | None = None
    attempt: int = 1

    started_at: datetime | None = None
    completed_at: datetime | None = None
    failed_at: datetime | None = None
    updated_at: datetime | None = None
    last_heartbeat_at: datetime | None = None
    archived_at: datetime | None = None
    deleted_at: datetime | None = None

    progress: float | None = None
    """0 to 100."""
    current_step: int | None = None
    total_steps: int | None = None
    current_epoch: float | None = None
    total_epochs: float | None = None
    elapsed_seconds: float | None = None
    remaining_seconds: float | None = None

    learning_rate: float | None = None
    batch_size: int | None = None
    gradient_accumulation_steps: int | None = None
    loss: float | None = None
    eval_loss: float | None = None
    grad_norm: float | None = None
    perplexity: float | None = None
    samples_per_second: float | None = None
    tokens_per_second: float | None = None
    gpu_memory_allocated_gb: float | None = None
    gpu_utilization_percent: float | None = None
    """Mean over the run, all GPUs."""
    loss_trend: str | None = None
    """The newest verdict."""

    final_loss: float | None = None
    final_eval_loss: float | None = None
    best_eval_loss: float | None = None
    """The lowest eval loss of any checkpoint, whichever the score prefers."""
    best_epoch: float | None = None
    """Epoch of the best checkpoint by score."""
    best_step: int | None = None
    best_checkpoint_path: str | None = None
    best_checkpoint_score: float | None = None
    train_samples: int | None = None
    val_samples: int | None = None
    total_tokens_processed: int | None = None
    resumed_from_job_id: str | None = None

    provider: str | None = None
    gpu_type: str | None = None
    gpu_count: int | None = None
    pod_id: str | None = None
    pod_status: str | None = None
    cost_per_hour: float | None = None
    cost_total: float | None = None
    job_dir: str | None = None
    exit_code: int | None = None
    tags: tuple[str, ...] = ()
    checkpoint_count: int | None = None
    """How many checkpoints have their files still; None where the reader did not count."""
    size_bytes: int | None = None
    """What their files take, bytes."""
    best_at: datetime | None = None
    """When the best checkpoint was saved, by the pod's clock."""
    spent: Mapping[str, Any] = field(default_factory=dict)
    """Seconds by phase, by the pod's clock; `crashed` is what a crash made worthless. They add up."""
    laptop_spent: Mapping[str, Any] = field(default_factory=dict)
    """Seconds by phase that this laptop was busy for the job while its pod was rented."""
    bad_lines: int = 0
    """Lines of the wire that never parsed."""

    @property
    def replay(self) -> bool:
        """Is this a recorded run that was played back?"""
        return bool(self.metadata.get("replay"))

    @property
    def best_eval_reward(self) -> float | None:
        """The highest mean reward of any evaluation; None where runs are judged by a loss."""
        if self.best_eval_loss is not None or self.method in _BY_LOSS:
            return None
        told = self.metadata.get("best_eval_reward")
        return float(told) if isinstance(told, (int, float)) and not isinstance(told, bool) else None

    @property
    def rank_value(self) -> float | None:
        """What runs of one kind are ranked by, lower is better: the best eval loss, else −(best reward)."""
        if self.best_eval_loss is not None:
            return self.best_eval_loss
        reward = self.best_eval_reward
        return None if reward is None else -reward

    @property
    def attached(self) -> bool:
        """Is this somebody else's run, which is only watched?"""
        return bool(self.metadata.get("attached"))

    @property
    def archived(self) -> bool:
        """Is it hidden, with everything kept?"""
        return self.archived_at is not None

    @property
    def deleted(self) -> bool:
        """Is it in the trash?"""
        return self.deleted_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One checkpoint: a row of `training_checkpoints`, with its standing among the others."""

    job_id: str
    step: int
    attempt: int = 1
    epoch: float | None = None
    eval_loss: float | None = None
    train_loss: float | None = None
    score: Score | None = None
    path: str | None = None
    """Below the job's folder; None once rotation has removed the files."""
    size_bytes: int | None = None
    sha256: str | None = None
    """Of its manifest."""
    created_at: datetime | None = None
    verified: bool = False
    """Did the pod read it back and find every hash right?"""
    is_best: bool = False
    is_lowest_eval_loss: bool = False
    tied: bool = False
    """Statistically no worse than the best."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One bucket of a curve: what a chart draws in one column.

    Args:
        x: The mean x of its points.
        low: The least value.
        mean: The mean value.
        high: The greatest value.
        count: How many points it stands for.
    """

    x: float
    low: float
    mean: float
    high: float
    count: int


Axis = Literal["step", "epoch", "tokens", "hours", "dollars"]
"""What runs along a chart's x."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of one job, reduced to about as many points as a chart has columns.

    Args:
        job_id: Whose.
        metric: `loss`, `eval_loss`, `learning_rate`, …
        axis: What x is.
        points: Buckets in order of x.
        total: How many points were recorded in all.
        bad: The x of points that were NaN or infinite (at most a few hundred).
        before: The last point left of a window: the line comes from there.
        after: The first point right of it.
    """

    job_id: str
    metric: str
    axis: Axis
    points: tuple[CurvePoint, ...]
    total: int
    bad: tuple[float, ...] = ()
    before: CurvePoint | None = None
    after: CurvePoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One moment of a run on every axis; None where it is unknown."""

    ts: datetime | None = None
    step: float | None = None
    epoch: float | None = None
    tokens: float | None = None
    hours: float | None = None
    dollars: float | None = None

    def on(self, axis: Axis) -> float | None:
        """Where it is on an axis."""
        known: float | None = getattr(self, axis)
        return known


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """One metric of one job in four numbers; values that are not finite count for none of them.

    Args:
        last: The newest value.
        low: The least.
        high: The greatest.
        at_best: The value at the checkpoint that was asked for, or the newest before it.
    """

    last: float | None = None
    low: float | None = None
    high: float | None = None
    at_best: float | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One reading of one GPU; None where the driver says [N/A]."""

    index: int
    name: str | None = None
    utilization_percent: float | None = None
    memory_used_gb: float | None = None
    memory_total_gb: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    node: int = 0
    """Which of a job's machines it is in."""


@dataclass(frozen=True, slots=True)
class HostSample:
    """One heartbeat: CPU, memory, disk and GPUs; of several machines the first one's, and the GPUs of all."""

    ts: datetime
    cpu_percent: float | None = None
    memory_used_gb: float | None = None
    memory_total_gb: float | None = None
    disk_free_gb: float | None = None
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class Reports:
    """How far a pod's own reports are, by its last heartbeat.

    Args:
        behind: Events that are still to be sent.
        state: `ok`, `down` (the server can't be reached) or `refused` (it will not have them).
        seconds: How long that has been so.
    """

    behind: int
    state: Literal["ok", "down", "refused"]
    seconds: float


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that somebody should know: from the pod's events or from the laptop."""

    job_id: str
    ts: datetime
    alert: str
    severity: Literal["info", "warning", "error"]
    message: str
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Trend:
    """The newest verdict on a run's losses, with the sentence that justifies it."""

    verdict: str
    evidence: str
    step: int | None = None


@dataclass(frozen=True, slots=True)
class SavedComparison:
    """A comparison that the user named: a row of `training_comparisons`."""

    id: str
    name: str
    job_ids: tuple[str, ...]
    created_at: datetime
    reference_job_id: str | None = None
    notes: str = ""
