"""Watching what somebody else runs: the log and the files as they are mirrored here; nothing is started.

Ends when its stdin does: whoever mirrors them is gone.
"""

from __future__ import annotations

import json
import select
import sys
import time
from pathlib import Path
from typing import Final

from engine.job.events import EventWriter, Phase
from engine.job.folder import JobFolder, read_json, write_json
from engine.script.observer import Observer
from engine.script.run import POLL, make_teller, section

STATE: Final = "watched.json"
"""In the job's folder: how much of the log was read."""
_OVER: Final = 60.0
"""Seconds of silence after the last epoch of those it said it would do: then it is over."""


def watch(folder: JobFolder, events: EventWriter) -> None:
    """Tell what log and files say, until stdin ends or the last epoch is over."""
    spec = read_json(folder.spec)
    teller = make_teller(folder, events, spec)
    state = folder.path / STATE
    over = section(spec, "attach").get("over_seconds")
    silence = over if isinstance(over, (int, float)) else _OVER
    offset = read_json(state).get("log")
    offset = min(offset if isinstance(offset, int) else 0, _size(folder.log))
    observer = Observer(teller, section(spec, "attach"), folder.log, folder.path / "files", max(0, offset))
    if teller.step is None:
        teller.start({"attached": True})
    teller.sign_of_life(Phase.TRAIN)
    while not select.select([sys.stdin], [], [], POLL)[0]:
        if observer.look():
            write_json(state, {"log": observer.log.done})
        if teller.done and time.monotonic() - observer.grown_at > silence:
            observer.look(ended=True)
            teller.result()
            sys.stdout.write(json.dumps({"over": True}) + "\n")
            return


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
