"""One attempt at a script: environment, command, watching, end."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from engine.errors import TrainingError
from engine.job.events import EventType, EventWriter, Phase
from engine.job.folder import JobFolder, read_json
from engine.script import environment
from engine.script.checkpoints import Checkpoints
from engine.script.command import Asked, Command
from engine.script.observer import Observer
from engine.script.teller import Teller
from scorer import Weights

POLL: Final = 0.2
"""Seconds between two looks at what the script writes."""
_SETTLE: Final = 1.0
"""Seconds between two looks at its checkpoints."""
PERMANENT: Final = 3


def run(folder: JobFolder, events: EventWriter, asked: Asked) -> int:
    """Run the script to its end, and say how it ended: its exit status, negative for a signal.

    Raises:
        TrainingError: It can't be started.
    """
    spec = read_json(folder.spec)
    script = section(spec, "script")
    work = folder.work / str(script.get("folder") or ".")
    # What was printed before belongs to earlier attempts, and was read by them.
    begun = _size(folder.log)
    teller = make_teller(folder, events, spec)
    checkpoints = Checkpoints(folder, work, _strings(script.get("checkpoints")), teller)
    resume = checkpoints.newest() if events.attempt > 1 else None
    told = {"resumed_from": resume.name} if resume is not None else {}
    teller.start({"command": [str(part) for part in script.get("command", [])], **told})
    programs = _programs(folder, spec, script, work, teller)
    if asked.leave:
        return 0
    work.mkdir(parents=True, exist_ok=True)
    command = asked.command = Command(script, work, programs, resume)
    teller.sign_of_life(Phase.TRAIN)
    code = _watch(folder, command, Observer(teller, script, folder.log, work, begun), checkpoints, teller)
    # What a crash has torn must not be taken for a checkpoint.
    checkpoints.look(ended=code == 0)
    if code == 0 and not asked.leave:
        teller.result()
    return code


def _watch(
    folder: JobFolder, command: Command, observer: Observer, checkpoints: Checkpoints, teller: Teller
) -> int:
    looked = 0.0
    while (code := command.wait(POLL)) is None:
        with contextlib.suppress(OSError):  # a full disk must not end the script
            observer.look()
            if time.monotonic() - looked >= _SETTLE:
                looked = time.monotonic()
                checkpoints.look()
            _answer(folder, teller)
    observer.look(ended=True)
    return code


def _answer(folder: JobFolder, teller: Teller) -> None:
    """What our trainer would do when asked, and a script can't."""
    for request in ("save", "learning_rate"):
        if folder.take_request(request) is not None:
            message = f"a script can't be asked for {request.replace('_', ' ')}: it does what it does"
            teller.alert("not_for_scripts", message, "info")


def make_teller(folder: JobFolder, events: EventWriter, spec: Mapping[str, Any]) -> Teller:
    """A teller that remembers what was told before."""
    weights = {
        name: value for name, value in section(spec, "score").items() if isinstance(value, (int, float))
    }
    known = {name: weights[name] for name in Weights.__dataclass_fields__ if name in weights}
    teller = Teller(events, Weights(**known))
    teller.recall(folder.events)
    return teller


def _programs(
    folder: JobFolder, spec: Mapping[str, Any], script: Mapping[str, Any], work: Path, teller: Teller
) -> list[Path]:
    """Where `python` is looked for first."""
    if wanted := script.get("requirements"):
        teller.sign_of_life(Phase.INSTALL)
        return [environment.make(folder.path.parent.parent / "envs", work, wanted)]
    away = section(spec, "pod").get("provider") not in (None, "local")
    activated = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    # Here, the Python of the user's activated environment; else, and elsewhere, the one that runs this.
    beside = Path(sys.executable).parent
    return [beside] if (away or not activated) and (beside / "python").exists() else []


def section(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of job.json; an empty one where it has none."""
    found = spec.get(name)
    return found if isinstance(found, Mapping) else {}


def give_up(failure: TrainingError, events: EventWriter) -> int:
    """Say why in the log and in an event."""
    sys.stdout.write(f"failed: {failure}\n")
    with contextlib.suppress(OSError):
        told = {"error": failure.what, "advice": failure.advice, "kind": failure.kind}
        events.put(EventType.STATE, None, {"status": "failed", **told}, sync=True)
    return PERMANENT


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
