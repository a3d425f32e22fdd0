"""What a resume must know beyond weights and optimizer: saved in each checkpoint as `progress.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from engine.job.events import number, plain
from engine.job.folder import write_json
from scorer import RunScorer
from scorer.trend import LossTrend

FILE: Final = "progress.json"


@dataclass(slots=True)
class Progress:
    """How far the job is.

    Args:
        scorer: Scores this run's checkpoints.
        trend: Follows this run's losses.
        tokens: Tokens trained on, all attempts.
        seconds: Seconds that it took, all attempts.
        loss_sum: Losses of the steps since the last log, summed (nats a token).
        logged_step: The step of the last log.
        evals_without_better: Evaluations since the best score.
        finished: Did early stopping end the training?
        shrunk: Training settings that differ from the spec's because memory ran out.
        asked: Predictions that this step has, where SIGTERM cut them off; None where none are owed.
    """

    scorer: RunScorer = field(default_factory=RunScorer)
    trend: LossTrend = field(default_factory=LossTrend)
    tokens: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    logged_step: int = 0
    evals_without_better: int = 0
    finished: bool = False
    shrunk: dict[str, Any] = field(default_factory=dict)
    asked: int | None = None

    def save(self, folder: Path) -> None:
        """Write it into a checkpoint's folder."""
        values = {
            "scorer": self.scorer.to_json(),
            "trend": self.trend.to_json(),
            "tokens": self.tokens,
            "seconds": self.seconds,
            "loss_sum": self.loss_sum,
            "logged_step": self.logged_step,
            "evals_without_better": self.evals_without_better,
            "finished": self.finished,
            "shrunk": self.shrunk,
            "asked": self.asked,
        }
        write_json(folder / FILE, plain(values))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it from a checkpoint's folder whose hashes are right.

        Raises:
            ValueError: Another version of Podium wrote something else.
        """
        try:
            stored: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
            stored["scorer"] = RunScorer.from_json(stored["scorer"])
            stored["trend"] = LossTrend.from_json(stored["trend"])
            stored["loss_sum"] = number(stored["loss_sum"])
            return cls(**stored)
        except (OSError, KeyError, TypeError) as error:
            raise ValueError(f"{FILE} can't be read ({error})") from None
