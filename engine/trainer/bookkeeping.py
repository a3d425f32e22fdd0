"""What the wire says of checkpoints and what is there: where a crash came between, it is made good."""

from __future__ import annotations

from engine.errors import BadWireLine
from engine.job.events import EventType, decode
from engine.trainer import checkpoints
from engine.trainer.attempt import Attempt
from engine.trainer.hooks import announce, rotate


def reconcile(attempt: Attempt) -> None:
    """Tell of checkpoints, and of scores, that nobody was told of, and of those that are gone; then rotate.

    Raises:
        OSError: The events can't be read or written.
    """
    told = _told(attempt)
    there = checkpoints.readable(attempt.folder)
    for found in reversed(there):
        if told.pop(str(found.path.relative_to(attempt.folder.path)), ("", 0))[0] != found.sha256:
            announce(attempt, found)
    for path, (_, step) in told.items():
        if not (attempt.folder.path / path).exists():
            attempt.events.append(EventType.CHECKPOINT, step, path=path, removed=True)
    rotate(attempt)


def _told(attempt: Attempt) -> dict[str, tuple[str, int]]:
    """Hash and step by path, of the checkpoints that the wire takes to be there."""
    told: dict[str, tuple[str, int]] = {}
    with attempt.folder.events.open("rb") as file:
        for line in file:
            # Most lines are about something else, and there may be millions.
            if b'"type":"checkpoint"' not in line:
                continue
            try:
                event = decode(line)
            except BadWireLine:
                continue
            path = str(event.data.get("path"))
            told.pop(path, None)
            if event.data.get("removed") is not True:
                told[path] = (str(event.data.get("sha256")), event.step or 0)
    return told
