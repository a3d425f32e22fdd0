"""A path -> the runs that other tools logged there: transformers, TensorBoard, wandb, CSV, JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from engine.errors import BadInput
from engine.foreign import tensorboard, wandb
from engine.foreign.huggingface import checkpoint_folders
from engine.foreign.tabular import SUFFIXES, table_rows
from engine.foreign.track import Track, tracked
from engine.foreign.weights import STATE
from scorer.number import number

_ADVICE: Final = (
    f"Give a folder with checkpoint-*/{STATE}, with TensorBoard's events.out.tfevents.* or with wandb's "
    "offline-run-*, or a CSV or JSONL file of figures with a step column."
)
_DEEPEST: Final = 4
"""How many folders below the given one are looked into."""


def tracks(path: Path) -> list[Track]:
    """The runs at a path or below it.

    Raises:
        BadInput: There are none, or one can't be read.
        Missing: The library that reads them is not installed.
    """
    path = path.expanduser().absolute()
    try:
        found = list(_below(path, _DEEPEST)) if path.is_dir() else list(_file(path))
    except FileNotFoundError:
        raise BadInput(f"{path} does not exist", _ADVICE) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"{path} can't be read ({reason})") from None
    if not found:
        raise BadInput(f"{path}: no run of another tool here", _ADVICE)
    return found


def _below(folder: Path, depth: int) -> Iterator[Track]:
    """The runs of a folder and those inside it; a folder that is a run is not looked into any further."""
    for reader in (_trainer_states, wandb.read, tensorboard.read):
        if (track := reader(folder)) is not None:
            yield track
            return
    if depth:
        for inner in sorted(item for item in folder.iterdir() if item.is_dir() and not item.is_symlink()):
            yield from _below(inner, depth - 1)


def _file(path: Path) -> Iterator[Track]:
    if not path.exists():
        raise FileNotFoundError
    if path.name == STATE:
        yield _of_state(path, path.parent.name, path)
    elif path.suffix.lower() in SUFFIXES:
        yield Track(path.stem, path, "table", tracked((row, None) for row in table_rows(path)))
    elif path.suffix == ".wandb" or "tfevents" in path.name:
        yield from _below(path.parent, 0)


def _trainer_states(folder: Path) -> Track | None:
    """A run folder of transformers' Trainer: its own log or, where that is older, a checkpoint's."""
    newest = list(reversed(checkpoint_folders(folder).values()))
    read = []
    for place in (folder, *newest):
        try:
            read.append(_of_state(place / STATE, folder.name, folder))
        except (FileNotFoundError, BadInput, ValueError):
            continue
        if place is not folder:
            # Each checkpoint's log repeats those before it.
            break
    return max(read, key=lambda track: track.rows[-1].step if track.rows else -1, default=None)


def _of_state(path: Path, name: str, folder: Path) -> Track:
    """The log in a trainer_state.json."""
    state: Any = json.loads(path.read_bytes())
    log = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(log, list):
        raise BadInput(f"{path}: has no log_history, so it is no trainer state")
    rows = [row for row in log if isinstance(row, dict)]
    took = [seconds for row in rows if (seconds := number(row.get("train_runtime"))) is not None]
    # The last row's train_loss is the mean of the whole run, not a step's.
    steps = tracked((row, None) for row in rows if "train_runtime" not in row)
    config = {
        key: state[key] for key in ("max_steps", "num_train_epochs", "train_batch_size") if key in state
    }
    return Track(name, folder, "transformers", steps, config, took[-1] if took else None)
