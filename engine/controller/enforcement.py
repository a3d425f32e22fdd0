"""The laptop holds the limits of rented pods too, while it is there: for a guard that fails to.

A pod's own guard comes first, and gets a little longer than its limits. What it has not ended by then is
ended from here, through the provider, until that confirms it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from engine.controller.pods import Pods
from engine.home import Home
from engine.pods.placements import Placement
from engine.pods.provider import Rented
from engine.pods.sign import Sign, last_sign
from engine.records import Job
from engine.store.base import Store
from engine.supervisor.limits import Limits
from engine.supervisor.locks import held

SLACK: Final = 180.0
"""Seconds that a guard is given after its limit: it lets the trainer save first."""
LATE: Final = 120.0
"""Seconds between two looks for a pod whose request was never answered."""
_IDLE_PERCENT: Final = 10.0
_PATIENCE: Final = 4
"""How many times as long a pod may be silent whose GPUs work, or of which nobody knows."""

End = Callable[[str, str], Awaitable[None]]
"""Terminates the pod of a job, for a reason; returns when the provider confirms that it is gone."""
Stop = Callable[[str], Awaitable[bool]]
"""Stops the pod of a job so that its own disk is kept; False where it has none."""
Told = Callable[[str, str], Awaitable[None]]
"""Told of a job that was ended, and why."""


class Enforcement:
    """Looks at every rented pod now and then.

    Args:
        store: Where jobs are kept.
        home: Where their mirrors are.
        pods: The pods of this session.
        stop: How a pod is stopped.
        end: How a pod is terminated.
        told: Who writes down that its job is over.
        pace: Seconds between two looks.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        store: Store,
        home: Home,
        pods: Pods,
        *,
        stop: Stop,
        end: End,
        told: Told,
        pace: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._home, self._pods = store, home, pods
        self._stop, self._end, self._told = stop, end, told
        self._pace, self._clock = pace, clock
        self._silent: dict[str, tuple[Sign | None, float]] = {}
        self._suspects: set[str] = set()
        self._late: dict[str, float] = {}
        self.trouble: dict[str, str] = {}
        """Why a pod that should have ended may still bill, by job."""

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(self._pace)

    async def look(self) -> None:
        """Look at every pod that may bill, and end those that are over their limits."""
        there = await asyncio.to_thread(lambda: list(self._pods.placements.open()))
        # One that can't be looked at, for whatever reason, keeps nobody from looking at the others.
        outcomes = await asyncio.gather(*map(self._hold, there), return_exceptions=True)
        for placement, failure in zip(there, outcomes, strict=True):
            if failure is not None:
                self.trouble[placement.job_id] = str(failure) or type(failure).__name__

    async def _hold(self, placement: Placement) -> None:
        job = await asyncio.to_thread(self._store.job, placement.job_id)
        if job.status.ended and placement.pod_id is None and job.current_step is None:
            await self._end_late(job)
            return
        sign = await asyncio.to_thread(last_sign, self._home.job(job.id).events)
        limits = Limits.of(job.config).at(placement.price_per_hour)
        silence = self._silence(job.id, sign)
        why = self._sure(job.id, sign, over(limits, placement, sign, datetime.now(UTC)))
        suspected = limits.stall_minutes is not None and silence >= 60 * limits.stall_minutes
        if not why and not (suspected and job.status.live):
            return
        pod = await self._pods.rented(job.id).state()
        fetching = job.status.ended and fresh(pod, 60 * placement.retrieve_minutes)
        if pod is None or pod.status == "stopped" or fetching:
            self.trouble.pop(job.id, None)
            return
        if not why and limits.stall_minutes is not None:
            why = stalled(pod, silence / 60, limits.stall_minutes)
        if why:
            await self._let_end(job, why)

    async def _end_late(self, job: Job) -> None:
        """End a pod that came into being after its launch was given up, its request unanswered."""
        if self._clock() < self._late.get(job.id, 0.0):
            return
        self._late[job.id] = self._clock() + LATE
        await self._end(job.id, "its launch had been given up")

    def _sure(self, job_id: str, sign: Sign | None, why: str) -> str:
        """Why it is over its limits, on two looks in a row where something was heard of it.

        A clock that is put forward makes the newest sign old, until the next one comes.
        """
        suspected = job_id in self._suspects
        (self._suspects.add if why else self._suspects.discard)(job_id)
        return why if sign is None or suspected else ""

    def _silence(self, job_id: str, sign: Sign | None) -> float:
        """Seconds since anything new was heard, of those in which this session was awake and looked."""
        before, since = self._silent.get(job_id, (None, self._clock()))
        # What is brought to it may take hours, in which it says nothing.
        if before != sign or held(self._home.launching(job_id)):
            since = self._clock()
        self._silent[job_id] = sign, since
        return self._clock() - since

    async def _let_end(self, job: Job, why: str) -> None:
        """End a pod: stopped where its own disk holds what nobody fetched, else terminated."""
        # What has trained has something to fetch.
        if job.current_step is not None and await self._stop(job.id):
            done = "it was stopped, and its disk is kept: `podium pods` shows it"
        else:
            await self._end(job.id, why)
            done = "it was terminated, and is gone"
        self.trouble.pop(job.id, None)
        if job.status.live:
            await self._told(job.id, f"{why}, and its guard did not end the pod: {done}")


def over(limits: Limits, placement: Placement, sign: Sign | None, now: datetime) -> str:
    """Which limit a pod has passed by more than its guard is given; empty when none.

    Args:
        limits: The job's, at the billed price.
        placement: Where it is.
        sign: The last that was heard of it.
        now: This machine's time.
    """
    last, since = limits.pod_seconds, placement.asked_at
    if last is None or since is None:
        return ""
    used = (now - since).total_seconds()
    if sign is not None and sign.hours is not None:
        used = 3600 * sign.hours + (now - sign.heard_at).total_seconds()
    if used <= last + SLACK:
        return ""
    return f"{limits.reached(used) or 'its limits'} reached"


def fresh(pod: Rented | None, seconds: float) -> bool:
    """Was it started so lately that somebody may have resumed it, to fetch what is there?"""
    ages = [pod.uptime_seconds] if pod is not None and pod.uptime_seconds is not None else []
    if pod is not None and pod.started_at is not None:
        ages.append((datetime.now(UTC) - pod.started_at).total_seconds())
    return bool(ages) and min(ages) < seconds


def stalled(pod: Rented, minutes: float, stall_minutes: float) -> str:
    """Why a pod that has been silent is given up; empty while it may be at work."""
    busy = [use.utilization_percent for use in pod.gpus if use.utilization_percent is not None]
    # One that is neither running nor stopped bills, too: a machine that broke may be so for ever.
    idle = pod.status == "running" and bool(busy) and max(busy) <= _IDLE_PERCENT
    if minutes < stall_minutes * (1 if idle else _PATIENCE):
        return ""
    doing = "its GPUs idle" if idle else "and nobody knows what it does"
    return f"nothing was heard from it for {minutes:.0f} minutes, {doing}"
