"""Where reports go: a hosted store's one function, or a plain HTTPS address with the old payload's names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from engine.job.events import Event, EventType, plain, stamp
from engine.supervisor.post import Unfit, post

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
"""What JSON can hold, and a database's JSON can't."""
_COLUMNS: Final = (
    "epoch", "train_loss", "eval_loss", "learning_rate", "grad_norm", "perplexity", "train_perplexity",
    "samples_per_second", "tokens_per_second", "gpu_memory_allocated_gb", "gpu_memory_reserved_gb",
)  # fmt: skip


class Sink(Protocol):
    """Takes events; the same ones may come again.

    Raises:
        NotTaken: From `send`: not one of these is certain to have been taken.
    """

    name: str

    def send(self, events: Sequence[Event]) -> None:
        """Hand over events."""
        ...

    def sound(self) -> bool:
        """Is it only those events that it could not take?"""
        ...


@dataclass(slots=True)
class Hosted:
    """The function `report_events` of a hosted store, which keeps each event once.

    Args:
        url: The project's address.
        key: Its publishable key; it opens nothing but that function.
        job_id: The job.
        token: The job's token.
        timeout: Seconds.
    """

    url: str = field(repr=False)
    key: str = field(repr=False)
    job_id: str
    token: str = field(repr=False)
    timeout: float = 20.0
    name: str = "hosted"

    def send(self, events: Sequence[Event]) -> None:
        """Call it."""
        told = [
            {
                "seq": event.seq,
                "ts": stamp(event.ts),
                "attempt": event.attempt,
                "type": storable(str(event.type)),
                "step": event.step,
                "data": storable(plain(event.data)),
            }
            for event in events
        ]
        body = {"job_id": self.job_id, "job_token": self.token, "events": told}
        headers = {"apikey": self.key, "Content-Type": "application/json"}
        address = f"{self.url.rstrip('/')}/rest/v1/rpc/report_events"
        post(address, as_body(body), headers, self.timeout)

    def sound(self) -> bool:
        """It takes no events at all, if it takes anything."""
        try:
            self.send(())
        except Unfit:
            return False
        return True


@dataclass(slots=True)
class Plain:
    """An address that takes rows of metrics; it may get one again, which then has the same `seq`.

    Args:
        url: The address, whole.
        job_id: The job.
        token: The job's token, if it has one: a bearer's.
        timeout: Seconds.
    """

    url: str = field(repr=False)
    job_id: str
    token: str = field(default="", repr=False)
    timeout: float = 20.0
    name: str = "metrics_api"
    taken: bool = False
    """Has it ever taken anything?"""

    def send(self, events: Sequence[Event]) -> None:
        """Post the rows that these events make, if they make any."""
        rows = [
            row(self.job_id, event) for event in events if event.type in (EventType.TRAIN, EventType.EVAL)
        ]
        if not rows:
            return
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        post(self.url, as_body({"job_id": self.job_id, "metrics": rows}), headers, self.timeout)
        self.taken = True

    def sound(self) -> bool:
        """It is, if it has taken others."""
        return self.taken


def row(job_id: str, event: Event) -> dict[str, Any]:
    """An event as a row of `local_training_metrics`; a figure that JSON has no word for is null."""
    data = event.data
    told = {**data, "train_loss": data.get("train_loss", data.get("loss"))}
    figures = {name: told[name] for name in _COLUMNS if isinstance(told.get(name), (int, float))}
    return {
        "job_id": job_id,
        "seq": event.seq,
        "kind": event.type,
        "step": event.step,
        **dict.fromkeys(("train_loss", "eval_loss")),
        **figures,
        "timestamp": stamp(event.ts),
    }


def storable(value: Any) -> Any:
    """A JSON value without the characters that PostgreSQL's jsonb refuses."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {storable(key): storable(item) for key, item in value.items()}
    return [storable(item) for item in value] if isinstance(value, (list, tuple)) else value


def as_body(value: Any) -> bytes:
    """JSON, compact."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(
        errors="replace"
    )
