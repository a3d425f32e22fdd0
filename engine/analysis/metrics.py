"""The metrics that runs are compared by: what each is of a run, and which end of it is the good one. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from engine.analysis.compared import Direction, Statistic, Unit
from engine.analysis.configuration import setting
from engine.analysis.spending import best_checkpoint, cost_after
from engine.records import Checkpoint, Job, MetricSummary

Kind = Literal["quality", "price", "fact"]
"""Quality needs comparable runs to have a best; a price needs runs that went to their end."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the rows see it.

    Args:
        job: The run.
        checkpoints: Its checkpoints by step.
        leader: The compared run with the best result of its kind; None when unknown.
        summaries: Its curves in four numbers, by metric.
        statistic: Which of the four counts.
    """

    job: Job
    checkpoints: tuple[Checkpoint, ...]
    leader: Job | None = None
    summaries: Mapping[str, MetricSummary] = field(default_factory=dict)
    statistic: Statistic = "last"

    @property
    def best(self) -> Checkpoint | None:
        """Its best checkpoint."""
        return best_checkpoint(self.job, self.checkpoints)

    def measured(self, metric: str, last: float | None = None) -> float | None:
        """A curve's value by the statistic; `last` is what is known without the curve."""
        told = self.summaries.get(metric)
        if told is None:
            return last if self.statistic == "last" else None
        match self.statistic:
            case "last":
                # A newest value that is no number is said, not passed over.
                return last if last is not None and not math.isfinite(last) else told.last
            case "min":
                return told.low
            case "max":
                return told.high
            case "best":
                return told.at_best

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
        curve: The curve that it is taken from by the statistic; empty when it is not.
    """

    name: str
    label: str
    unit: Unit
    direction: Direction
    value: Callable[[Run], float | None]
    of: Callable[[Run], float | None] = lambda run: None
    kind: Kind = "fact"
    primary: bool = False
    curve: str = ""


def known(value: float | None) -> float | None:
    """The number; None for NaN and infinities too, which can't be compared."""
    return value if value is not None and math.isfinite(value) else None


def worse(loss: float | None, lowest: float | None) -> float | None:
    """Relative excess of a loss over the lowest, as a fraction; None where it has no meaning."""
    loss, lowest = known(loss), known(lowest)
    if loss is None or lowest is None or lowest <= 0:
        return None
    return loss / lowest - 1


def behind(job: Job, best: Job | None) -> float | None:
    """How far a run is behind the best of its kind, as a fraction; None where one has no meaning.

    By eval loss the relative excess over the lowest, by reward the relative shortfall from the highest.
    A run that is judged by a loss is never measured against one that is judged by a reward.
    """
    if best is None or (job.best_eval_reward is None) != (best.best_eval_reward is None):
        return None
    if best.best_eval_reward is None:
        return worse(job.best_eval_loss, best.best_eval_loss)
    ours, highest = known(job.best_eval_reward), known(best.best_eval_reward)
    if ours is None or highest is None:
        return None
    return 0.0 if ours == highest else (highest - ours) / abs(highest) if highest else None


def _of_curve(
    name: str,
    label: str,
    unit: Unit,
    direction: Direction,
    curve: str,
    last: Callable[[Job], float | None] = lambda job: None,
    *,
    kind: Kind = "fact",
) -> Metric:
    """A metric that is taken from a curve; `last` is the newest value where there is none."""
    return Metric(
        name, label, unit, direction, lambda run: run.measured(curve, last(run.job)), kind=kind, curve=curve
    )


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
    """How far behind the best of the compared runs it is, percent."""
    excess = behind(run.job, run.leader)
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


def pace(run: Run) -> float | None:
    """Efficiency: how far the eval loss fell an hour, nats; None when unknown."""
    return _share(run.gained, _hours(run))


def price_of_hundredth(run: Run) -> float | None:
    """Dollars for each 0.01 that the eval loss fell; None when unknown or when it did not fall."""
    return _share(run.job.cost_total, run.gained, 0.01) if (run.gained or 0) > 0 else None


METRICS: Final = (
    Metric(
        "best_eval_reward", "best eval reward", "number", "high", lambda run: run.job.best_eval_reward,
        kind="quality", primary=True,
    ),
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
    _of_curve("train_loss", "train loss", "loss", "none", "loss", lambda job: job.loss),
    _of_curve(
        "eval_loss", "eval loss", "loss", "low", "eval_loss", lambda job: job.eval_loss, kind="quality"
    ),
    Metric(
        "best_step", "best step", "number", "none", lambda run: run.job.best_step,
        lambda run: run.job.total_steps,
    ),
    Metric("learning_rate", "learning rate, set", "number", "none", _rate),
    _of_curve(
        "logged_learning_rate", "learning rate", "number", "none", "learning_rate",
        lambda job: job.learning_rate,
    ),
    _of_curve("grad_norm", "gradient norm", "number", "none", "grad_norm", lambda job: job.grad_norm),
    _of_curve(
        "samples_per_second", "samples", "rate", "high", "samples_per_second",
        lambda job: job.samples_per_second,
    ),
    _of_curve(
        "tokens_per_second", "tokens", "rate", "high", "tokens_per_second",
        lambda job: job.tokens_per_second,
    ),
    Metric(
        "total_tokens_processed", "tokens in all", "number", "none",
        lambda run: run.job.total_tokens_processed,
    ),
    Metric("gpu_memory_bytes", "GPU memory", "bytes", "low", _memory),
    Metric(
        "improvement_per_hour", "efficiency: eval loss an hour", "number", "high",
        pace, kind="quality",
    ),
    Metric(
        "improvement_per_epoch", "eval loss gained an epoch", "number", "high",
        lambda run: _share(run.gained, _epochs_gained_in(run)), kind="quality",
    ),
    Metric(
        "cost_per_hundredth", "cost of 0.01 eval loss", "dollars", "low", price_of_hundredth,
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


_LOW: Final = ("loss", "perplexity", "error", "kl")
_HIGH: Final = ("accurac", "exact_match", "overlap", "reward", "margin", "pass", "score")
"""What in a metric's name tells which end of it is the good one."""

_COVERED: Final = frozenset(
    {"gpu_utilization_percent", "gpu_memory_allocated_gb", *(metric.curve for metric in METRICS)}
)


def is_curve(name: str) -> bool:
    """Has that summary a curve? The predictions' scores have none."""
    return not name.startswith("prediction_")


def metrics_of(runs: Sequence[Run]) -> tuple[Metric, ...]:
    """The metrics that everybody knows, then all others that any of the runs has a curve of, by name."""
    names = {name for run in runs for name in run.summaries} - _COVERED
    rewarded = any(run.job.best_eval_reward is not None for run in runs)
    common = [metric for metric in METRICS if metric.name != "best_eval_reward" or rewarded]
    return (*common, *(_unknown(name) for name in sorted(names)))


def _unknown(name: str) -> Metric:
    """A metric that is known by its name alone."""
    plain = name.rpartition("/")[2].lower() if "rewards/" in name else name.lower()
    direction: Direction = "none"
    if name == "score" or any(part in plain for part in _LOW):
        direction = "low"
    elif any(part in name.lower() for part in _HIGH):
        direction = "high"
    unit: Unit = "percent" if plain.endswith("percent") else "loss" if "loss" in plain else "number"
    label = name.replace("_", " ")
    kind: Kind = "fact" if direction == "none" else "quality"
    taken = "curve_" if name in {metric.name for metric in METRICS} else ""
    return _of_curve(f"{taken}{name}", label, unit, direction, name, kind=kind)
