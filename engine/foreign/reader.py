"""A path -> the run that it holds, whichever of the known kinds it is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engine.errors import BadInput
from engine.foreign.huggingface import checkpoint_folders, read_folder, read_state
from engine.foreign.journal import read_job
from engine.foreign.run import ForeignRun
from engine.foreign.tabular import SUFFIXES, read_table
from engine.foreign.weights import STATE
from engine.job.folder import JobFolder

_ADVICE: Final = (
    f"Give a run folder with checkpoint-*/{STATE}, one such file, a Podium job folder, "
    "or a CSV or JSONL file with step, loss and eval_loss"
)


def read_run(path: Path) -> ForeignRun:
    """The run at a path: a run folder, one trainer_state.json, a Podium job folder, a CSV or JSONL file.

    Raises:
        BadInput: There is nothing to score there, or it can't be read.
    """
    path = path.expanduser().absolute()
    try:
        return _read_folder(path) if path.is_dir() else _read_file(path)
    except FileNotFoundError:
        raise BadInput(f"{path} does not exist", _ADVICE) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"{path} can't be read ({reason})") from None


def _read_folder(path: Path) -> ForeignRun:
    if JobFolder(path).events.is_file():
        return read_job(path)
    if folders := checkpoint_folders(path):
        return read_folder(path, folders)
    if (path / STATE).is_file():
        return read_state(path / STATE)
    runs = sorted(item.name for item in path.iterdir() if item.is_dir() and checkpoint_folders(item))
    if runs:
        raise BadInput(f"{path} holds {len(runs)} runs", f"Give one of them, such as {path / runs[0]}.")
    raise BadInput(f"{path}: nothing to score here", _ADVICE)


def _read_file(path: Path) -> ForeignRun:
    if not path.exists():
        raise FileNotFoundError
    if path.name == "events.jsonl":
        return read_job(path.parent)
    if path.suffix.lower() == ".json":
        return read_state(path)
    if path.suffix.lower() in SUFFIXES:
        return read_table(path)
    raise BadInput(f"{path}: nothing to score here", _ADVICE)
