"""How long a pod has been billed: monotonic, and kept over the guard's own deaths. No wall clock is read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_LONGEST_GAP: Final = 300.0
"""A longer time without a guard was a stop, in which a pod is not billed (seconds)."""


class PodClock:
    """Seconds that the pod has run.

    Args:
        kept: What the guard before this one wrote down, from `kept`; empty for the first one.
    """

    def __init__(self, kept: Mapping[str, Any]) -> None:
        self._boot = boot_id()
        before = kept.get("seconds")
        self._before = float(before) if isinstance(before, (int, float)) else 0.0
        self._since = time.monotonic()
        at = kept.get("at")
        if kept.get("boot") == self._boot and isinstance(at, (int, float)):
            self._before += min(max(0.0, self._since - at), _LONGEST_GAP)

    def seconds(self) -> float:
        """How long the pod has run until now."""
        return self._before + time.monotonic() - self._since

    def kept(self) -> dict[str, Any]:
        """What another process, or the next guard, needs to read this clock."""
        return {"seconds": self.seconds(), "at": time.monotonic(), "boot": self._boot}


def boot_id() -> str:
    """Which boot of the machine this is: monotonic times of another one mean nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
