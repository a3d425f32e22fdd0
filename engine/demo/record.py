"""`python -m engine.demo.record OUT FOLDER…`: keep finished demo runs for machines that can't train.

Writes OUT/run-1, OUT/run-2, … with what a replay needs: spec, events and log. Paths and the name of the
machine that recorded them are left out.
"""

from __future__ import annotations

import gzip
import socket
import sys
from pathlib import Path
from typing import Any

from engine.errors import BadInput, PodiumError
from engine.job.events import Event, EventType, decode, encode
from engine.job.folder import JobFolder, write_json
from engine.job.spec import JobSpec

RECORDING = Path(__file__).with_name("recording")
"""The recorded runs that come with Podium: `run-1` and `run-2`."""


def record(folder: JobFolder, out: Path) -> None:
    """Keep one finished run.

    Args:
        folder: The job's folder.
        out: The folder to write.

    Raises:
        BadInput: The run has no result.
    """
    events = [decode(line) for line in folder.events.read_bytes().splitlines()]
    if not any(event.type == EventType.RESULT for event in events):
        raise BadInput(f"{folder.path}: the run has no result", "Record a run that is finished.")
    spec = JobSpec.from_json(folder.spec)
    names = {str(folder.path): spec.name, str(Path.home()): "~", socket.gethostname(): "host"}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "job.json", _clean(spec.to_json(), names))
    lines = b"".join(encode(_cleaned(event, names)) for event in events)
    (out / "events.jsonl.gz").write_bytes(gzip.compress(lines, mtime=0))
    log = _clean(folder.log.read_text(encoding="utf-8", errors="replace"), names)
    (out / "train.log.gz").write_bytes(gzip.compress(log.encode(), mtime=0))


def _cleaned(event: Event, names: dict[str, str]) -> Event:
    return Event(event.seq, event.ts, event.attempt, event.type, event.step, _clean(event.data, names))


def _clean(value: Any, names: dict[str, str]) -> Any:
    """The same value with what belongs to this machine replaced."""
    if isinstance(value, str):
        for name, instead in names.items():
            value = value.replace(name, instead)
        return value
    if isinstance(value, dict):
        return {
            key: Path(item).name if key == "path" and _is_data(item) else _clean(item, names)
            for key, item in value.items()
        }
    return [_clean(item, names) for item in value] if isinstance(value, list) else value


def _is_data(value: Any) -> bool:
    """Is it the data file's absolute path?"""
    return isinstance(value, str) and value.startswith("/")


def main(arguments: list[str]) -> int:
    """Record the runs and return the exit status."""
    if len(arguments) < 2:
        sys.stderr.write("usage: python -m engine.demo.record OUT FOLDER…\n")
        return 2
    try:
        for number, folder in enumerate(arguments[1:], 1):
            record(JobFolder(Path(folder).absolute()), Path(arguments[0]) / f"run-{number}")
    except (PodiumError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
