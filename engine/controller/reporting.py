"""What a job's supervisor is told in its environment: where it reports, with which token, whom it alerts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Protocol, runtime_checkable

from engine.controller import alerting
from engine.errors import PodiumError
from engine.home import Home
from engine.store.base import Store

PASSED_ON: Final = ("METRICS_API_URL", "ALERT_API_URL")
"""Variables of this machine that a supervisor gets as they are."""
LONGEST_HOURS: Final = 24.0 * 14
"""How long a token is good where the run has no limit."""


@runtime_checkable
class Granting(Protocol):
    """A store that lets a job's pod report to it."""

    def grant(self, job_id: str, hours: float) -> Mapping[str, str]:
        """Variables with the address, its key, and a new token for that job alone.

        Raises:
            PodiumError: It can't be reached, or refuses.
        """
        ...

    def revoke(self, job_id: str) -> None:
        """Make that job's tokens worthless.

        Raises:
            PodiumError: It can't be reached, or refuses.
        """
        ...


class Reporting:
    """Knows what to tell supervisors. Blocking; any thread.

    Args:
        store: Where jobs are kept.
        home: Where alerts.yaml is.
    """

    def __init__(self, store: Store, home: Home) -> None:
        self._store, self._home = store, home
        self.trouble: dict[str, str] = {}
        """Why a job does not report or alert, by job."""

    def environment(self, job_id: str) -> dict[str, str]:
        """The variables for a supervisor that is about to start; what is not to be had is in `trouble`.

        A job trains all the same: the laptop passes on what a pod does not report.
        """
        told = {name: value for name in PASSED_ON if (value := os.environ.get(name))}
        self.trouble.pop(job_id, None)
        try:
            if alerts := alerting.for_pod(alerting.settings_of(self._home)):
                told["PODIUM_ALERTS"] = alerts
        except PodiumError as error:
            self.trouble[job_id] = f"no alerts are sent: {error}"
        if isinstance(self._store, Granting):
            try:
                told |= self._store.grant(job_id, self._hours(job_id))
            except PodiumError as error:
                self.trouble[job_id] = f"the pod does not report by itself: {error}"
        return told

    def ended(self, job_id: str) -> None:
        """The job is not under way any more: nobody needs its tokens."""
        if isinstance(self._store, Granting):
            try:
                self._store.revoke(job_id)
            except PodiumError as error:
                self.trouble[job_id] = f"the run's token is good until it expires: {error}"

    def _hours(self, job_id: str) -> float:
        """How long its token is to be good: twice its limit, and two days in the queue."""
        limits = self._store.job(job_id).config.get("limits")
        hours = limits.get("max_hours") if isinstance(limits, Mapping) else None
        return 2 * float(hours) + 48 if isinstance(hours, (int, float)) else LONGEST_HOURS
