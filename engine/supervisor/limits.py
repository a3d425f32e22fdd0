"""The job's limits, read from job.json as it stands: hours, dollars, silence, restarts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from engine.job.folder import read_json

_WARN_AT: Final = 0.9
"""The share of a limit at which its warning is given."""
_SAVE_AT: Final = 0.95
"""The share at which a checkpoint is saved, so that the end itself need not succeed."""
_LARGEST_SHARE: Final = 0.5
"""More of a cap is not kept for fetching, or a small one would leave nothing to train with."""
CAPS: Final = ("max_hours", "max_cost_usd")
"""The limits that can be changed while a job runs."""
_NAMES: Final = {"timeout_warning": ("max_hours", "hours"), "cost_cap": ("max_cost_usd", "cost_usd")}


@dataclass(frozen=True, slots=True)
class Limits:
    """What must not be exceeded; None is no limit.

    Args:
        max_hours: Hours that the job may run, over all attempts; waiting in the queue is not running.
        max_cost_usd: Dollars that it may cost.
        cost_per_hour: What an hour costs, in dollars.
        stall_minutes: Minutes without an event from the trainer until it is restarted.
        max_restarts: Restarts after failures.
        rented: Does the machine cost until somebody ends it? Then the pod's whole life counts.
        retrieve_minutes: Minutes that a rented pod is kept after the run, for fetching, within the cap.
    """

    max_hours: float | None = None
    max_cost_usd: float | None = None
    cost_per_hour: float | None = None
    stall_minutes: float | None = 30
    max_restarts: int = 3
    rented: bool = False
    retrieve_minutes: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Limits:
        """The limits in a job.json; the trainer is the one that complains of a broken file."""
        return cls.of(read_json(path))

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Limits:
        """The limits in a spec, with an hour's price where the pod is paid by the hour."""
        limits, pod = _section(spec, "limits"), _section(spec, "pod")
        restarts = _positive(limits.get("max_restarts"))
        rented = pod.get("provider") not in (None, "local", "ssh")
        return cls(
            max_hours=_positive(limits.get("max_hours")),
            max_cost_usd=_positive(limits.get("max_cost_usd")),
            cost_per_hour=_positive(pod.get("cost_per_hour")),
            stall_minutes=_positive(limits.get("stall_minutes", 30)),
            max_restarts=0 if limits.get("max_restarts") == 0 else int(restarts) if restarts else 3,
            rented=rented,
            retrieve_minutes=(_positive(limits.get("retrieve_minutes")) or 0.0) if rented else 0.0,
        )

    def changed(self, wanted: Any) -> Limits:
        """The same limits with other hours or dollars; what is no such limit changes nothing.

        Args:
            wanted: `max_hours` and `max_cost_usd`, as `limits.json` or a request has them.
        """
        given = wanted if isinstance(wanted, Mapping) else {}
        numbers: dict[str, Any] = {name: _positive(given.get(name)) for name in CAPS}
        return replace(self, **{name: number for name, number in numbers.items() if number is not None})

    @property
    def caps(self) -> dict[str, float]:
        """Those of the limits that can be changed while a job runs, as `changed` takes them."""
        found = {name: getattr(self, name) for name in CAPS}
        return {name: value for name, value in found.items() if value is not None}

    def at(self, rate: float | None) -> Limits:
        """The same limits at another price, dollars an hour."""
        return self if rate is None or rate == self.cost_per_hour else replace(self, cost_per_hour=rate)

    def reached(self, seconds: float) -> str | None:
        """The limit that a job which has run so long has reached, as a sentence."""
        for _, limit, used, sentence in self._used(seconds):
            if used >= limit:
                return sentence
        return None

    def near(self, seconds: float) -> tuple[str, str] | None:
        """The name of the alert and its message, once a limit is nearly reached."""
        for alert, limit, used, sentence in self._used(seconds):
            if used >= _WARN_AT * limit:
                return alert, f"{sentence}: the job is about to be stopped, what is saved stays"
        return None

    def save_due(self, seconds: float) -> str | None:
        """The limit that is so near that a checkpoint should be saved now, as a sentence."""
        return next((told for _, limit, used, told in self._used(seconds) if used >= _SAVE_AT * limit), None)

    @property
    def pod_seconds(self) -> float | None:
        """How long a rented pod may live at all, its last minutes for fetching included; None for ever."""
        hours = [] if self.max_hours is None else [self.max_hours + self.retrieve_minutes / 60]
        if self.max_cost_usd is not None and self.cost_per_hour:  # what is free never reaches it
            hours.append(self.max_cost_usd / self.cost_per_hour)
        return 3600 * min(hours) if hours else None

    def standing(self, seconds: float) -> dict[str, float]:
        """What the heartbeat says of the limits: each that is set, and what of it is used."""
        return {
            name: round(figure, 4)
            for alert, _, used, _ in self._used(seconds)
            for name, figure in zip(_NAMES[alert], (getattr(self, _NAMES[alert][0]), used), strict=True)
        }

    def _used(self, seconds: float) -> list[tuple[str, float, float, str]]:
        """Alert, limit, what of it is used, and the sentence, for each limit that is set."""
        hours = seconds / 3600
        found = []
        if self.max_hours is not None:
            sentence = f"limits.max_hours of {self.max_hours:g} h"
            found.append(("timeout_warning", self.max_hours, hours, sentence))
        if self.max_cost_usd is not None and self.cost_per_hour is not None:
            sentence = f"limits.max_cost_usd of ${self.max_cost_usd:g} at ${self.cost_per_hour:g}/h"
            kept = min(self.retrieve_minutes / 60 * self.cost_per_hour, _LARGEST_SHARE * self.max_cost_usd)
            sentence += f", ${kept:.2f} of it kept for fetching," if kept else ""
            found.append(("cost_cap", self.max_cost_usd - kept, hours * self.cost_per_hour, sentence))
        return found


def _section(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = spec.get(name)
    return section if isinstance(section, Mapping) else {}


def _positive(value: Any) -> float | None:
    """The value if it is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None
