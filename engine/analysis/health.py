"""Red flags of a run: what somebody who pays for it should look at now. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from engine.analysis import format as words
from engine.job.events import Status, number
from engine.records import Alert, Job, Trend

SILENT_SECONDS: Final = 60.0
"""A running job without a heartbeat for longer is suspected, and after five times that assumed, dead."""

EXPLODING: Final = 100.0
VANISHING: Final = 0.001
"""Gradient norms beyond which training learns nothing good."""

OVERFITTING: Final = 0.05
"""How far the eval loss may rise above its lowest, as a fraction."""

BUSY: Final = 80.0
"""GPU utilization below which a larger batch pays, percent."""

SETTLED: Final = 20
"""Steps before the GPU's utilization means anything."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Something that is wrong with a run.

    Args:
        name: `stalled`, `nan`, `exploding`, `vanishing`, `overfitting`, `gpu_idle`, `failed`.
        severity: `error` where money or quality is being lost now, else `warning`.
        message: One sentence with its number.
    """

    name: str
    severity: Literal["warning", "error"]
    message: str


def red_flags(
    job: Job, now: datetime, *, trend: Trend | None = None, alerts: Sequence[Alert] = ()
) -> tuple[Flag, ...]:
    """What is wrong with a run, the worst first.

    Args:
        job: The run.
        now: The laptop's time, UTC.
        trend: The newest verdict on its losses.
        alerts: Its alerts; those of errors count as flags, each name once.
    """
    flags = [
        *_silence(job, now),
        *_losses(job, trend),
        *_gradients(job),
        *_overfitting(job, trend),
        *_gpu(job),
    ]
    named = {flag.name for flag in flags}
    for alert in reversed(alerts):
        if alert.severity == "error" and alert.alert not in named and alert.alert not in _SAME.values():
            named.add(alert.alert)
            flags.append(Flag(alert.alert, "error", alert.message))
    return tuple(sorted(flags, key=lambda flag: flag.severity != "error"))


_SAME: Final = {"nan": "loss_nan", "overfitting": "overfitting", "stalled": "stall"}
"""Our flags and the alerts that say the same."""


def heartbeat_age(job: Job, now: datetime) -> float | None:
    """Seconds since the last sign of life; None when there was none. A clock ahead of ours counts as now."""
    if job.last_heartbeat_at is None:
        return None
    return max(0.0, (now - job.last_heartbeat_at).total_seconds())


def _silence(job: Job, now: datetime) -> Iterator[Flag]:
    age = heartbeat_age(job, now)
    if job.status is Status.RUNNING and age is not None and age > SILENT_SECONDS:
        severity: Literal["warning", "error"] = "error" if age > 5 * SILENT_SECONDS else "warning"
        yield Flag("stalled", severity, f"no heartbeat for {words.duration(age)}")


def _losses(job: Job, trend: Trend | None) -> Iterator[Flag]:
    broken = [
        name
        for name, value in (
            ("loss", job.loss),
            ("eval loss", job.eval_loss),
            ("gradient norm", job.grad_norm),
        )
        if value is not None and not math.isfinite(value)
    ]
    if broken:
        yield Flag(
            "nan", "error", f"{words.listed(broken)} not finite at step {words.count(job.current_step)}"
        )
    elif trend is not None and trend.verdict == "nan":
        yield Flag("nan", "error", trend.evidence or "a loss was not finite")


def _gradients(job: Job) -> Iterator[Flag]:
    if job.status.ended:
        return
    norm, (largest, most), (smallest, least) = job.grad_norm, _layer(job, "largest"), _layer(job, "smallest")
    norm = norm if norm is not None and math.isfinite(norm) else None
    if norm is not None and norm > EXPLODING:
        where = f", most in {largest}" if largest else ""
        yield Flag("exploding", "error", f"gradient norm {words.short(norm)}{where}: {_EXPLODING}")
    elif most > EXPLODING:
        yield Flag("exploding", "error", f"gradient norm {words.short(most)} in {largest}: {_EXPLODING}")
    if norm is not None and 0 <= norm < VANISHING:
        where = f", least in {smallest}" if smallest else ""
        yield Flag("vanishing", "warning", f"gradient norm {words.short(norm)}{where}: {_VANISHING}")
    elif 0 <= least < VANISHING:
        text = f"gradient norm {words.short(least)} in {smallest}: vanishing, that layer hardly learns"
        yield Flag("vanishing", "warning", text)


_EXPLODING: Final = "exploding, lower the learning rate"
_VANISHING: Final = "vanishing, nothing is learnt"


def _layer(job: Job, which: str) -> tuple[str, float]:
    """The layer with the largest or smallest gradient of the newest close look; "" and NaN when unknown."""
    gradients = job.metadata.get("gradients")
    told = gradients.get(which) if isinstance(gradients, Mapping) else None
    if not isinstance(told, Mapping):
        return "", math.nan
    norm = number(told.get("norm"))
    return (str(told.get("layer")), norm) if norm is not None and math.isfinite(norm) else ("", math.nan)


def _overfitting(job: Job, trend: Trend | None) -> Iterator[Flag]:
    if job.status.ended:
        return
    if trend is not None and trend.verdict == "overfitting":
        yield Flag("overfitting", "error", trend.evidence or "the eval loss rises while the train loss falls")
        return
    loss, best, train = job.eval_loss, job.best_eval_loss, job.loss
    if loss is None or best is None or train is None or best <= 0 or not math.isfinite(loss) or train >= loss:
        return
    risen = loss / best - 1
    if risen > OVERFITTING:
        text = f"eval loss {words.loss(loss)} is {risen * 100:.0f} % above its lowest, {words.loss(best)}"
        yield Flag("overfitting", "warning", text)


def _gpu(job: Job) -> Iterator[Flag]:
    used = job.gpu_utilization_percent
    if used is None or job.status.ended or (job.current_step or 0) < SETTLED or used >= BUSY:
        return
    yield Flag("gpu_idle", "warning", f"GPU {used:.0f} % busy: a larger batch would use what is paid for")
