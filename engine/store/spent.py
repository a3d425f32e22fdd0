"""Where a run's time goes, phase by phase, as its events tell: the waste ledger's raw material."""

from __future__ import annotations

from typing import Final

from engine.job.events import Event, EventType, Status, busy_with
from engine.store.memory import Memory

CRASHED: Final = "crashed"
"""The phase that time belongs to once a crash has made it worthless."""

MOST_PHASES: Final = 50
"""A pod that makes up more phases than this has its time counted under the last of them."""

_IDLE: Final = "idle"


def before(memory: Memory, event: Event) -> None:
    """Count the time up to an event, before its moment becomes the newest; a clock that steps back stands."""
    passed = event.ts.timestamp() - memory.last_ts
    if not memory.last_ts or passed <= 0:
        return
    phase = memory.busy
    if phase not in memory.spent and len(memory.spent) >= MOST_PHASES:
        phase = next(reversed(memory.spent))
    memory.spent[phase] = memory.spent.get(phase, 0.0) + passed
    if phase != _IDLE:
        memory.unsaved[phase] = memory.unsaved.get(phase, 0.0) + passed


def after(memory: Memory, event: Event) -> None:
    """What the pod is busy with from an event on, and what a checkpoint secures or a crash takes."""
    memory.busy = busy_with(event, memory.busy)[:60]
    if event.type == EventType.CHECKPOINT and event.data.get("removed") is not True:
        memory.unsaved = {}
    elif _crash(event):
        for phase, seconds in memory.unsaved.items():
            memory.spent[phase] = memory.spent.get(phase, 0.0) - seconds
            memory.spent[CRASHED] = memory.spent.get(CRASHED, 0.0) + seconds
        memory.unsaved = {}


def _crash(event: Event) -> bool:
    """Did the attempt, or the whole job, fail?"""
    if event.type == EventType.STATE:
        return event.data.get("status") == Status.FAILED
    return event.type == EventType.RECOVERY and event.step is None
