"""What the guard of a rented pod writes down for the supervisor, and for the next guard: guard.json."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.job.folder import JobFolder, read_json
from engine.supervisor.clock import boot_id

STALE: Final = 180.0
"""A guard that has not written for so long is dead (seconds)."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """The guard's word, read now.

    Args:
        seconds: How long the pod has run.
        age: Seconds since the guard wrote it down; None when the machine has started anew since.
        proven: Seconds since the pod was last proven able to end itself; None when it never was.
        refused: Why it can't end itself; empty when it can, or nobody knows yet.
        clustered: Is it one of a cluster's pods, which are ended together by the laptop alone?
        rate: Dollars an hour that the provider bills; None when it did not tell.
    """

    seconds: float
    age: float | None
    proven: float | None
    refused: str
    clustered: bool
    rate: float | None

    @property
    def verdict(self) -> str | None:
        """Why nothing may be trained here; empty when it may, None while the guard has yet to find out."""
        if not self.alive:
            return "the pod's guard is dead: nobody would end the pod"
        if self.clustered or self.proven is not None:
            return ""
        return f"the pod can't end itself: {self.refused}" if self.refused else None

    @property
    def alive(self) -> bool:
        """Does the guard live?"""
        return self.age is not None and self.age < STALE

    @classmethod
    def of(cls, folder: JobFolder) -> Guarded | None:
        """The word of the guard of the pod that this job's folder is on; None where there is none."""
        state = read_json(guard_file(folder.path.parent.parent))
        return cls.read(state) if state else None

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> Guarded:
        """The word that a guard.json holds; a broken one is that of a guard which has proven nothing."""
        same = state.get("boot") == boot_id()
        at, seconds, proven_at = (_number(state.get(key)) for key in ("at", "seconds", "proven_at"))
        age = time.monotonic() - at if same and at is not None else None
        now = (seconds or 0.0) + (age or 0.0)
        return cls(
            seconds=now,
            age=age,
            proven=None if proven_at is None else max(0.0, now - proven_at),
            refused=str(state.get("refused") or "")[:300],
            clustered=state.get("clustered") is True,
            rate=_number(state.get("rate")),
        )


def found(folder: JobFolder) -> Guarded:
    """The guard's word; where there is none, that of a dead one."""
    return Guarded.of(folder) or Guarded.read({})


def guard_file(root: Path) -> Path:
    """Where the guard of the pod with that Podium folder writes."""
    return root / "guard" / "guard.json"


def kept_file(root: Path) -> Path:
    """The laptop's word that all that was to be kept is there, verified: the pod may be deleted."""
    return root / "guard" / "kept"


def fetching_file(root: Path) -> Path:
    """Touched by the laptop while it fetches: the minutes for that begin anew."""
    return root / "guard" / "fetching"


def make_room(root: Path) -> None:
    """Make the guard's folder."""
    (root / "guard").mkdir(mode=0o700, parents=True, exist_ok=True)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
