"""The job's folder, the same on the pod and mirrored on the laptop.

    job.json        the resolved spec              events.jsonl   the wire (events.py)
    dataset.jsonl   the training data              train.log      what the trainer printed
    eval.jsonl      the evaluation data, if given  checkpoints/checkpoint-N/manifest.json
    control/        requests from the laptop       exit.json      how it ended
    supervisor.lock held while a supervisor lives  supervisor.json  what its successor must know
    supervisor.log  what it printed, if anything
    limits.json     limits as they were changed while the job ran; absent while they were not
    nodes/N/        on the laptop alone: what mirrors the folder of another of several machines
    node.json       which of several machines this is, and where the first one is met; absent on a single one

Ships; stdlib only.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

NODES: Final = "nodes"
"""The folder of the mirrors of other machines' folders."""
CONTROLS: Final = ("stop", "pause", "save", "learning_rate", "limits")
"""The requests that the laptop may leave in `control/`."""


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The paths of one job's folder.

    Args:
        path: The folder; it need not exist yet.
    """

    path: Path

    @property
    def spec(self) -> Path:
        """The resolved spec, JSON."""
        return self.path / "job.json"

    @property
    def dataset(self) -> Path:
        """The training data, JSON Lines."""
        return self.path / "dataset.jsonl"

    @property
    def eval_dataset(self) -> Path:
        """The evaluation data where the user gave some of their own; absent otherwise."""
        return self.path / "eval.jsonl"

    @property
    def events(self) -> Path:
        """The wire: one event a line."""
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        """Everything that the trainer printed, all attempts."""
        return self.path / "train.log"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def work(self) -> Path:
        """A script's own copy of what was synced for it: where it runs."""
        return self.path / "work"

    @property
    def luggage(self) -> Path:
        """What a script's run brings along: place -> hash, size, mode and where it came from."""
        return self.path / "luggage.json"

    @property
    def final(self) -> Path:
        """The model that training ends with: the best checkpoint's weights."""
        return self.path / "final"

    @property
    def control(self) -> Path:
        """The folder of requests from the laptop."""
        return self.path / "control"

    @property
    def exit(self) -> Path:
        """How the job ended; exists only when it did."""
        return self.path / "exit.json"

    @property
    def lock(self) -> Path:
        """The file whose flock says that a supervisor lives."""
        return self.path / "supervisor.lock"

    @property
    def memory(self) -> Path:
        """What a supervisor must know of the one before it: attempt, restarts, running seconds, trainer."""
        return self.path / "supervisor.json"

    @property
    def node(self) -> Path:
        """Which of several machines this is: `node`, `nodes`, `address`, `port`; its launcher writes it."""
        return self.path / "node.json"

    @property
    def limits(self) -> Path:
        """`max_hours` and `max_cost_usd` as changed while the job ran; absent while they were not."""
        return self.path / "limits.json"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor itself printed: nothing, unless it is broken."""
        return self.path / "supervisor.log"

    def of_node(self, node: int) -> JobFolder:
        """The mirror of another machine's folder of this job, from 1; node 0's is this folder itself."""
        return JobFolder(self.path / NODES / str(node))

    @property
    def other_nodes(self) -> tuple[int, ...]:
        """The other machines of which something is mirrored here."""
        there = (path.name for path in (self.path / NODES).glob("*/"))
        return tuple(sorted(int(name) for name in there if name.isdecimal()))

    def checkpoint(self, step: int) -> Path:
        """The folder of the checkpoint at `step`."""
        return self.checkpoints / f"checkpoint-{step}"

    def create(self) -> None:
        """Make the folder and those inside it that must exist before the job starts."""
        for folder in (self.path, self.checkpoints, self.control):
            folder.mkdir(parents=True, exist_ok=True)

    def request(self, name: str, value: Any = True) -> None:
        """Leave a request for the pod; a newer one of the same name replaces an older.

        Args:
            name: One of `CONTROLS`.
            value: Any JSON value, such as the new learning rate.
        """
        if name not in CONTROLS:
            raise ValueError(f"unknown control request {name!r}")
        self.control.mkdir(parents=True, exist_ok=True)
        write_json(self.control / name, value)

    def take_request(self, name: str) -> Any | None:
        """Take a request away and return its value; None when there is none.

        A request that is no JSON (an empty file made by `touch`) counts as `True`.
        """
        path = self.control / name
        # Renamed first: a request that replaces this one meanwhile is a new one and stays.
        taken = path.with_name(f".{name}.{os.urandom(4).hex()}")
        try:
            path.rename(taken)
        except FileNotFoundError:
            return None
        content = taken.read_bytes()
        taken.unlink()
        try:
            return json.loads(content)
        except ValueError:
            return True

    def has_request(self, name: str) -> bool:
        """Is a request of that name waiting?"""
        return (self.control / name).exists()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one when there is none, it can't be read or it is no object."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all: aside, fsynced, renamed."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    aside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with aside.open("xb") as file:
            file.write(text.encode(errors="backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
        raise
