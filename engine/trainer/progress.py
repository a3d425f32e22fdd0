"""What a resume must know beyond weights and optimizer: saved in each checkpoint as `progress.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from engine.job.events import number, plain
from engine.job.folder import write_json

FILE: Final = "progress.json"
KEPT: Final = 100
"""Logged losses that are remembered: the trend's window."""


@dataclass(slots=True)
class Progress:
    """How far the job is.

    Args:
        tokens: Tokens trained on, all attempts.
        loss_sum: Losses of the steps since the last log, summed (nats a token).
        logged_step: The step of the last log.
        losses: The last logged training losses with their steps, newest last.
        evals: Every evaluation's step and loss, newest last.
        evals_without_better: Evaluations since the best score.
        finished: Did early stopping end the training?
        seconds: Seconds of training, all attempts.
    """

    tokens: int = 0
    loss_sum: float = 0.0
    logged_step: int = 0
    losses: list[tuple[int, float]] = field(default_factory=list)
    grad_norms: list[tuple[int, float]] = field(default_factory=list)
    evals: list[tuple[int, float]] = field(default_factory=list)
    evals_without_better: int = 0
    finished: bool = False
    seconds: float = 0.0

    def logged(self, step: int, loss: float, grad_norm: float | None) -> None:
        """Remember a logged training loss."""
        self.losses = [*self.losses, (step, loss)][-KEPT:]
        if grad_norm is not None:
            self.grad_norms = [*self.grad_norms, (step, grad_norm)][-KEPT:]

    def improved(self, step: int, eval_loss: float) -> bool:
        """Is an eval loss lower than the previous evaluation's? The first one counts as improved."""
        earlier = [loss for at, loss in self.evals if at < step]
        return not earlier or eval_loss < earlier[-1]

    def evaluated(self, step: int, eval_loss: float) -> None:
        """Remember an evaluation; a step that was evaluated before counts once."""
        self.evals = [*(pair for pair in self.evals if pair[0] < step), (step, eval_loss)]

    @property
    def train_loss(self) -> float | None:
        """The newest logged training loss."""
        return self.losses[-1][1] if self.losses else None

    def save(self, folder: Path) -> None:
        """Write it into a checkpoint's folder."""
        write_json(folder / FILE, plain(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it from a checkpoint's folder, whose hashes were found right before."""
        stored: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        for name in ("losses", "grad_norms", "evals"):
            stored[name] = [(step, number(value)) for step, value in stored[name]]
        stored["loss_sum"] = number(stored["loss_sum"])
        return cls(**stored)
