"""How a supervision goes and ends: its clock, who may end it, and what is written down of the end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from engine.job.events import Status
from engine.job.folder import JobFolder, write_json

_RESERVE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things take, in seconds.

    Args:
        tick: The longest sleep: a request is seen after so long.
        heartbeat: Between heartbeats in the first `lively` seconds.
        heartbeat_later: Between heartbeats afterwards: events.jsonl grows by some 4 MB a day.
        lively: See there.
        stop_grace: How long a trainer may take to save and leave.
        stall_grace: How long a stalled one may.
        backoff: Waits before the first, second, … restart; the last one repeats.
        guard_patience: How long a rented pod's guard may take to prove that it can end the pod.
        linger: How long the end is tried to be written to a full disk.
    """

    tick: float = 0.2
    heartbeat: float = 2.0
    heartbeat_later: float = 5.0
    lively: float = 600.0
    stop_grace: float = 60.0
    stall_grace: float = 10.0
    backoff: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    guard_patience: float = 600.0
    linger: float = 600.0


class Why(StrEnum):
    """Why a trainer was asked to leave."""

    STOP = "stop"
    PAUSE = "pause"
    LIMIT = "limit"
    STALL = "stall"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the supervision ended.

    Args:
        status: The job's last state; None when it goes on under the next supervisor.
        error: What went wrong, one line.
        advice: What to do about it.
        reason: Who wanted it so, where nothing went wrong.
        code: The trainer's exit status; negative for a signal, None when there was none.
        told: Has the trainer written the `state` event itself?
    """

    status: Status | None
    error: str = ""
    advice: str = ""
    reason: str = ""
    code: int | None = None
    told: bool = False

    def said(self) -> dict[str, str | int]:
        """What the `state` event says besides the status."""
        texts = {"error": self.error, "advice": self.advice, "reason": self.reason}
        said: dict[str, str | int] = {key: text for key, text in texts.items() if text}
        return said if self.code is None else {**said, "exit_code": self.code}


class Reserve:
    """Some room on the disk that is given back at the end, so that the end can be written when it is full.

    Args:
        folder: The job's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".reserve"
        with contextlib.suppress(OSError):
            self._path.write_bytes(bytes(_RESERVE))

    def give_back(self) -> None:
        """Free the room."""
        with contextlib.suppress(OSError):
            self._path.unlink()


def write_exit(folder: JobFolder, outcome: Outcome, attempt: int, seconds: float) -> bool:
    """Write exit.json for a job that ended; False when it can't be written now.

    Args:
        folder: The job's folder.
        outcome: How it ended; nothing is written for one that may go on.
        attempt: The last start of the trainer.
        seconds: How long the job ran, over all attempts.
    """
    if outcome.status is None or not outcome.status.ended:
        return True
    record = {
        "status": outcome.status,
        "exit_code": outcome.code,
        "error": outcome.error,
        "advice": outcome.advice,
        "reason": outcome.reason,
        "attempt": attempt,
        "seconds": round(seconds, 3),
    }
    try:
        write_json(folder.exit, record)
    except OSError:
        return False
    return True
