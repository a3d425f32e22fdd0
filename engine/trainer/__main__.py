"""`python -m engine.trainer FOLDER`: train the job in that folder, as far as it goes.

Exit status: 0 finished (a `result` event was written) or saved and left because of SIGTERM;
3 failed for good, explained by a `state` event before it; 4 wants all ranks to be started again; 5 has lost
another rank; anything else is a crash, which the supervisor answers with another attempt.
"""

from __future__ import annotations

import io
import os
import sys
import time
from pathlib import Path
from typing import Final

from engine.errors import TrainingError
from engine.job.events import EventType, EventWriter, Status
from engine.job.folder import JobFolder
from engine.trainer import failures, loading, log
from engine.trainer.distributed import AGAIN, FAILED_FOR_GOOD, LOST, Again, Ranks, faltered
from engine.trainer.stop import StopRequest
from engine.trainer.writers import writer

_PARTING: Final = 1.0
"""Seconds that rank 0 stays for other machines to hear why it goes."""


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
        ranks = Ranks.from_environment()
        if ranks.local > 0:
            log.mute()
        folder.create()
        events = writer(ranks, folder.events, int(os.environ.get("PODIUM_ATTEMPT", "1")))
    except OSError as error:
        log.line(f"failed: {error.filename or folder.path}: {error.strerror}")
        return FAILED_FOR_GOOD
    with events:
        return _run(folder, events, ranks)


def _run(folder: JobFolder, events: EventWriter, ranks: Ranks) -> int:
    stop = StopRequest.on_sigterm()
    loading.begin()
    try:
        from engine.trainer.run import run

        run(folder, events, stop, ranks)
    except Again:
        return AGAIN
    except Exception as error:
        if not ranks.alone and faltered(error):
            return _left_alone(error, events, ranks)
        failure = failures.classify(error, folder)
        if failure is None:
            raise
        return _give_up(failure, events, ranks)
    finally:
        loading.end()
    return 0


def _left_alone(error: Exception, events: EventWriter, ranks: Ranks) -> int:
    """Another rank has gone: the exit status that its last word asks for."""
    word = ranks.heard()
    if word.get("kind") == "exhausted":
        return AGAIN
    if word.get("kind") == "failed" and ranks.node > 0:
        failure = TrainingError(str(word.get("of")), str(word.get("what")), str(word.get("advice")))
        return _give_up(failure, events, ranks)
    log.line(f"lost touch with the other ranks ({failures.first_line(error)})")
    return LOST


def _give_up(failure: TrainingError, events: EventWriter, ranks: Ranks) -> int:
    """Say why in the log and in an event; when even that can't be written, the exit status still tells."""
    log.line(f"failed: {failure}", always=True)
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
    if ranks.leads:
        ranks.say("failed", of=failure.kind, what=failure.what, advice=failure.advice)
    if ranks.leads and ranks.nodes > 1:
        time.sleep(_PARTING)
    return FAILED_FOR_GOOD


if __name__ == "__main__":
    status = main(sys.argv[1:])
    if not Ranks.from_environment().alone:
        # Threads of a broken group may wait for ranks that are gone.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
