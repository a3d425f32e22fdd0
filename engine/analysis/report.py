"""The convergence report of one run: what it was to reach, what it has, and how its curves went. Pure.

Every value in it comes from stored curves and checkpoints; nothing is estimated, and what is not known is —.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from engine.analysis import format as words
from engine.analysis.criteria import Standing, Tier
from engine.analysis.health import Flag
from engine.analysis.panels import Panel
from engine.records import Alert, Checkpoint, Curve, Job, Trend

_MAIN: Final = ("loss", "eval_loss", "eval_reward", "grad_norm", "learning_rate")
_MOST: Final = 60
"""Curves of one section."""
_HOST: Final = ("gpu", "cpu_percent", "memory_", "disk_free_gb")
"""The machine's figures, which are of no concern here."""
_FLAT: Final = 0.01
"""A change of the lowest loss, over the last fifth of a run, that counts as none."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One curve in few numbers; x is an epoch, or a step where the run has no epochs.

    Args:
        metric: Its name.
        first: The first value.
        last: The last one.
        low: The least.
        low_at: Its x.
        high: The greatest.
        high_at: Its x.
        points: How many were recorded.
        not_finite: At how many x a value was no finite number, as far as they are kept.
    """

    metric: str
    first: float
    last: float
    low: float
    low_at: float
    high: float
    high_at: float
    points: int
    not_finite: int = 0

    @property
    def change(self) -> float | None:
        """From the first value to the last, as a fraction."""
        return (self.last - self.first) / abs(self.first) if self.first else None


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report.

    Args:
        job: The run.
        standing: How it stands to its criteria; None where it has none.
        flags: What is wrong with it.
        best: The best checkpoint by score.
        lowest: The eval loss, or else the training loss, in few numbers.
        verdict: One sentence on whether it converged.
        groups: Title -> the curves that are looked at together.
        checkpoints: By step.
        alerts: Oldest first.
        trend: The newest verdict of the trend.
    """

    job: Job
    standing: Standing | None
    flags: tuple[Flag, ...]
    best: Checkpoint | None
    lowest: Summary | None
    verdict: str
    groups: Mapping[str, tuple[Summary, ...]]
    checkpoints: tuple[Checkpoint, ...]
    alerts: tuple[Alert, ...]
    trend: Trend | None

    def to_json(self) -> dict[str, Any]:
        """It as values that a program reads, the run aside."""
        return {
            "verdict": self.verdict,
            "standing": asdict(self.standing) if self.standing else None,
            "flags": [asdict(flag) for flag in self.flags],
            "best_step": self.best.step if self.best else None,
            "best_epoch": self.best.epoch if self.best else None,
            "lowest": asdict(self.lowest) if self.lowest else None,
            "curves": {name: [asdict(item) for item in items] for name, items in self.groups.items()},
            "alerts": [asdict(alert) for alert in self.alerts],
            "trend": asdict(self.trend) if self.trend else None,
        }


def report(
    job: Job,
    read: Callable[[str], Curve | None],
    names: Sequence[str],
    *,
    standing: Standing | None = None,
    flags: Sequence[Flag] = (),
    panels: Sequence[Panel] = (),
    checkpoints: Sequence[Checkpoint] = (),
    alerts: Sequence[Alert] = (),
    trend: Trend | None = None,
) -> Report:
    """Put a report together.

    Args:
        job: The run.
        read: Gives a metric's curve along epochs or steps.
        names: The metrics that it has.
        standing: How it stands to its criteria.
        flags: Red flags besides those of the criteria.
        panels: What is looked at together.
        checkpoints: By step.
        alerts: Oldest first.
        trend: The newest verdict.
    """
    curves = {name: curve for name in names if (curve := read(name)) is not None and curve.points}
    told = {name: summary(curve) for name, curve in curves.items()}
    every = {flag.name: flag for flag in (*flags, *(standing.flags if standing else ()))}
    lowest = told.get("eval_loss") or told.get("loss")
    return Report(
        job,
        standing,
        tuple(every.values()),
        next((item for item in checkpoints if item.is_best), None),
        lowest,
        verdict(curves.get(lowest.metric) if lowest else None),
        _groups(told, panels),
        tuple(checkpoints),
        tuple(alerts),
        trend,
    )


def summary(curve: Curve) -> Summary:
    """A curve in few numbers."""
    points = curve.points
    low, high = min(points, key=lambda p: p.low), max(points, key=lambda p: p.high)
    first, last = points[0].mean, points[-1].mean
    return Summary(curve.metric, first, last, low.low, low.x, high.high, high.x, curve.total, len(curve.bad))


def verdict(curve: Curve | None) -> str:
    """Whether a loss has converged, in a sentence."""
    if curve is None or len(curve.points) < 2:
        return "Too little was recorded to say whether it converged."
    found, points = summary(curve), curve.points
    name = "eval loss" if curve.metric == "eval_loss" else curve.metric
    fallen = words.change((found.low - found.first) / abs(found.first) if found.first else None)
    text = f"The {name} went from {words.loss(found.first)} to {words.loss(found.low)} ({fallen}) "
    text += f"at {curve.axis} {words.short(found.low_at)} of {words.short(points[-1].x)}"
    tail = max(1, len(points) // 5)
    before = min(point.low for point in points[:-tail])
    gained = (before - min(point.low for point in points[-tail:])) / abs(before) if before else 0.0
    if found.last > found.low + 0.05 * abs(found.low):
        return f"{text}, and has risen to {words.loss(found.last)} since: it overfits, or diverges."
    if gained > _FLAT:
        return f"{text}; it was still falling at the end: longer training may gain more."
    return f"{text}; over the last fifth it gained {max(0.0, gained) * 100:.1f} %: it has converged."


def _groups(told: Mapping[str, Summary], panels: Sequence[Panel]) -> dict[str, tuple[Summary, ...]]:
    """The curves by panel; those of none by themselves."""
    main = [told[name] for name in _MAIN if name in told]
    groups = {"Main": tuple(main)} if main else {}
    seen = {item.metric for item in main}
    for panel in panels:
        found = tuple(told[name] for name in panel.metrics if name in told)
        if found:
            groups[panel.name] = found[:_MOST]
            seen |= {item.metric for item in found}
    rest = [item for name, item in told.items() if name not in seen and not name.startswith(_HOST)]
    if rest:
        groups["Others"] = tuple(rest[:_MOST])
    return groups


def markdown(found: Report) -> str:
    """The report as Markdown."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Report) -> Iterator[str]:
    job = found.job
    yield f"# Convergence report: {_plain(job.name)}"
    yield ""
    yield _plain(found.verdict)
    yield ""
    yield from _table(("", ""), _facts(found))
    if found.standing is not None:
        yield from ("", "## Success criteria", "", f"Reached: **{found.standing.reached or 'none'}**", "")
        head = ("tier", "metric", "wanted", "best", "at", "threshold", "margin", "met")
        yield from _table(head, (row for tier in found.standing.tiers for row in _tier(tier)))
    yield from ("", "## Flags", "")
    yield from [f"- **{flag.name}** ({flag.severity}): {_plain(flag.message)}" for flag in found.flags] or [
        "None."
    ]
    if found.checkpoints:
        yield from ("", "## Checkpoints", "")
        columns = ("step", "epoch", "eval loss", "train loss", "score", "")
        yield from _table(columns, map(_checkpoint, found.checkpoints))
    for name, items in found.groups.items():
        yield from ("", f"## Curves: {_plain(name)}", "")
        names = ("metric", "first", "lowest", "at", "highest", "at", "last", "change", "points")
        yield from _table(names, map(_curve, items))
    if found.alerts:
        yield from ("", "## Alerts", "")
        yield from (
            f"- {alert.ts:%Y-%m-%d %H:%M} {alert.alert}: {_plain(alert.message)}" for alert in found.alerts
        )


def _facts(found: Report) -> Iterator[tuple[str, str]]:
    job, best = found.job, found.best
    yield "model", _plain(job.model_name or words.UNKNOWN)
    yield "method", _plain(job.method or words.UNKNOWN)
    yield "status", str(job.status) + (f": {_plain(job.error_message)}" if job.error_message else "")
    epochs = f"{words.short(job.current_epoch)} of {words.short(job.total_epochs)}"
    yield "epochs", epochs
    yield "steps", f"{words.count(job.current_step)} of {words.count(job.total_steps)}"
    yield "best checkpoint", f"step {best.step}, epoch {words.short(best.epoch)}" if best else words.UNKNOWN
    if found.lowest is not None:
        at = f"{words.loss(found.lowest.low)} at {words.short(found.lowest.low_at)}"
        yield f"lowest {found.lowest.metric}", at
    yield "time", words.duration(job.elapsed_seconds)
    yield "cost", words.dollars(job.cost_total)
    yield "trend", _plain(found.trend.evidence) if found.trend else words.UNKNOWN


def _tier(tier: Tier) -> Iterator[tuple[str, ...]]:
    for check in tier.checks:
        yield (
            tier.name,
            f"`{_plain(check.metric)}`",
            _plain(check.wanted),
            words.short(check.value) + (f" ({words.change(check.change)})" if "%" in check.wanted else ""),
            words.short(check.at),
            words.short(check.threshold),
            words.short(check.margin),
            {True: "yes", False: "no", None: words.UNKNOWN}[check.met],
        )


def _checkpoint(row: Checkpoint) -> tuple[str, ...]:
    total = row.score.total if row.score else None
    marks = [mark for mark, so in (("best", row.is_best), ("lowest eval", row.is_lowest_eval_loss)) if so]
    losses = (words.loss(value) for value in (row.eval_loss, row.train_loss, total))
    return (str(row.step), words.short(row.epoch), *losses, ", ".join(marks))


def _curve(item: Summary) -> tuple[str, ...]:
    numbers = (item.first, item.low, item.low_at, item.high, item.high_at, item.last)
    points = f"{item.points}" + (f", {item.not_finite} not finite" if item.not_finite else "")
    return (f"`{_plain(item.metric)}`", *map(words.short, numbers), words.change(item.change), points)


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _plain(text: str) -> str:
    """Text from a run as one line that Markdown does not take for anything."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return "".join(f"\\{character}" if character in "|`<>*[]" else character for character in shown)
