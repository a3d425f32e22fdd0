"""What a run logged, wherever it was logged to: figures by step, with names as Podium uses them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from scorer.number import number, whole


@dataclass(frozen=True, slots=True)
class Logged:
    """The figures of one step.

    Args:
        step: The optimizer step.
        values: Figures by name, NaN and infinity among them.
        ts: When they were logged, UTC; None when nobody wrote it down.
    """

    step: int
    values: Mapping[str, float]
    ts: datetime | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """A run as another tool logged it.

    Args:
        name: What it is called there.
        path: Where it was read.
        tool: Who wrote it.
        rows: By step, each step once.
        config: Its configuration, as far as it was kept; JSON values.
        seconds: How long it took, if known.
    """

    name: str
    path: Path
    tool: str
    rows: tuple[Logged, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None


_PREFIXES: Final = {"train/": "", "training/": "", "eval/": "eval_", "val/": "eval_", "valid/": "eval_",
                    "validation/": "eval_"}  # fmt: skip
_ALIASES: Final = {
    "train_loss": "loss",
    "training_loss": "loss",
    "val_loss": "eval_loss",
    "valid_loss": "eval_loss",
    "validation_loss": "eval_loss",
    "lr": "learning_rate",
    "global_step": "step",
    "steps": "step",
}
_NOT_FIGURES: Final = re.compile(r"_?(step|timestamp|runtime|wandb)|total_flos|train_runtime")
_LONGEST: Final = 100


def name_of(raw: str) -> str:
    """A figure's name as Podium uses it: `train/loss` is loss, `eval/loss` and `val_loss` are eval_loss."""
    name = raw.strip()
    for prefix, ours in _PREFIXES.items():
        if name.lower().startswith(prefix):
            name = ours + name[len(prefix) :]
            break
    return _ALIASES.get(name.lower(), name)


def tracked(rows: Iterable[tuple[Mapping[str, Any], datetime | None]]) -> tuple[Logged, ...]:
    """Rows of one step joined, in order of step; what is no figure is left out.

    Of a figure that a step has several times, the first counts: transformers evaluates the best model once
    more at the end, under the last step.

    Args:
        rows: Figures by their names over there, `step` among them, in the order of logging; a row without a
            step belongs to the one before it.
    """
    steps: dict[int, dict[str, float]] = {}
    moments: dict[int, datetime | None] = {}
    step = 0
    for raw, ts in rows:
        named = {name_of(str(name)): value for name, value in raw.items() if len(str(name)) <= _LONGEST}
        found = whole(number(named.get("step")))
        step = step if found is None else found
        values = steps.setdefault(step, {})
        moments[step] = moments.get(step) or ts
        for name, value in named.items():
            figure = None if isinstance(value, bool) else number(value)
            if figure is not None and name.isprintable() and not _NOT_FIGURES.fullmatch(name):
                values.setdefault(name, figure)
    return tuple(Logged(step, steps[step], moments[step]) for step in sorted(steps) if steps[step])
