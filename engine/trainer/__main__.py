"""`python -m engine.trainer FOLDER`: train the job in that folder, as far as it goes.

Exit status: 0 finished (a `result` event was written) or saved and left because of SIGTERM;
3 failed for good, explained by a `state` event before it; anything else is a crash, which the
supervisor answers with another attempt.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Final

from engine.errors import TrainingError
from engine.job.events import EventType, EventWriter, Status
from engine.job.folder import JobFolder
from engine.trainer import failures, log
from engine.trainer.stop import StopRequest

FAILED_FOR_GOOD: Final = 3


def main(arguments: list[str]) -> int:
    """Run one attempt and return the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m engine.trainer FOLDER\n")
        return 2
    folder = JobFolder(Path(arguments[0]).absolute())
    if not folder.spec.is_file():
        sys.stderr.write(f"{folder.spec}: no such file; FOLDER must be a job's folder\n")
        return 2
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        folder.create()
        events = EventWriter(folder.events, attempt=int(os.environ.get("PODIUM_ATTEMPT", "1")))
    except OSError as error:
        log.line(f"failed: {error.filename or folder.path}: {error.strerror}")
        return FAILED_FOR_GOOD
    with events:
        return _run(folder, events)


def _run(folder: JobFolder, events: EventWriter) -> int:
    stop = StopRequest.on_sigterm()
    try:
        from engine.trainer.run import run

        run(folder, events, stop)
    except Exception as error:
        failure = failures.classify(error, folder)
        if failure is None:
            raise
        return _give_up(failure, events)
    return 0


def _give_up(failure: TrainingError, events: EventWriter) -> int:
    """Say why in the log and in an event; when even that can't be written, the exit status still tells."""
    log.line(f"failed: {failure}")
    try:
        events.append(
            EventType.STATE,
            sync=True,
            status=Status.FAILED,
            error=failure.what,
            advice=failure.advice,
            kind=failure.kind,
        )
    except OSError as error:
        log.line(f"the failure could not be recorded: {error}")
    return FAILED_FOR_GOOD


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
