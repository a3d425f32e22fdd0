"""Output folders of transformers' Trainer and of what is built on it (TRL, Axolotl, LLaMA-Factory).

Each checkpoint-N/trainer_state.json repeats the whole log so far, so only the newest that can be read is
read: with N checkpoints that is N times less.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Final

from engine.errors import BadInput
from engine.foreign.history import History, read_history
from engine.foreign.run import ForeignCheckpoint, ForeignRun
from engine.foreign.weights import STATE, contents
from scorer import CheckpointMetrics

_CHECKPOINT: Final = re.compile(r"checkpoint-(\d{1,15})")


def checkpoint_folders(folder: Path) -> dict[int, Path]:
    """Step -> checkpoint folder, by step."""
    with os.scandir(folder) as entries:
        found = [(_CHECKPOINT.fullmatch(entry.name), entry) for entry in entries]
        steps = {int(match[1]): Path(entry.path) for match, entry in found if match and entry.is_dir()}
    return dict(sorted(steps.items()))


def read_folder(folder: Path, folders: dict[int, Path]) -> ForeignRun:
    """A run folder with checkpoint-*/trainer_state.json.

    Args:
        folder: The run folder.
        folders: Its checkpoint folders by step, as `checkpoint_folders` finds them.

    Raises:
        BadInput: No state can be read, or none has an eval.
    """
    history = _newest_history(folder, folders)
    if not history.scorable:
        raise BadInput(
            f"{folder}: no eval in the log of its {len(folders)} checkpoints", "Train with an eval set."
        )
    steps = sorted(history.evals.keys() | folders.keys())
    checkpoints = tuple(_checkpoint(step, history, folders.get(step)) for step in steps)
    return ForeignRun(folder.name, checkpoints, "folder", folder, history.formula)


def read_state(path: Path) -> ForeignRun:
    """One trainer_state.json; whether its checkpoints exist is not known.

    Raises:
        BadInput: It can't be read, or has no eval.
    """
    try:
        history = _history(path)
    except ValueError as error:
        raise BadInput(f"{path}: {error}") from None
    if not history.scorable:
        raise BadInput(f"{path}: no eval in its log_history", "Train with an eval set.")
    checkpoints = tuple(
        ForeignCheckpoint(step, history.epochs[step], history.evals[step]) for step in sorted(history.evals)
    )
    return ForeignRun(path.parent.name or path.name, checkpoints, "state", path, history.formula)


def _checkpoint(step: int, history: History, path: Path | None) -> ForeignCheckpoint:
    metrics, epoch = history.evals.get(step), history.epochs.get(step)
    if path is None:
        assert metrics is not None
        gone = "no folder: rotated away, or never saved"
        return ForeignCheckpoint(step, epoch, metrics, None, False, gone)
    try:
        found = contents(path)
        size, problem = found.size_bytes, found.problem
    except OSError as error:
        size, problem = None, f"can't be read ({error.strerror})"
    complete = not problem
    if metrics is None:
        problem = problem or f"no eval at step {step}"
    metrics = metrics or CheckpointMetrics(step)
    return ForeignCheckpoint(step, epoch, metrics, path, complete, problem, size)


def _newest_history(folder: Path, folders: dict[int, Path]) -> History:
    """The log of the newest checkpoint whose state can be read, or the run's own where that goes further."""
    best: History | None = None
    for path in reversed(folders.values()):
        try:
            best = _history(path / STATE)
            break
        except (OSError, ValueError):
            continue
    try:
        own = _history(folder / STATE)
        return own if best is None or own.last_step > best.last_step else best
    except (OSError, ValueError):
        if best is not None:
            return best
    raise BadInput(
        f"{folder}: none of its {len(folders)} checkpoints has a {STATE} that can be read",
        "Point at a CSV or JSONL file of the losses instead.",
    )


def _history(path: Path) -> History:
    """The log in a trainer_state.json.

    Raises:
        OSError: It can't be read.
        ValueError: It is no trainer state.
    """
    try:
        state: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from None
    rows = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(rows, list):
        raise ValueError("has no log_history, so it is no trainer state")
    return read_history((row for row in rows if isinstance(row, dict)), first_wins=True)
