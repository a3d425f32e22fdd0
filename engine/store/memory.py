"""What the projection of a job remembers between two deliveries of its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Memory:
    """What the projection remembers of a job between two deliveries.

    Args:
        attempt: The attempt whose metrics count; those of earlier ones that still arrive do not.
        last_ts: When the newest event was written, seconds since 1970; 0 before the first.
        elapsed: Seconds that the job was not queued, paused or over.
        clock: Does that time run?
        gpu_sum: Sum of the GPU utilizations seen since the first step, percent.
        gpu_count: How many.
        trainer_memory: Does the trainer tell the GPU memory that it holds?
        pace: The last logged steps and the elapsed seconds at each.
        busy: The phase that the pod is in.
        spent: Seconds by phase, all attempts.
        unsaved: Seconds by phase since the newest checkpoint: what a crash would make worthless.
        evaluated: The newest eval's step, epoch, eval_loss, train_loss and score.
    """

    attempt: int = 0
    last_ts: float = 0.0
    elapsed: float = 0.0
    clock: bool = True
    gpu_sum: float = 0.0
    gpu_count: int = 0
    trainer_memory: bool = False
    pace: list[list[float]] = field(default_factory=list)
    busy: str = "idle"
    spent: dict[str, float] = field(default_factory=dict)
    unsaved: dict[str, float] = field(default_factory=dict)
    evaluated: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Memory:
        """What was remembered."""
        return cls(**{name: stored[name] for name in cls.__dataclass_fields__ if name in stored})

    def to_json(self) -> dict[str, Any]:
        """It as JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
