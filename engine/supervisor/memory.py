"""What a supervisor must know of the one before it, kept in supervisor.json."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from typing import Final

from engine.job.folder import JobFolder, read_json, write_json

_KINDS: Final[dict[str, type | tuple[type, ...]]] = {
    "attempt": int,
    "restarts": int,
    "failure": str,
    "same": int,
    "seconds": (int, float),
    "left": bool,
    "trainer_pid": int,
    "trainer_start": str,
}


@dataclass(slots=True)
class Memory:
    """The supervisor's memory; losing it costs a count, never the job.

    Args:
        attempt: How often a trainer has been started.
        restarts: How many of these starts followed a failure.
        failure: The identity of the last failure.
        same: How often it has come in a row without a new checkpoint in between.
        seconds: How long the job has run, without its time in the queue.
        left: Did the supervisor leave on purpose (paused, or told to by SIGTERM)?
        trainer_pid: The process id of the last trainer.
        trainer_start: When that was started, by `process.start_of`.
    """

    attempt: int = 0
    restarts: int = 0
    failure: str = ""
    same: int = 0
    seconds: float = 0.0
    left: bool = False
    trainer_pid: int | None = None
    trainer_start: str | None = None

    @classmethod
    def load(cls, folder: JobFolder) -> Memory:
        """What was written down; the beginning of everything where there is nothing fit to read."""
        stored = read_json(folder.memory)
        return cls(**{key: stored[key] for key, kind in _KINDS.items() if isinstance(stored.get(key), kind)})

    def save(self, folder: JobFolder) -> None:
        """Write it down, if the disk lets us."""
        with contextlib.suppress(OSError):
            write_json(folder.memory, asdict(self))

    def count(self, identity: str, progress: bool) -> None:
        """Count a failure; one that follows a new checkpoint is the first of its kind again."""
        self.same = self.same + 1 if identity == self.failure and not progress else 1
        self.failure = identity
