"""The losses of single eval examples as events tell them: with them checkpoints are compared in pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from engine.job.events import number

Losses = Mapping[int, tuple[float, ...]]
"""Step -> the loss of each eval example, nats, in one order for all steps."""

MOST: Final = 200
"""Evaluations that are looked at, the newest."""


def in_one_order(told: Iterable[tuple[int | None, Mapping[str, Any]]]) -> Losses:
    """The evaluations whose examples stand in the newest one's order; of a step the newest.

    Args:
        told: Step and data of `examples` events, the newest first.
    """
    found: dict[int, tuple[float, ...]] = {}
    newest: Mapping[str, Any] | None = None
    for step, data in told:
        newest = data if newest is None else newest
        losses = data.get("losses")
        if step is None or step in found or not isinstance(losses, list):
            continue
        if data.get("order") == newest.get("order"):
            found[step] = tuple(math.nan if (value := number(loss)) is None else value for loss in losses)
    return found
