"""Rows of logged figures, whatever their columns are called -> the evals of a run, ready to be scored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import fmean
from typing import Any, Final

from scorer import FORMULA, FORMULA_DPO, FORMULA_REWARD, CheckpointMetrics, RunScorer
from scorer.number import number, whole

# Names as `_plain` leaves them, the most telling first.
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "step": ("train_global_step", "global_step", "step", "steps", "current_steps", "iteration", "iter"),
    "epoch": ("epoch", "train_epoch", "current_epoch", "epochs"),
    "train_loss": ("loss", "train_loss", "training_loss", "loss_train"),
    "eval_loss": (
        "eval_loss",
        "val_loss",
        "valid_loss",
        "validation_loss",
        "dev_loss",
        "loss_eval",
        "loss_val",
    ),
    "accuracy": ("eval_rewards_accuracies",),
    "reward": ("eval_reward",),
    "kl": ("eval_kl", "eval_objective_kl"),
    # Only in the row that transformers logs last; its train_loss is the mean of the whole run.
    "summary": ("train_runtime",),
}
_NAMED_EVAL: Final = re.compile(r"eval_.+_loss")


@dataclass(slots=True)
class History:
    """What a run's log says.

    Args:
        evals: Step -> the numbers of its eval.
        epochs: Step -> epoch.
        formula: The formula that the numbers call for.
        last_step: The newest step of any row.
    """

    evals: dict[int, CheckpointMetrics] = field(default_factory=dict)
    epochs: dict[int, float | None] = field(default_factory=dict)
    formula: str = FORMULA
    last_step: int = 0

    @property
    def scorable(self) -> bool:
        """Has any eval a number to go by, be it NaN?"""
        return any(item.eval_loss is not None or item.reward is not None for item in self.evals.values())


def read_history(rows: Iterable[Mapping[str, Any]], first_wins: bool = False) -> History:
    """The evals among logged rows, each with the newest train loss at or before it.

    Args:
        rows: In the order of logging; train loss and eval loss may share a row or not. An eval without a
            step has its place among those as its step.
        first_wins: Which of two evals of one step counts. transformers logs a second one when a script
            evaluates the best model after training; everywhere else the second is a resumed attempt's.
    """
    history, scorer, place = History(), RunScorer(), 0
    for raw in rows:
        row = _figures(raw)
        loss, reward = row.get("eval_loss"), row.get("reward")
        is_eval = loss is not None or reward is not None
        step = whole(row.get("step"))
        if step is None:
            place += is_eval
            step = place
        history.last_step = max(history.last_step, step)
        if "train_loss" in row and "summary" not in row:
            scorer.add_train(step, row["train_loss"])
        if not is_eval or (first_wins and step in history.evals):
            continue
        if reward is not None:
            history.formula = FORMULA_REWARD
        elif "accuracy" in row and history.formula == FORMULA:
            history.formula = FORMULA_DPO
        metrics = scorer.observe(step, loss, accuracy=row.get("accuracy"), reward=reward, kl=row.get("kl"))
        history.evals[step], history.epochs[step] = metrics.cleaned(), number(row.get("epoch"))
    return history


def _figures(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says, by role; where two columns have one role, the more telling name counts."""
    found: dict[str, Any] = {}
    ranks: dict[str, int] = {}
    named: list[float] = []
    for name, value in row.items():
        role, rank = _role(str(name))
        if not role or value is None or value == "":
            continue
        if role == "named":
            loss = number(value)
            named += [] if loss is None else [loss]
        elif rank < ranks.get(role, rank + 1):
            found[role], ranks[role] = value, rank
    if named and "eval_loss" not in found:
        found["eval_loss"] = fmean(named)
    return found


@lru_cache(maxsize=4096)
def _role(name: str) -> tuple[str, int]:
    """What a column is, and how telling its name; `named` is the loss on one of several eval sets."""
    plain = _plain(name)
    for role, names in _COLUMNS.items():
        if plain in names:
            return role, names.index(plain)
    return ("named", 0) if _NAMED_EVAL.fullmatch(plain) else ("", 0)


def _plain(name: str) -> str:
    """A column's name in lower case with single underscores; what precedes the last " - " is a run's name."""
    return re.sub(r"[^a-z0-9]+", "_", name.rpartition(" - ")[2].lower()).strip("_")
