"""The metrics that runs are compared by: what each is of a run, and which end of it is the good one. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from engine.analysis.compared import Direction, Unit
from engine.analysis.configuration import setting
from engine.analysis.spending import best_checkpoint, cost_after
from engine.records import Checkpoint, Job

Kind = Literal["quality", "price", "fact"]
"""Quality needs comparable runs to have a best; a price needs runs that went to their end."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the rows see it.

    Args:
        job: The run.
        checkpoints: Its checkpoints by step.
        lowest: The lowest best eval loss of all compared runs; None when unknown.
    """

    job: Job
    checkpoints: tuple[Checkpoint, ...]
    lowest: float | None = None

    @property
    def best(self) -> Checkpoint | None:
        """Its best checkpoint."""
        return best_checkpoint(self.job, self.checkpoints)

    @property
    def first(self) -> Checkpoint | None:
        """Its first checkpoint that has an eval loss."""
        return next((item for item in self.checkpoints if known(item.eval_loss) is not None), None)

    @property
    def gained(self) -> float | None:
        """How far the eval loss fell from the first checkpoint on, nats; None when unknown."""
        first = known(self.first.eval_loss) if self.first else None
        lowest = known(self.job.best_eval_loss)
        return None if first is None or lowest is None else first - lowest


@dataclass(frozen=True, slots=True)
class Metric:
    """One row's meaning.

    Args:
        name: Its name in exports.
        label: What people call it.
        unit: How it is written.
        direction: Which end is the good one.
        value: What it is of a run; None when unknown.
        of: The total that it is shown against.
        kind: What it takes to have a best.
        primary: Is it shown without being asked for?
    """

    name: str
    label: str
    unit: Unit
    direction: Direction
    value: Callable[[Run], float | None]
    of: Callable[[Run], float | None] = lambda run: None
    kind: Kind = "fact"
    primary: bool = False


def known(value: float | None) -> float | None:
    """The number; None for NaN and infinities too, which can't be compared."""
    return value if value is not None and math.isfinite(value) else None


def worse(loss: float | None, lowest: float | None) -> float | None:
    """Relative excess of a loss over the lowest, as a fraction; None where it has no meaning."""
    loss, lowest = known(loss), known(lowest)
    if loss is None or lowest is None or lowest <= 0:
        return None
    return loss / lowest - 1


def _share(part: float | None, whole: float | None, scale: float = 1.0) -> float | None:
    """Part / whole · scale; None when unknown or endless."""
    if part is None or not whole or not math.isfinite(part / whole):
        return None
    return part / whole * scale


def _final_perplexity(run: Run) -> float | None:
    """Of the model that training ends with, which is the best checkpoint; else of the newest eval."""
    best = run.best
    loss = known(best.eval_loss) if best else None
    if loss is None:
        return run.job.perplexity
    return math.exp(loss) if loss < 700 else None


def _gap(run: Run) -> float | None:
    """How far the train loss lies below the eval loss at the best checkpoint, percent of the latter."""
    best = run.best
    if best is None or best.eval_loss is None or best.train_loss is None or best.eval_loss <= 0:
        return None
    return known((best.eval_loss - best.train_loss) / best.eval_loss * 100)


def _part(name: str) -> Callable[[Run], float | None]:
    def part(run: Run) -> float | None:
        best = run.best
        return known(getattr(best.score, name)) if best is not None and best.score is not None else None

    return part


def _worse(run: Run) -> float | None:
    """Excess of the best eval loss over the lowest of all, percent."""
    excess = worse(run.job.best_eval_loss, run.lowest)
    return None if excess is None else excess * 100


def _hours(run: Run) -> float | None:
    return None if run.job.elapsed_seconds is None else run.job.elapsed_seconds / 3600


def _epochs_gained_in(run: Run) -> float | None:
    first, best = run.first, run.job.best_epoch
    return None if first is None or first.epoch is None or best is None else best - first.epoch


def _memory(run: Run) -> float | None:
    held = run.job.gpu_memory_allocated_gb
    return None if held is None else held * 1e9


def _rate(run: Run) -> float | None:
    given = setting(run.job, "training", "learning_rate")
    return float(given) if isinstance(given, (int, float)) else run.job.learning_rate


METRICS: Final = (
    Metric(
        "best_eval_loss", "best eval loss", "loss", "low", lambda run: run.job.best_eval_loss,
        kind="quality", primary=True,
    ),
    Metric(
        "best_epoch", "best epoch", "epoch", "none", lambda run: run.job.best_epoch,
        lambda run: run.job.total_epochs, primary=True,
    ),
    Metric(
        "elapsed_seconds", "training time", "seconds", "low", lambda run: run.job.elapsed_seconds,
        kind="price", primary=True,
    ),
    Metric(
        "cost_total", "cost", "dollars", "low", lambda run: run.job.cost_total, kind="price", primary=True
    ),
    Metric(
        "cost_after_best", "cost after the best", "dollars", "low", lambda run: cost_after(run.job, run.best),
        kind="price", primary=True,
    ),
    Metric(
        "gpu_utilization_percent", "GPU utilization", "percent", "high",
        lambda run: run.job.gpu_utilization_percent, primary=True,
    ),
    Metric(
        "final_perplexity", "final perplexity", "number", "low", _final_perplexity,
        kind="quality", primary=True,
    ),
    Metric("worse_percent", "worse than the best", "percent", "low", _worse, kind="quality"),
    Metric(
        "best_checkpoint_score", "best score", "loss", "low", lambda run: run.job.best_checkpoint_score,
        kind="quality",
    ),
    Metric("score_eval_loss", "score: eval loss", "loss", "low", _part("eval_loss"), kind="quality"),
    Metric("score_gap", "score: gap", "loss", "low", _part("gap"), kind="quality"),
    Metric("score_perplexity", "score: perplexity", "loss", "low", _part("perplexity"), kind="quality"),
    Metric("score_bonus", "score: bonus", "loss", "low", _part("bonus"), kind="quality"),
    Metric("gap_percent", "train-eval gap", "percent", "low", _gap, kind="quality"),
    Metric(
        "eval_loss_at_best", "eval loss at the best score", "loss", "low",
        lambda run: run.best.eval_loss if run.best else None, kind="quality",
    ),
    Metric("train_loss", "train loss", "loss", "none", lambda run: run.job.loss),
    Metric("eval_loss", "last eval loss", "loss", "low", lambda run: run.job.eval_loss, kind="quality"),
    Metric(
        "best_step", "best step", "number", "none", lambda run: run.job.best_step,
        lambda run: run.job.total_steps,
    ),
    Metric("learning_rate", "learning rate", "number", "none", _rate),
    Metric("grad_norm", "gradient norm", "number", "none", lambda run: run.job.grad_norm),
    Metric("samples_per_second", "samples", "rate", "high", lambda run: run.job.samples_per_second),
    Metric("tokens_per_second", "tokens", "rate", "high", lambda run: run.job.tokens_per_second),
    Metric(
        "total_tokens_processed", "tokens in all", "number", "none",
        lambda run: run.job.total_tokens_processed,
    ),
    Metric("gpu_memory_bytes", "GPU memory", "bytes", "low", _memory),
    Metric(
        "improvement_per_hour", "eval loss gained an hour", "number", "high",
        lambda run: _share(run.gained, _hours(run)), kind="quality",
    ),
    Metric(
        "improvement_per_epoch", "eval loss gained an epoch", "number", "high",
        lambda run: _share(run.gained, _epochs_gained_in(run)), kind="quality",
    ),
    Metric(
        "cost_per_hundredth", "cost of 0.01 eval loss", "dollars", "low",
        lambda run: _share(run.job.cost_total, run.gained, 0.01) if (run.gained or 0) > 0 else None,
        kind="quality",
    ),
    Metric("cost_per_hour", "cost an hour", "dollars", "low", lambda run: run.job.cost_per_hour),
    Metric(
        "checkpoint_bytes", "size of the best checkpoint", "bytes", "low",
        lambda run: run.best.size_bytes if run.best else None,
    ),
    Metric("size_bytes", "size of all checkpoints", "bytes", "low", lambda run: run.job.size_bytes),
)  # fmt: skip
"""The rows in the order that they are shown in; the primary ones first."""
