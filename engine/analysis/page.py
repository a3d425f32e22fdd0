"""A comparison as one HTML page that stands alone: no scripts, nothing fetched, curves as SVG.

All text goes through the template engine's escaping, after controls and secrets were taken out of it;
the page's own policy forbids scripts and connections, should anything ever get past that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.analysis import format as words
from engine.analysis.compared import Comparison, Row
from engine.analysis.export import cell_text, correlation_sentences, one_line, setting_text, written
from engine.analysis.figures import HEIGHT, WIDTH, Figure, Trace, figure
from engine.analysis.history import model_of
from engine.analysis.places import place_of
from engine.analysis.reasons import names_of
from engine.records import Axis, Curve, Job

if TYPE_CHECKING:
    from jinja2 import Template

COLOURS: Final = ("#1667b0", "#b45f06", "#22793f", "#a8325e", "#6b46c1", "#8a7300", "#0f766e", "#7c4a21")
"""A run's colour by its number, on a light ground: the same hues as on the screen."""

Curves = Mapping[Axis, Mapping[str, Mapping[str, Curve]]]
"""Curves by axis, job id and metric."""

DRAWN: Final[tuple[tuple[str, Axis, tuple[str, ...]], ...]] = (
    ("eval loss, and train loss faint", "step", ("eval_loss", "loss")),
    ("eval loss", "dollars", ("eval_loss",)),
    ("checkpoint quality: score, lower is better", "step", ("score",)),
    ("throughput: tokens a second", "step", ("tokens_per_second",)),
)
"""The figures: title, x axis, and metrics, the first of which stands out."""

_BARS: Final = ("elapsed_seconds", "samples_per_second", "tokens_per_second", "cost_total")


@dataclass(frozen=True, slots=True)
class Bar:
    """One run's bar: its share of the longest, 0 to 100, and its value in words."""

    name: str
    colour: str
    share: float
    text: str


def to_html(
    comparison: Comparison,
    curves: Curves,
    *,
    title: str = "",
    notes: str = "",
    now: datetime | None = None,
) -> str:
    """The page.

    Args:
        comparison: What to show.
        curves: The curves of `DRAWN`; what is missing is left out.
        title: What the user called the comparison.
        notes: What the user noted of it.
        now: When it is written; by default this moment.
    """
    names = {job_id: one_line(name) for job_id, name in names_of(comparison.jobs).items()}
    models = words.listed(dict.fromkeys(one_line(model_of(job)) for job in comparison.jobs))
    return _template().render(
        title=one_line(title) or models,
        models=models,
        notes=[one_line(line) for line in notes.splitlines()],
        written=f"{(now or datetime.now(UTC)).astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        jobs=[_head(job, names[job.id], comparison) for job in comparison.jobs],
        rows=[_row(row) for row in comparison.rows],
        differences=[
            (one_line(item.key), [one_line(setting_text(item.key, value)) for value in item.values])
            for item in comparison.differences
        ],
        correlations=[one_line(text) for text in correlation_sentences(comparison)],
        advice={
            "headline": one_line(comparison.recommendation.headline),
            "reasons": [one_line(text) for text in comparison.recommendation.reasons],
            "caveats": [one_line(text) for text in comparison.recommendation.caveats],
            "changes": [one_line(text) for text in comparison.recommendation.changes],
        },
        figures=list(_figures(comparison, curves, names)),
        bars=list(_bars(comparison, names)),
        width=WIDTH,
        height=HEIGHT,
    )


@cache
def _template() -> Template:
    # Loading it takes longer than the rest of a start.
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8"))


def colour_of(job: Job) -> str:
    """A run's colour."""
    return COLOURS[(job.number - 1) % len(COLOURS)]


def _head(job: Job, name: str, comparison: Comparison) -> dict[str, Any]:
    standing = {item.job_id: item for item in comparison.recommendation.worse}[job.id]
    worse = f"{standing.worse * 100:.0f} % worse" if standing.worse else ""
    return {
        "name": name,
        "colour": colour_of(job),
        "status": job.status.value,
        "created": f"{job.created_at.astimezone(UTC):%Y-%m-%d}",
        "best": job.id == comparison.recommendation.job_id,
        "reference": job.id == comparison.reference,
        "worse": worse,
        "alarm": standing.advice in ("warn", "archive"),
    }


def _row(row: Row) -> dict[str, Any]:
    cells = [{"text": cell_text(row, cell), "best": cell.best and row.differs} for cell in row.cells]
    return {"label": one_line(row.label), "cells": cells, "primary": row.primary}


def _figures(comparison: Comparison, curves: Curves, names: Mapping[str, str]) -> Iterator[Figure]:
    for title, axis, metrics in DRAWN:
        known = curves.get(axis, {})
        traces = [
            Trace(names[job.id], colour_of(job), curve, _star(comparison, job, curve, metric), at > 0)
            for job in comparison.jobs
            for at, metric in enumerate(metrics)
            if (curve := known.get(job.id, {}).get(metric)) is not None
        ]
        if (found := figure(f"{title} × {axis}", axis, traces)) is not None:
            yield found


def _star(comparison: Comparison, job: Job, curve: Curve, metric: str) -> tuple[float, float] | None:
    """Where the best checkpoint is on the curve of the eval loss or the score."""
    best = next((item for item in comparison.checkpoints.get(job.id, ()) if item.is_best), None)
    if best is None or metric not in ("eval_loss", "score"):
        return None
    value = best.eval_loss if metric == "eval_loss" else best.score.total if best.score else None
    x = place_of(curve, best)
    drawn = {point.x for point in curve.points}
    inside = x is not None and bool(drawn) and min(drawn) <= x <= max(drawn)
    return (x, value) if inside and x is not None and value is not None else None


def _bars(comparison: Comparison, names: Mapping[str, str]) -> Iterator[tuple[str, Sequence[Bar]]]:
    for row in comparison.rows:
        values = [cell.value or 0.0 for cell in row.cells]
        if row.name not in _BARS or not max(values) > 0:
            continue
        longest = max(values)
        yield (
            row.label,
            [
                Bar(
                    names[job.id],
                    colour_of(job),
                    round(100 * value / longest, 1) if longest < 1e300 else 0.0,
                    written(cell.value, row.unit),
                )
                for job, cell, value in zip(comparison.jobs, row.cells, values, strict=True)
            ],
        )
