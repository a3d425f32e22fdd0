"""Where on a chart's x axis a checkpoint is. Pure."""

from __future__ import annotations

from engine.records import Checkpoint, Curve


def place_of(evals: Curve, checkpoint: Checkpoint) -> float | None:
    """Where on the x axis a checkpoint is: where the eval curve has its eval loss."""
    if evals.axis == "step":
        return float(checkpoint.step)
    loss = checkpoint.eval_loss
    if loss is None:
        return None
    spare = 1e-9 + abs(loss) * 1e-6
    return next((point.x for point in evals.points if point.low - spare <= loss <= point.high + spare), None)
