"""What of a job's events somebody should be told of. Ships; stdlib only.

Most alerts are events of their own. That a job started, ended or ran out of memory is told by its `state` and
`recovery` events already: one fact, one event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal

from engine.job.events import Event, EventType, Status, parse_stamp, stamp

Severity = Literal["info", "warning", "error"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "error")
"""The least first."""

NAMED: Final = (
    "job_started", "job_completed", "job_failed", "job_cancelled", "gpu_oom", "disk_warning",
    "timeout_warning", "loss_nan", "loss_spike", "loss_diverging", "overfitting", "stall", "cost_cap",
    "stray_pod", "pod_lost",
)  # fmt: skip
"""The alerts that are sent unless a channel wants others; whatever else is an error is sent, too."""

_STATES: Final[Mapping[str, tuple[str, Severity]]] = {
    Status.RUNNING: ("job_started", "info"),
    Status.COMPLETED: ("job_completed", "info"),
    Status.FAILED: ("job_failed", "error"),
    Status.CANCELLED: ("job_cancelled", "warning"),
}
_MEMORY: Final = re.compile(
    r"out of memory|OutOfMemoryError|memory ran out|Cannot allocate memory", re.IGNORECASE
)
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to be told, once.

    Args:
        alert: Its name.
        severity: How bad it is.
        message: One sentence; what a pod wrote, so it may hold anything.
        ts: When it happened.
        seq: The event that tells it; 0 where there is none.
        step: The step, if it belongs to one.
        cause: What equal notices have in common: of those one is sent in a while.
    """

    alert: str
    severity: Severity
    message: str
    ts: datetime
    seq: int = 0
    step: int | None = None
    cause: str = ""

    def kept(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "ts": stamp(self.ts)}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Notice:
        """From JSON.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        return cls(**{**kept, "ts": parse_stamp(kept["ts"])})


def notices_of(event: Event) -> Iterator[Notice]:
    """What an event gives somebody to know; mostly nothing."""
    data = event.data
    if event.type == EventType.ALERT:
        severity = data.get("severity")
        found: Severity = severity if severity in SEVERITIES else "warning"
        cause = str(data.get("cause") or "")[:200]
        yield _notice(event, str(data.get("alert") or "alert"), found, data.get("message"), cause)
    elif event.type == EventType.STATE and (known := _STATES.get(str(data.get("status")))):
        message = " ".join(str(data[key]) for key in ("error", "reason", "advice") if data.get(key))
        if known[0] == "job_failed" and _MEMORY.search(message):
            yield _notice(event, "gpu_oom", "error", message)
        # Each start and end is another one.
        yield _notice(event, *known, message or str(data["status"]), f"attempt {event.attempt}")
    elif event.type == EventType.RECOVERY:
        failure = str(data.get("failure") or "")
        if data.get("kind") == "out_of_memory" or _MEMORY.search(failure):
            yield _notice(event, "gpu_oom", "warning", f"{failure}; {data.get('action') or ''}")


def _notice(event: Event, alert: str, severity: Severity, message: Any, cause: str = "") -> Notice:
    text = str(message or alert)[:_LONGEST]
    return Notice(
        alert=alert[:60],
        severity=severity,
        message=text,
        ts=event.ts,
        seq=event.seq,
        step=event.step,
        cause=cause or re.sub(r"\d+", "#", text)[:200],
    )
