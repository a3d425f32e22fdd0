"""`python -m engine.script FOLDER`: run the script of the job in that folder; `--watch`: only watch.

Exit status: 0 it ended well (a `result` event was written), or left because of SIGTERM; 3 it can't be
started, explained by a `state` event before; anything else is the script's own, its signal included.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from pathlib import Path

from engine.errors import TrainingError
from engine.job.events import EventWriter
from engine.job.folder import JobFolder
from engine.script.command import Asked
from engine.script.run import PERMANENT, give_up, run
from engine.script.watch import watch


def main(arguments: list[str]) -> int:
    """Run one attempt and return the exit status."""
    watching = "--watch" in arguments
    paths = [argument for argument in arguments if argument != "--watch"]
    if len(paths) != 1 or not (folder := JobFolder(Path(paths[0]).absolute())).spec.is_file():
        sys.stderr.write("usage: python -m engine.script [--watch] FOLDER, which must be a job's folder\n")
        return 2
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    try:
        folder.create()
        events = EventWriter(folder.events, attempt=int(os.environ.get("PODIUM_ATTEMPT", "1")))
    except OSError as error:
        sys.stdout.write(f"failed: {error.filename or folder.path}: {error.strerror}\n")
        return PERMANENT
    with events:
        if watching:
            watch(folder, events)
            return 0
        asked = Asked()
        try:
            code = run(folder, events, asked)
        except TrainingError as failure:
            return give_up(failure, events)
        return _as_it_ended(code, asked)


def _as_it_ended(code: int, asked: Asked) -> int:
    """The exit status that says how the script ended."""
    if asked.leave:
        return 0
    if code < 0:
        # The supervisor knows signals, and what they mean: this process dies of the same.
        with contextlib.suppress(OSError, ValueError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    # Our own way to say that trying again is of no use is not the script's.
    return 1 if code == PERMANENT else abs(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
