"""A run that somebody trained, as far as its files tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engine.job.examples import Losses
from scorer import CheckpointMetrics, Score

Source = Literal["folder", "state", "job", "table"]
"""A run folder with checkpoint-*, one trainer_state.json, a Podium job folder, a CSV or JSONL file."""


@dataclass(frozen=True, slots=True)
class ForeignCheckpoint:
    """One checkpoint, or an eval whose checkpoint is not there.

    Args:
        step: The optimizer step.
        epoch: The epoch, if it was logged.
        metrics: Its numbers, for the scorer.
        path: Its folder; None where there is none.
        complete: Could it be loaded, as far as can be seen without loading it?
        problem: What is wrong with it, a clause; empty when nothing is.
        size_bytes: The size of its files, if known.
        verified: Did a pod find every hash of its files right?
        stored: The score that was stored with it, if one was.
    """

    step: int
    epoch: float | None
    metrics: CheckpointMetrics
    path: Path | None = None
    complete: bool = True
    problem: str = ""
    size_bytes: int | None = None
    verified: bool = False
    stored: Score | None = None


@dataclass(frozen=True, slots=True)
class ForeignRun:
    """A run and its checkpoints.

    Args:
        name: The name of its folder or file.
        checkpoints: By step, each step once.
        source: What it was read from.
        path: Where.
        formula: The formula that its numbers call for.
        losses: Of single eval examples, by step; empty where nobody told them.
    """

    name: str
    checkpoints: tuple[ForeignCheckpoint, ...]
    source: Source
    path: Path
    formula: str
    losses: Losses = field(default_factory=dict)
