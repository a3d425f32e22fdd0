"""What a run was to reach, and what it has: tiers with value, threshold and margin, and flags. Pure.

The best value of a metric counts, not the last. A change is measured from the metric's first value, as in
«−20 % minimum, −30 % strong, −40 % exceptional» of a validation loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from statistics import median
from typing import TYPE_CHECKING, Any, Final, Literal

from engine.analysis import format as words
from engine.analysis.health import Flag
from engine.records import Curve, Job, MetricSummary

if TYPE_CHECKING:
    from engine.job.judging import Condition, CriteriaSpec, FlagsSpec

_LEAST_LAYERS: Final = 3
"""Layers of which one can stand out."""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of a tier.

    Args:
        metric: Which metric.
        wanted: The condition as it was written.
        value: The best value so far; None where there is none.
        first: The first value.
        change: (value − first) / |first|; None where that means nothing.
        threshold: The value that the condition asks for; None while it is not known.
        margin: By how much it is met, in the metric's unit; negative is missed.
        at: Where the best value was: an epoch, or a step where the run has no epochs.
        met: Is it met? None while nothing is known.
    """

    metric: str
    wanted: str
    value: float | None = None
    first: float | None = None
    change: float | None = None
    threshold: float | None = None
    margin: float | None = None
    at: float | None = None
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier: met when all of its checks are; None while none fails and one is unknown."""

    name: Literal["minimum", "strong", "exceptional"]
    met: bool | None
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands to its criteria.

    Args:
        tiers: Those that ask for something, from the least to the most.
        reached: The highest tier that is met together with all below it.
        flags: What is wrong whatever was reached.
    """

    tiers: tuple[Tier, ...]
    reached: str | None
    flags: tuple[Flag, ...] = ()


Read = Callable[[str], Curve | None]
"""A metric's curve along its epochs or steps, with its very first point as its own; None for no metric."""


def criteria_of(config: Mapping[str, Any]) -> CriteriaSpec | None:
    """The criteria of a job's configuration; None where there are none, or none that make sense."""
    given = config.get("criteria")
    if not isinstance(given, Mapping):
        return None
    from engine.job.judging import CriteriaSpec  # its validation library takes a while to load

    try:
        return CriteriaSpec.model_validate(given)
    except ValueError:
        return None


def standing(
    criteria: CriteriaSpec, job: Job, read: Read, summaries: Mapping[str, MetricSummary]
) -> Standing:
    """How a run stands.

    Args:
        criteria: What it was to reach.
        job: The run.
        read: Gives a metric's curve.
        summaries: All of its metrics in a few numbers.
    """
    from engine.job.judging import TIERS

    tiers = []
    for name in TIERS:
        wanted: Mapping[str, str] = getattr(criteria, name)
        if wanted:
            checks = tuple(check(metric, text, read(metric)) for metric, text in wanted.items())
            tiers.append(Tier(name, _all(item.met for item in checks), checks))
    reached = None
    for tier in tiers:
        if not tier.met:
            break
        reached = tier.name
    flags = tuple(_flags(criteria.flags, job, summaries, tiers, read))
    return Standing(tuple(tiers), reached, flags)


def _all(answers: Iterator[bool | None]) -> bool | None:
    known = list(answers)
    if False in known:
        return False
    return None if None in known else True


def check(metric: str, wanted: str, curve: Curve | None) -> Check:
    """One condition against a metric's curve."""
    from engine.job.judging import Condition

    condition = Condition.parse(wanted)
    points = curve.points if curve is not None else ()
    if not points:
        return Check(metric, wanted)
    first = points[0].mean
    best = min(points, key=lambda p: p.low) if condition.down else max(points, key=lambda p: p.high)
    value = best.low if condition.down else best.high
    threshold = first + condition.bound * abs(first) if condition.sign == "%" else condition.bound
    return Check(
        metric,
        wanted,
        value,
        first,
        (value - first) / abs(first) if first else None,
        threshold,
        threshold - value if condition.down else value - threshold,
        best.x,
        _met(condition, value, threshold),
    )


def _met(condition: Condition, value: float, threshold: float) -> bool:
    if condition.sign in ("<", ">"):
        return value < threshold if condition.down else value > threshold
    # «−20 %» is met at −20 % itself, whatever the arithmetic made of it.
    near = math.isclose(value, threshold, rel_tol=1e-9)
    return near or (value <= threshold if condition.down else value >= threshold)


def _flags(
    flags: FlagsSpec, job: Job, summaries: Mapping[str, MetricSummary], tiers: list[Tier], read: Read
) -> Iterator[Flag]:
    if flags.nan:
        yield from _not_finite(job, tiers, read)
    norm = summaries.get("grad_norm", MetricSummary())
    if flags.exploding is not None and norm.high is not None and norm.high > flags.exploding:
        text = f"gradient norm up to {words.short(norm.high)}: above {flags.exploding:g} it explodes"
        yield Flag("exploding", "error", text)
    if flags.vanishing is not None and norm.low is not None and 0 <= norm.low < flags.vanishing:
        text = f"gradient norm down to {words.short(norm.low)}: below {flags.vanishing:g} it vanishes"
        yield Flag("vanishing", "warning", text)
    yield from _layer(flags, summaries)
    yield from _overfitted(flags, summaries)
    used = job.gpu_utilization_percent
    if flags.gpu_percent is not None and used is not None and used < flags.gpu_percent:
        text = f"GPU {used:.0f} % busy, below {flags.gpu_percent:.0f} %: raise the batch"
        yield Flag("gpu_idle", "warning", text)


def _not_finite(job: Job, tiers: list[Tier], read: Read) -> Iterator[Flag]:
    named = dict.fromkeys(["loss", "eval_loss", *(item.metric for tier in tiers for item in tier.checks)])
    broken = [name for name in named if (curve := read(name)) is not None and curve.bad]
    if broken:
        yield Flag("nan", "error", f"not a finite number at times: {words.listed(broken)}")


def _layer(flags: FlagsSpec, summaries: Mapping[str, MetricSummary]) -> Iterator[Flag]:
    if flags.layer_ratio is None:
        return
    norms = {
        name: summary.last
        for name, summary in summaries.items()
        if summary.last is not None and fnmatchcase(name, flags.gradients) and not name.endswith("grad_norm")
    }
    middle = median(norms.values()) if len(norms) >= _LEAST_LAYERS else 0.0
    if middle <= 0:
        return
    name, norm = max(norms.items(), key=lambda item: item[1])
    if norm > flags.layer_ratio * middle:
        layer = name.rpartition("/")[2]
        text = f"{layer}: gradient norm {words.short(norm)}, {norm / middle:.0f} times the median layer's"
        yield Flag("layer", "warning", text)


def _overfitted(flags: FlagsSpec, summaries: Mapping[str, MetricSummary]) -> Iterator[Flag]:
    loss = summaries.get("eval_loss", MetricSummary())
    if flags.overfitting is None or loss.low is None or loss.last is None or loss.low <= 0:
        return
    risen = loss.last / loss.low - 1
    if risen > flags.overfitting:
        now, lowest = words.loss(loss.last), words.loss(loss.low)
        text = f"eval loss {now} is {risen * 100:.0f} % above its lowest, {lowest}"
        yield Flag("overfitting", "warning", text)
