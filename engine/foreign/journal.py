"""A Podium job's folder: its scores were stored with its events and are used as they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from engine.errors import BadInput, BadWireLine
from engine.foreign.run import ForeignCheckpoint, ForeignRun
from engine.job.events import MAX_LINE, Event, EventType, decode
from engine.job.examples import MOST, in_one_order
from engine.job.folder import JobFolder
from scorer import FORMULA, CheckpointMetrics, Score
from scorer.number import number, whole

_OF_INTEREST: Final = (b'"eval"', b'"checkpoint"', b'"examples"')
"""An event of these types has one of these in its line: the others need not be parsed."""


@dataclass(slots=True)
class _Known:
    """What the events said of one step, the later attempt last."""

    attempt: int = 0
    eval: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Mapping[str, Any] | None = None
    removed: bool = False


def read_job(path: Path) -> ForeignRun:
    """The checkpoints of a job's folder.

    Raises:
        BadInput: There is no eval among its events.
    """
    folder = JobFolder(path)
    steps: dict[int, _Known] = {}
    told: deque[tuple[int | None, Mapping[str, Any]]] = deque(maxlen=MOST)
    for event in _events(folder.events):
        if event.type == EventType.EXAMPLES:
            told.appendleft((event.step, event.data))
        elif event.step is not None:
            _take(steps.setdefault(event.step, _Known()), event)
    checkpoints = tuple(_checkpoint(step, known, path) for step, known in sorted(steps.items()))
    if not any(item.stored or item.metrics.eval_loss is not None for item in checkpoints):
        raise BadInput(f"{path}: no eval among the job's events yet")
    stored = [item.stored for item in checkpoints if item.stored is not None]
    formula = stored[-1].formula if stored else FORMULA
    return ForeignRun(path.name, checkpoints, "job", path, formula, in_one_order(told))


def _events(path: Path) -> Iterator[Event]:
    """Evals, their examples' losses and checkpoints; lines that never parse are passed over."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE + 2):
            if any(name in line for name in _OF_INTEREST):
                try:
                    event = decode(line)
                except BadWireLine:
                    continue
                if event.type in (EventType.EVAL, EventType.EXAMPLES, EventType.CHECKPOINT):
                    yield event


def _take(known: _Known, event: Event) -> None:
    if event.attempt < known.attempt:
        return
    if event.attempt > known.attempt:
        known.attempt, known.eval, known.checkpoint, known.removed = event.attempt, {}, None, False
    if event.type == EventType.EVAL:
        known.eval = event.data
    elif event.data.get("removed") is True:
        known.removed = True
    else:
        known.checkpoint, known.removed = event.data, False


def _checkpoint(step: int, known: _Known, folder: Path) -> ForeignCheckpoint:
    data = known.checkpoint or {}
    given = data.get("score") or known.eval.get("score")
    stored, problem = None, ""
    try:
        stored = Score.from_json(given)
    except ValueError as error:
        problem = "it was never evaluated" if given is None else f"its stored score is none: {error}"
    metrics = stored.metrics if stored else _metrics(step, known.eval)
    place = _inside(folder, data.get("path"))
    verified = data.get("verified") is True
    if known.removed:
        problem, place = "removed to save space", None
    elif known.checkpoint is None:
        problem = "no checkpoint was saved"
    elif not verified:
        problem = problem or "its files were found damaged when it was saved"
    elif place is None:
        problem = problem or "its files are not on this machine"
    epoch, size = number(known.eval.get("epoch")), whole(data.get("bytes"))
    complete = known.checkpoint is not None and verified and not known.removed
    return ForeignCheckpoint(step, epoch, metrics, place, complete, problem, size, verified, stored)


def _metrics(step: int, eval_data: Mapping[str, Any]) -> CheckpointMetrics:
    eval_loss, train_loss = number(eval_data.get("eval_loss")), number(eval_data.get("train_loss"))
    return CheckpointMetrics(step, eval_loss, train_loss)


def _inside(folder: Path, given: object) -> Path | None:
    """The folder below the job's that an event names, if it is there; never one outside."""
    if not isinstance(given, str) or not given or "\0" in given:
        return None
    relative = PurePosixPath(given)
    if relative.is_absolute() or ".." in relative.parts:
        return None
    path = folder / relative
    try:
        return path if path.is_dir() else None
    except OSError:
        return None
