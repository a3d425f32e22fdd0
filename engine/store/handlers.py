"""Which type of event changes what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from engine.job.events import Event, EventType
from engine.store import artifacts, closeup, lifecycle, measured, spent
from engine.store.projection import Projection

HANDLERS: Final[Mapping[str, Callable[[Projection, Event], None]]] = {
    EventType.START: lifecycle.start,
    EventType.STATE: lifecycle.state,
    EventType.ALERT: lifecycle.alert,
    EventType.PHASE: lifecycle.phase,
    EventType.TREND: lifecycle.trend,
    EventType.RESULT: lifecycle.result,
    EventType.TRAIN: measured.train,
    EventType.EVAL: measured.evaluation,
    EventType.METRIC: measured.metric,
    EventType.HEARTBEAT: measured.heartbeat,
    EventType.GRADIENTS: closeup.gradients,
    EventType.TOKENS: closeup.tokens,
    EventType.MEMORY: closeup.memory,
    EventType.CHECKPOINT: artifacts.checkpoint,
    EventType.PREDICTION: artifacts.prediction,
}
"""Recoveries, and most alerts, change no row: they are read from the events themselves."""


def apply(run: Projection, event: Event) -> None:
    """Take in one event, whatever a pod may have put into its data."""
    spent.before(run.memory, event)
    run.tick(event)
    if handler := HANDLERS.get(event.type):
        handler(run, event)
    spent.after(run.memory, event)
