"""The table of a comparison: every metric of every run, deltas, and who has the best of each. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from engine.analysis.compared import STATISTICS, Cell, Row
from engine.analysis.metrics import Metric, Run, known, metrics_of
from engine.job.events import Status


def rows(runs: Sequence[Run], reference: str, *, comparable: bool = True) -> tuple[Row, ...]:
    """The table.

    Args:
        runs: The runs, in the order of the cells.
        reference: The id of the run that deltas are against.
        comparable: Do the runs' eval losses mean the same? If not, no quality is called best or better.
    """
    return tuple(_row(metric, runs, reference, comparable) for metric in metrics_of(runs))


def _row(metric: Metric, runs: Sequence[Run], reference: str, comparable: bool) -> Row:
    values = [metric.value(run) for run in runs]
    judged = comparable or metric.kind != "quality"
    best = _best(metric, runs, values) if judged and len(runs) > 1 else None
    against = next(value for run, value in zip(runs, values, strict=True) if run.job.id == reference)
    cells = []
    for run, value in zip(runs, values, strict=True):
        is_reference = run.job.id == reference
        compared = judged and not is_reference and metric.direction != "none"
        delta = _delta(value, against) if compared else None
        candidate = best is not None and value == best and _candidate(metric, run)
        cells.append(Cell(value, metric.of(run), delta, candidate))
    measured = bool(metric.curve)
    label = f"{metric.label}, {STATISTICS[runs[0].statistic]}" if measured else metric.label
    return Row(metric.name, label, metric.unit, metric.direction, tuple(cells), metric.primary, measured)


def _best(metric: Metric, runs: Sequence[Run], values: Sequence[float | None]) -> float | None:
    """The best value of the row; None when there is none or nothing to be better than."""
    if metric.direction == "none":
        return None
    candidates = [
        value
        for run, given in zip(runs, values, strict=True)
        if (value := known(given)) is not None and _candidate(metric, run)
    ]
    if len(candidates) < 2:
        return None
    return min(candidates) if metric.direction == "low" else max(candidates)


def _candidate(metric: Metric, run: Run) -> bool:
    """May the run be the best? One that broke off is not the cheapest for it."""
    return metric.kind != "price" or run.job.status is Status.COMPLETED


def _delta(value: float | None, against: float | None) -> float | None:
    """Relative difference, as a fraction; None where it has no meaning."""
    value, against = known(value), known(against)
    return None if value is None or not against else (value - against) / abs(against)
