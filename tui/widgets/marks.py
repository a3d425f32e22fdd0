"""The signs in a run's charts: the best checkpoint, the other checkpoints, alerts. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.snapshot import JobDetail
from engine.records import Curve
from tui.widgets.plot import Mark


def marks(detail: JobDetail, evals: Curve | None) -> Iterator[Mark]:
    """The signs of a chart: checkpoints and alerts where they happened, the best on its eval loss.

    Args:
        detail: The run.
        evals: The eval curve, if the chart draws it.
    """
    for checkpoint in detail.checkpoints:
        x = where(detail, checkpoint.step)
        if x is None:
            continue
        if checkpoint.is_best:
            y = checkpoint.eval_loss if evals is not None else None
            yield Mark(x, y, "★", "$warning", str(checkpoint.step) if evals is not None else "")
        else:
            yield Mark(x, None, "▴" if checkpoint.path else "▵", "$text-muted")
    for alert in detail.alerts:
        x = where(detail, alert.step) if alert.step and alert.severity != "info" else None
        if x is not None:
            yield Mark(x, None, "▲", "$warning" if alert.severity == "warning" else "$error")


def where(detail: JobDetail, step: int) -> float | None:
    """A step's place on the axis of a run's curves."""
    return float(step) if detail.view.axis == "step" else detail.at.get(step)
