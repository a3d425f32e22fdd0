"""What only this machine can see, and alerts of itself: a pod that nobody needs, one that nobody hears of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from engine.controller import alerting
from engine.controller.account import Belonging, belongings
from engine.controller.pods import Pods
from engine.errors import PodiumError
from engine.home import Home
from engine.job.events import EventType, EventWriter
from engine.job.folder import read_json
from engine.store.base import Store
from engine.stream import Link
from engine.supervisor.channels import About
from engine.supervisor.dispatch import Dispatcher, Rules
from engine.supervisor.outbox import Pace
from engine.supervisor.rules import quiet_of

PACE: Final = 20.0
"""Seconds between two looks."""
STRAYS: Final = 300.0
"""Seconds between two looks at what the account rents."""
LOST: Final = 600.0
"""Seconds without a connection from which on somebody is told."""


class Lookout:
    """Looks now and then while the app is open; alerts and their deliveries are events in the home.

    Args:
        store: Where jobs are kept.
        home: Where alerts.yaml is.
        pods: The pods of this session.
        links: Reads what each followed job's stream says of its connection.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        store: Store,
        home: Home,
        pods: Pods,
        links: Callable[[], Mapping[str, Link]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._home, self._pods, self._links, self._clock = store, home, pods, links, clock
        self._away: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._strays_due = clock() + PACE

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(PACE)
            await self.look()

    async def look(self) -> None:
        """Look once, and send what there is to tell."""
        try:
            if not await asyncio.to_thread(lambda: alerting.settings_of(self._home).channels):
                return
            lost = await asyncio.to_thread(self._lost)
            told = [*lost, *await self._strays()]
            if told or self._waiting():
                await asyncio.to_thread(self._tell, told)
        except (PodiumError, OSError):
            return  # the settings' trouble is said where a job starts, and by `podium alerts check`

    def _lost(self) -> list[dict[str, Any]]:
        """Runs whose machine could not be reached for a while."""
        now, links = self._clock(), self._links()
        away = [job_id for job_id, link in links.items() if link == "reconnecting"]
        self._away = {job_id: self._away.get(job_id, now) for job_id in away}
        found = []
        self._told = {job_id: at for job_id, at in self._told.items() if job_id in self._away}
        for job_id, since in self._away.items():
            # Not at each look: a machine that is away for a week would fill the file.
            if now - since >= LOST and now - self._told.get(job_id, -LOST) >= LOST:
                self._told[job_id] = now
                job = self._store.job(job_id)
                message = f"{job.name}: its machine can't be reached for {(now - since) / 60:.0f} min"
                found.append({"alert": "pod_lost", "message": message, "cause": job_id, "severity": "error"})
        return found

    async def _strays(self) -> list[dict[str, Any]]:
        """Pods of ours that no run here needs."""
        if self._clock() < self._strays_due:
            return []
        self._strays_due = self._clock() + STRAYS
        try:
            pods = await self._pods.provider().list()
        except PodiumError:
            return []  # no key, or nobody answers: `podium pods` says so
        now = datetime.now(UTC)
        items = await asyncio.to_thread(belongings, self._store, self._home, pods, now)
        return [stray(item) for item in items if item.reapable and item.job is None]

    def _waiting(self) -> bool:
        """Is there anything that could not be delivered yet?"""
        return bool(read_json(self._home.laptop / "alerts.json").get("waiting"))

    def _tell(self, told: Iterable[Mapping[str, Any]]) -> None:
        """Write alerts down, and deliver what is due."""
        folder = self._home.laptop
        folder.mkdir(parents=True, exist_ok=True)
        with EventWriter(folder / "events.jsonl") as events:

            def keep(type: EventType, data: dict[str, Any]) -> None:
                events.append(type, **data)

            dispatcher = self._dispatcher(keep)
            for item in told:
                events.append(EventType.ALERT, **item)
            for _ in range(20):
                if dispatcher.step() > 0 and not dispatcher.behind:
                    return

    def _dispatcher(self, tell: Callable[[EventType, dict[str, Any]], None]) -> Dispatcher:
        settings = alerting.settings_of(self._home)
        return Dispatcher(
            self._home.laptop / "events.jsonl",
            self._home.laptop / "alerts.json",
            About("", "this machine"),
            alerting.channels_of(settings),
            Rules(quiet_of(alerting.quiet_hours(settings)), settings.dedupe_minutes),
            Pace(timeout=10.0),
            tell,
        )


def stray(item: Belonging) -> dict[str, Any]:
    """A stray pod as an alert."""
    rate = item.pod.price_per_hour
    costs = f", ${rate:.2f}/h" if rate else ""
    message = f"{item.pod.name} ({item.pod.id}) belongs to no run here{costs}: podium pods reap"
    return {"alert": "stray_pod", "severity": "error", "message": message, "cause": item.pod.id}
