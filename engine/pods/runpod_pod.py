"""A job's pod on RunPod: rented under the job's name, found again by it, a machine over SSH once it is up.

    rent -> (id kept) -> price checked -> reached by a command -> SSHPod … -> ended, proven gone

A cluster goes the same way as if it were one pod: one name, one price, one end; its machines are an SSHGroup.

Only `rent` rents. All else finds the pod that there is: by its id, or, where the laptop died before the id
was known, by its name.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from engine.errors import NoSuchPod, PodError, PodLost, ProviderError
from engine.home import Home
from engine.job.events import Phase
from engine.pods.base import Chunk, Completed
from engine.pods.behind import Behind, Machines
from engine.pods.patience import Patience
from engine.pods.pins import Pins
from engine.pods.placements import Placement, Placements
from engine.pods.prices import check_rate
from engine.pods.provider import CreateRequest, Offer, Provider, Rented
from engine.pods.rent import rent
from engine.pods.ssh import SSHPod
from engine.pods.ssh_group import SSHGroup
from engine.pods.ssh_start import Told
from engine.pods.tenancy import Tenancy, seated

Changed = Callable[[str, Rented, Placement], Awaitable[None]]
"""Told of a job's pod when it is known, or changes."""

T = TypeVar("T")

_READY: Final = ("nvidia-smi", "--query-gpu=index", "--format=csv,noheader")
"""The command whose success is readiness: sshd lets us in, and the driver has the GPUs."""
_LATEST: Final = timedelta(minutes=30)
"""After so long no pod comes any more of a request whose answer was lost."""
_LOOK: Final = 20.0
"""Seconds that it may take."""
_AGAIN: Final = 60.0
"""Seconds until it is asked where another of several machines may be that nothing is heard of."""
_STATES: Final = {
    "stopped": "is stopped: `podium pods resume` starts it again",
    "error": "has failed on the provider's side",
}


class _Failed(PodLost):
    """It will never come up."""


class RunPodPod:
    """A rented pod; one job's.

    Args:
        placement: Where the job is, as it is kept.
        placements: Where it is kept.
        home: Where job folders, or their mirrors, are.
        provider: Who rents out.
        patience: How long to wait for readiness, and how often to look.
        told: Told what is being done for a job that starts.
        changed: Told of the pod when it is known or changes.
        options: More for the SSH machine.
    """

    in_place = False

    def __init__(
        self,
        placement: Placement,
        placements: Placements,
        home: Home,
        provider: Callable[[], Provider],
        patience: Patience,
        *,
        told: Told,
        changed: Changed,
        options: Mapping[str, Any],
    ) -> None:
        self.placement, self._placements, self._home = placement, placements, home
        self._provider, self._patience = provider, patience
        self._tenancy = Tenancy(provider, placement.name, placement.nodes)
        self._told, self._changed = told, changed
        self._behind = Behind(home, placements, told, options)
        self._checked = False
        """Was its address looked up since the connection was lost?"""
        self._guard = asyncio.Lock()
        self.id = placement.pod_id or placement.name
        """The pod's id; its name while that is not known."""

    def folder(self, job_id: str) -> str:
        """The job's folder on the pod."""
        return f"{self.placement.pod.folder}/jobs/{job_id}"

    # ------------------------------------------------------------------ renting

    async def rent(self, request: CreateRequest, trying: Callable[[Offer], None]) -> None:
        """Rent it, at the price that was confirmed; its id is kept before it is waited for.

        Args:
            request: All but the GPU and the cloud, which are the confirmed offers'.
            trying: Told of each candidate.

        Raises:
            ProviderError: It is not to be had.
            PodError: It is billed higher than was confirmed, and was ended.
        """
        await self._keep(asked_at=datetime.now(UTC))
        await self._told(self.placement.job_id, Phase.PROVISION, "")
        nodes, offers = self.placement.nodes, self.placement.offers
        had = await rent(self._provider(), request, offers, nodes=nodes, trying=trying)
        pod = had.cluster.as_pod() if had.cluster else had.pods[0]
        await self._know(pod)
        await self._check_rate(pod)

    async def _know(self, pod: Rented) -> None:
        """Keep which one it is."""
        price = pod.price_per_hour or self.placement.price_per_hour
        known = replace(self.placement, pod_id=pod.id, price_per_hour=price)
        # In this order: what is kept last has been told, however the laptop dies.
        await self._changed(known.job_id, pod, known)
        await self._keep(pod_id=pod.id, price_per_hour=price)

    async def _check_rate(self, pod: Rented) -> None:
        """End a pod that is billed higher than was confirmed."""
        count = self._gpus * self.placement.nodes
        offers = self.placement.offers
        if not offers:
            return
        here = [item for item in offers if pod.cloud in (None, item.cloud)]
        like = [item for item in here if pod.gpu_id in (None, item.gpu_id)]
        # What bills as none of the candidates was confirmed by nobody: the dearest of them is the measure.
        confirmed = like[0].price_per_hour if like else max(item.price_per_hour for item in offers)
        rate = check_rate(confirmed * count, pod.price_per_hour)
        if rate.verdict == "dearer":
            await self.end(f"it was {rate.message}")
            raise PodError(
                f"{self.placement.name} was {rate.message}: it was terminated, and is gone",
                "Launch again to confirm today's price.",
            )

    async def find(self) -> Rented:
        """The pod as it is now; one that was not known by its id is from now on.

        Raises:
            NoSuchPod: There is none, or none any more; why is said.
            ProviderError: The provider can't say.
        """
        pod = await self._seen()
        if self.placement.pod_id is None:
            await self._know(pod)
            await self._check_rate(pod)
        return pod

    async def _seen(self) -> Rented:
        """The pod as it is now; nothing is kept of it."""
        if self.placement.pod_id is None:
            # Another process may have launched it since this one looked.
            self.placement = await self._fresh()
        placement = self.placement
        if placement.gone_at is not None:
            raise NoSuchPod(placement.ending or f"{placement.name} is gone")
        if placement.asked_at is None:
            raise NoSuchPod(
                "the launch was interrupted before a machine was rented: nothing bills", "Launch it again."
            )
        return await (self._by_name() if placement.pod_id is None else self._by_id(placement.pod_id))

    async def _by_id(self, pod_id: str) -> Rented:
        for wait in self._patience.looks:
            if wait:
                await self._patience.sleep(wait)
            pod = await self._tenancy.look(pod_id)
            if pod is not None and not pod.gone:
                return pod
            if pod is not None:
                break
            # What is not known may be too new to be: one that was wrongly given up would bill on.
        else:
            if (listed := await self._tenancy.listed(pod_id)) is not None:
                return listed
        await self._gone("its pod has ended: what had arrived here is kept")
        raise NoSuchPod(self.placement.ending)

    async def _by_name(self) -> Rented:
        """The pod that was asked for when the laptop died; it may take a moment until it is listed."""
        for wait in self._patience.looks:
            if wait:
                await self._patience.sleep(wait)
            if (there := await self._tenancy.named()) is not None:
                return there
        why = "the launch was interrupted before a machine came: nothing bills"
        await self._never_came(why)
        raise NoSuchPod(why, "Launch it again.")

    # ------------------------------------------------------------------ reaching

    async def ready(self) -> Machines:
        """Wait until a command on it succeeds; of several machines, on each.

        Raises:
            NoSuchPod: It is gone, or it did not come up in time, or without its GPUs, and was ended.
        """
        until = self._patience.clock() + self._patience.ready_within
        polls, why = iter(self._patience.polls), "it is not up yet"
        wait = self._patience.polls[-1]
        while self._patience.clock() < until:
            try:
                machines = await self._reach()
                await self._with_gpus(machines)
                return machines
            except NoSuchPod:
                raise
            except _Failed as error:
                raise await self._given_up(error.what) from None
            except PodError as error:
                # A key that is not let in yet is as common as a port that is not open yet.
                why = error.what
            self._checked = False
            await self._patience.sleep(next(polls, wait))
        minutes = self._patience.ready_within / 60
        raise await self._given_up(f"{self.placement.name} was not ready within {minutes:g} minutes ({why})")

    @property
    def _gpus(self) -> int:
        """GPUs of a machine, by the spec."""
        return self.placement.pod.rent.gpu_count if self.placement.pod.rent else 1

    async def _with_gpus(self, ssh: Machines) -> None:
        """See that it has the GPUs that are paid for."""
        machines = ssh.machines if isinstance(ssh, SSHGroup) else (ssh,)
        for done in await asyncio.gather(*(machine.run(_READY, timeout=_LOOK) for machine in machines)):
            found = len(done.out.split()) if done.code == 0 else 0
            if found < self._gpus:
                name = self.placement.name if len(machines) == 1 else f"a machine of {self.placement.name}"
                raise await self._given_up(f"{name} came up with {found} of {self._gpus} GPUs")

    async def _given_up(self, why: str) -> NoSuchPod:
        """End it; the error that says so.

        Raises:
            PodLost: It has trained, and is not ended: what it made may be there alone. Its limits hold.
        """
        if await asyncio.to_thread(self._home.job(self.placement.job_id).events.exists):
            raise PodLost(why, "It is tried again; `podium pods terminate` ends it, with what is on it.")
        await self.end(f"{why}: it was terminated, and is gone")
        return NoSuchPod(self.placement.ending, "Launch again, or try another GPU or cloud.")

    async def reach(self) -> SSHPod:
        """The machine behind the pod, the first of several, wherever it is now.

        Raises:
            NoSuchPod: It is gone.
            PodLost: It has no address now; why is said.
        """
        found = await self._reach()
        return found.head if isinstance(found, SSHGroup) else found

    async def group(self) -> SSHGroup | None:
        """Its machines, where they are several.

        Raises:
            PodError: They can't be reached.
        """
        found = await self._reach()
        return found if isinstance(found, SSHGroup) else None

    async def _reach(self) -> Machines:
        """What is behind the pod; the provider is asked again after a loss."""
        async with self._guard:
            if self._behind.machines is not None and self._checked:
                return self._behind.machines
            known = self.placement.address
            try:
                pod = await self.find()
            except NoSuchPod:
                raise
            except ProviderError:
                if known is None:
                    raise
                # A provider that is down must not cut off a pod that is up.
                return await self._behind.of(self.placement)
            if known is None and pod.price_per_hour not in (None, 0, self.placement.price_per_hour):
                await self._know(pod)
                await self._check_rate(pod)
            if pod.status == "stopped" or self._started_anew(pod):
                # Each start makes another container, with a host key of its own.
                await asyncio.to_thread(Pins(self._home.host_keys).forget, pod.id)
            await self._with_its_first(pod)
            # Of a cluster that was up once, the first machine alone can be without the others.
            up = pod.status == "running" or bool(self.placement.seats)
            if pod.ssh is None or not up:
                state = _STATES.get(pod.status, f"is {pod.status}, and has no address yet")
                lost = _Failed if pod.status == "error" else PodLost
                raise lost(f"pod {pod.id} {state}")
            seats = seated(self.placement, pod)
            started = pod.started_at or self.placement.started_at
            if (pod.ssh, seats, started) != (known, self.placement.seats, self.placement.started_at):
                await self._keep(address=pod.ssh, seats=seats, started_at=started)
            self._checked = True
            return await self._behind.of(self.placement)

    async def _with_its_first(self, pod: Rented) -> None:
        """End a cluster whose first machine is gone: with it went all that the run had; the others bill."""
        if not self.placement.seats or pod.ssh is not None:
            return
        first = self.placement.seats[0].pod_id
        single = Tenancy(self._provider, first, 1)
        if await single.look(first) is None and await single.listed(first) is None:
            await self.end("its first machine is gone, and what was not fetched: the cluster was ended")
            raise NoSuchPod(self.placement.ending)

    def _started_anew(self, pod: Rented) -> bool:
        """Was it stopped and started while nobody here looked? The provider says so, nobody on the way."""
        before = self.placement.started_at
        return before is not None and pod.started_at is not None and pod.started_at != before

    @property
    def trouble(self) -> str:
        """Which of several machines nothing is heard of, one line; empty when all is well."""
        return self._behind.trouble

    # ------------------------------------------------------------------ ending

    async def state(self) -> Rented | None:
        """The pod as it is now; None if there is none, or none any more."""
        try:
            return await self.find()
        except NoSuchPod:
            return None

    async def end(self, why: str) -> None:
        """Terminate it, and return when the provider confirms that it is gone.

        Args:
            why: For people.

        Raises:
            ProviderError: It may still bill.
        """
        try:
            pod = await self._seen()
        except NoSuchPod:
            await self._never_came(why)
            return
        with contextlib.suppress(PodError):
            # A disk that is full keeps no pod alive.
            await self._keep(ending=why, pod_id=pod.id)
        await self._tenancy.terminate(pod.id)
        await self._gone(why)

    async def _never_came(self, why: str) -> None:
        """There is no pod now. One whose request was lost may come yet: it is looked for at each start."""
        asked_at = self.placement.asked_at
        if self.placement.pod_id or asked_at is None or datetime.now(UTC) - asked_at > _LATEST:
            await self._gone(why)

    async def _gone(self, why: str) -> None:
        """The provider has confirmed that there is nothing, or nothing any more."""
        if self.placement.gone_at is not None:
            return
        await self.close()
        await self._keep(gone_at=datetime.now(UTC), ending=why)
        await asyncio.to_thread(self._placements.forget_key, self.placement.job_id)
        if self.placement.pod_id is not None:
            pins = Pins(self._home.host_keys)
            for pod_id in (self.placement.pod_id, *(seat.pod_id for seat in self.placement.seats)):
                await asyncio.to_thread(pins.forget, pod_id)
            gone = Rented(id=self.placement.pod_id, name=self.placement.name, status="terminated")
            await self._changed(self.placement.job_id, gone, self.placement)

    async def _fresh(self) -> Placement:
        """What is kept now: the app and a command may attend to the same run."""
        with contextlib.suppress(PodError):
            return await asyncio.to_thread(self._placements.of, self.placement.job_id) or self.placement
        return self.placement

    async def _keep(self, **changes: Any) -> None:
        self.placement = replace(await self._fresh(), **changes)
        await asyncio.to_thread(self._placements.keep, self.placement)
        self.id = self.placement.pod_id or self.placement.name

    # ------------------------------------------------------------------ as any pod

    async def start(self, job_id: str) -> None:
        """Wait until it is ready, bring the job there and start its supervisor; nothing if one is at work."""
        ssh = await self.ready()
        await ssh.start(job_id)

    async def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60  # noqa: ASYNC109
    ) -> Completed:
        """Run a command to its end; `timeout` in seconds."""
        return await self._through(lambda ssh: ssh.run(argv, env=env, timeout=timeout))

    async def alive(self, job_id: str) -> bool:
        """Does a supervisor hold the job's lock? On a pod that is gone nobody does."""
        try:
            return await self._through(lambda ssh: ssh.alive(job_id))
        except NoSuchPod:
            return False

    async def request(self, job_id: str, name: str, value: object = True) -> None:
        """Leave a control request in the job's folder."""
        await self._through(lambda ssh: ssh.request(job_id, name, value))

    async def follow(self, job_id: str, cursors: Mapping[str, int]) -> AsyncGenerator[Chunk, None]:
        """Stream files of the job's folder; it ends when the pod is gone, for then nothing more will come."""
        try:
            ssh, looked = await self._reach(), self._patience.clock()
            async for chunk in ssh.follow(job_id, cursors):
                yield chunk
                if self.trouble and self._patience.clock() - looked >= _AGAIN:
                    self._checked, looked = False, self._patience.clock()
                    if await self._reach() is not ssh:
                        raise PodLost(f"{self.placement.name}: one of its machines has moved")
        except NoSuchPod:
            return
        except PodLost:
            self._checked = False
            raise

    async def put(self, local: Path, remote: str) -> None:
        """Copy a file or a folder to the pod."""
        await self._through(lambda ssh: ssh.put(local, remote))

    async def get(self, remote: str, local: Path) -> None:
        """Copy a file or a folder from the pod."""
        await self._through(lambda ssh: ssh.get(remote, local))

    async def _through(self, work: Callable[[Machines], Awaitable[T]]) -> T:
        """Do something on the machine; after a loss its address is looked up anew."""
        ssh = await self._reach()
        try:
            return await work(ssh)
        except PodLost:
            self._checked = False
            raise

    async def close(self) -> None:
        """Let go of the connection; what runs on the pod goes on, and bills."""
        await self._behind.close()
