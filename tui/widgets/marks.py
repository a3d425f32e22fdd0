"""The signs in a run's chart: the best checkpoint, the other checkpoints, alerts. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.snapshot import JobDetail
from engine.records import Checkpoint, Curve
from tui.widgets.plot import Mark


def marks(detail: JobDetail, evals: Curve | None) -> Iterator[Mark]:
    """The signs of a chart that draws this eval curve.

    Alerts know their step only, so that other axes don't show them.
    """
    if evals is None:
        return
    for checkpoint in detail.checkpoints:
        x = place_of(evals, checkpoint)
        if x is None:
            continue
        if checkpoint.is_best:
            yield Mark(x, checkpoint.eval_loss, "★", "$warning", str(checkpoint.step))
        else:
            yield Mark(x, None, "▴" if checkpoint.path else "▵", "$text-muted")
    if evals.axis == "step":
        for alert in detail.alerts:
            if alert.step and alert.severity != "info":
                yield Mark(alert.step, None, "▲", "$warning" if alert.severity == "warning" else "$error")


def place_of(evals: Curve, checkpoint: Checkpoint) -> float | None:
    """Where on the x axis a checkpoint is: where the eval curve has its eval loss."""
    if evals.axis == "step":
        return float(checkpoint.step)
    loss = checkpoint.eval_loss
    if loss is None:
        return None
    spare = 1e-9 + abs(loss) * 1e-6
    return next((point.x for point in evals.points if point.low - spare <= loss <= point.high + spare), None)
