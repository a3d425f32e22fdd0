"""Events that measure something, and what they change: training steps, evaluations, heartbeats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from engine.job.events import Event, number, plain, stamp
from engine.records import Gpu
from engine.store.projection import Projection
from engine.store.rows import gpus_of
from engine.store.series import Kind
from engine.store.values import finite, mapping

RATE_WINDOW: Final = 50
"""Logged steps that the time left is estimated from."""

GPUS: Final = 16
"""GPUs of one machine that there are curves of."""

_LARGEST_EXPONENT: Final = 700.0
_X_NAMES: Final = frozenset({"step", "epoch", "tokens", "num_tokens", "num_input_tokens_seen", "total_flos"})
_SPECIAL: Final = ("NaN", "Infinity", "-Infinity")
_TRAIN_COLUMNS: Final = (
    "loss", "learning_rate", "grad_norm", "samples_per_second", "tokens_per_second", "train_perplexity",
    "gpu_memory_allocated_gb", "gpu_memory_reserved_gb",
)  # fmt: skip


def train(run: Projection, event: Event) -> None:
    """A logged training step."""
    if not run.counts(event):
        return
    run.started(event)
    values = measured(event.data)
    run.job |= {name: values[name] for name in _TRAIN_COLUMNS if name in values}
    run.memory.trainer_memory |= "gpu_memory_allocated_gb" in values
    run.move_to(event)
    pace = run.memory.pace
    if pace and pace[-1][0] >= (event.step or 0):
        pace.clear()
    pace.append([event.step or 0, run.memory.elapsed])
    del pace[:-RATE_WINDOW]
    run.put("train", event, run.named("train", values))


def evaluation(run: Projection, event: Event) -> None:
    """An evaluation with its score."""
    if not run.counts(event):
        return
    run.started(event)
    run.move_to(event)
    values, score = measured(event.data), mapping(event.data.get("score"))
    loss, train_loss = values.get("eval_loss"), values.pop("train_loss", None)
    if (total := number(score.get("total"))) is not None:
        values["score"] = total
    if loss is not None:
        run.job["eval_loss"] = loss
        run.job["perplexity"] = values.get("perplexity", math.exp(min(loss, _LARGEST_EXPONENT)))
    run.memory.evaluated = {
        "step": event.step,
        "epoch": finite(event.data.get("epoch")),
        "eval_loss": plain(loss),
        "train_loss": plain(train_loss),
        "score": dict(score),
    }
    kept = run.named("eval", values)
    if train_loss is not None:
        # Kept in its column, but no curve of its own: the training loss has one already.
        kept["train_loss"] = train_loss
    if (best := _best_reward(run, values.get("eval_reward"))) is not None:
        kept |= run.named("eval", {"best_eval_reward": best})
    run.put("eval", event, kept, _best_so_far(run, event.step or 0, loss))


def metric(run: Projection, event: Event) -> None:
    """Figures that are added to a step, which may lie behind the newest."""
    if not run.counts(event):
        return
    run.started(event)
    values, side = measured(event.data), event.data.get("kind")
    values.pop("train_loss", None)
    if side in ("train", "eval") and (event.step or 0) >= (run.job["current_step"] or 0):
        columns = _TRAIN_COLUMNS if side == "train" else ("eval_loss", "perplexity")
        run.job |= {name: values[name] for name in columns if name in values}
        run.move_to(event)
    kind: Kind = "eval" if side == "eval" else "train"
    run.join(kind, event, run.named(kind, values))


def heartbeat(run: Projection, event: Event) -> None:
    """A sign of life with the machine's figures."""
    job, memory = run.job, run.memory
    job["last_heartbeat_at"] = stamp(event.ts)
    gpus = gpus_of(event.data)[:GPUS]
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
    figures: dict[str, Any] = {name: finite(value) for name, value in mapping(event.data.get("host")).items()}
    for gpu in gpus:
        figures |= _figures(gpu)
    values = run.named("host", {name: value for name, value in figures.items() if value is not None})
    if values:
        run.put("host", event, values)


def measured(data: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an event that are metrics; NaN and infinities too."""
    found = {}
    for name, value in data.items():
        if name in _X_NAMES:
            continue
        if value.__class__ is float:
            found[name] = value
        elif (isinstance(value, int) or value in _SPECIAL) and (figure := number(value)) is not None:
            found[name] = figure
    return found


def _best_so_far(run: Projection, step: int, loss: float | None) -> dict[str, Any]:
    """The lowest eval loss up to a row: a function of the row before it and of its own."""
    last = run.series["eval"].last
    facts = dict(last.facts) if last else {}
    epoch, best = run.job["current_epoch"], facts.get("best_eval_loss")
    if loss is not None and math.isfinite(loss) and (best is None or loss < best):
        facts |= {"best_eval_loss": loss, "best_epoch": epoch, "best_step": step}
    since = facts.get("best_epoch")
    if since is not None and epoch is not None:
        facts["epochs_without_improvement"] = max(0, int(epoch - since))
    return facts


def _best_reward(run: Projection, reward: float | None) -> float | None:
    """The highest eval reward up to a row: a function of the row before it and of its own."""
    last = run.series["eval"].last
    known = (last.values.get("best_eval_reward") if last else None, reward)
    return max((value for value in known if value is not None and math.isfinite(value)), default=None)


def _figures(gpu: Gpu) -> dict[str, float | None]:
    """One GPU's figures by the names of their curves."""
    return {
        f"gpu{gpu.index}_utilization_percent": gpu.utilization_percent,
        f"gpu{gpu.index}_memory_used_gb": gpu.memory_used_gb,
        f"gpu{gpu.index}_temperature_c": gpu.temperature_c,
        f"gpu{gpu.index}_power_w": gpu.power_w,
    }
