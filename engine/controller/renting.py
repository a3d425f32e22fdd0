"""The machine of a job that is rented: asked for at a price, and ended when what is to be kept is here.

A bill must not run away: what was rented is ended when its launch fails, when its job has ended, and at the
next start of whoever was killed in between; each time until the provider confirms that it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

from engine.analysis.spending import FETCH
from engine.controller.phases import mark, settle, spent
from engine.controller.pods import Pods
from engine.controller.quoting import quoted
from engine.errors import BadInput, NoSuchPod, PodError
from engine.home import Home
from engine.job.folder import read_json, write_json
from engine.job.placement import RentSpec
from engine.job.spec import JobSpec
from engine.pods.boot import MOUNT, boot, volume_of
from engine.pods.placements import Placement
from engine.pods.provider import CreateRequest, Offer, Rented, pod_name
from engine.pods.quote import Quote
from engine.pods.runpod_account import api_url
from engine.pods.runpod_pod import RunPodPod
from engine.pods.ssh_group import SSHGroup
from engine.records import Job
from engine.store.base import Store
from engine.stream import fetch_nodes
from engine.supervisor.guarded import kept_file
from engine.supervisor.locks import Lock, held

_LONGEST: Final = 60.0
"""Seconds between two tries to fetch from, or to end, a machine that does not answer."""

_TOLD: Final = 20
"""How often a machine that can't be reached is told of its job's end: by then it has found out."""

Trying = Callable[[Offer], None]
"""Told of each candidate before it is asked for."""
Fetch = Callable[[str, str], Awaitable[object]]
"""Fetches a checkpoint of a job, `best` or `last`, or its `final` model, and verifies it."""


class Renting:
    """Rents and ends.

    Args:
        store: Where jobs are kept.
        home: Where their folders are.
        pods: The pods of this session.
        fetch: Brings a checkpoint home.
    """

    def __init__(self, store: Store, home: Home, pods: Pods, fetch: Fetch) -> None:
        self._store, self._home, self._pods, self._fetch = store, home, pods, fetch
        self._pods.known = self._known
        self.trouble: dict[str, str] = {}
        """Why a pod whose job has ended is still there, by job."""

    async def quote(self, spec: JobSpec) -> Quote:
        """What a job would be rented, and at what price; nothing is.

        Raises:
            ProviderError: The prices can't be had, or nothing fits.
        """
        return await quoted(self._pods, spec)

    def keep(self, job: Job, spec: JobSpec, quote: Quote | None) -> None:
        """Write down where a job is going to be, before anything is asked for. Blocking."""
        if spec.pod.provider == "local":
            return
        volume = quote.volume if quote else None
        placement = Placement(
            job_id=job.id,
            pod=spec.pod,
            offers=quote.offers if quote else (),
            volume_id=volume.id if volume else None,
            place=volume.data_center if volume else None,
            retrieve_minutes=spec.limits.retrieve_minutes,
            nodes=spec.distributed.nodes,
            meeting=(spec.distributed.address, spec.distributed.port),
        )
        self._pods.placements.keep(placement)

    async def rent(self, job: Job, spec: JobSpec, quote: Quote, trying: Trying) -> None:
        """Rent the machine of a job; it need not be ready yet.

        Raises:
            PodError: It is not to be had at that price.
        """
        key = await asyncio.to_thread(self._pods.placements.public_key, job.id)
        await self._pods.rented(job.id).rent(request(spec, job.id, quote, key), trying)

    def _known(self, job_id: str, pod: Rented, placement: Placement) -> None:
        """Keep what is known of a job's pod; the guard there reads the billed price in job.json. Blocking."""
        if pod.gone:
            self._store.update(job_id, pod_status=pod.status)
            return
        facts: dict[str, Any] = {"gpu_type": pod.gpu_name or pod.gpu_id, "gpu_count": pod.gpu_count}
        facts |= {"cost_per_hour": placement.price_per_hour}
        known = {name: value for name, value in facts.items() if value is not None}
        self._store.update(job_id, pod_id=pod.id, pod_status=pod.status, **known)
        folder = self._home.job(job_id)
        if placement.price_per_hour is not None and folder.spec.exists():
            spec = read_json(folder.spec)
            spec["pod"]["cost_per_hour"] = placement.price_per_hour
            write_json(folder.spec, spec)

    # ------------------------------------------------------------------ the end

    async def wind_up(self, job_id: str) -> None:
        """End the machine of a job that has ended, after what is to be kept is here and verified.

        What can't be fetched within `limits.retrieve_minutes` stays on the pod's own disk, where it has one:
        it is stopped then, and left to the user. A provider that does not answer is asked for ever.

        Raises:
            StoreError, OSError: This machine could not keep up with it: it is to be called again.
        """
        job = await asyncio.to_thread(self._store.job, job_id)
        if not job.status.ended:
            return
        if job.provider != "runpod":
            await self._end_others(job)
            return
        lock = Lock(self._home.machine(job_id) / "ending.lock")
        try:
            await self.launched(job_id)
            await self._alone(lock)
            job = await asyncio.to_thread(self._store.job, job_id)
            if not job.status.ended:
                return
            if await self._may_bill(job_id) and await self._fetched(job):
                await self._end_for_sure(job)
        finally:
            lock.release()

    async def _may_bill(self, job_id: str) -> bool:
        try:
            kept = await asyncio.to_thread(self._pods.placements.of, job_id)
        except PodError as error:
            self.trouble[job_id] = str(error)  # for good: nobody here knows which machine it was
            return False
        return kept is not None and kept.may_bill

    async def _end_others(self, job: Job) -> None:
        """See that no other of a job's own machines waits for the first one, which has ended."""
        group = self._pods.of(job)
        if not isinstance(group, SSHGroup):
            return
        for attempt in range(_TOLD):
            try:
                await group.end_others(job.id)
                await fetch_nodes(self._store, group, self._home, job.id)
                self.trouble.pop(job.id, None)
                return
            except PodError as error:
                self.trouble[job.id] = f"{job.name}: {error}"
            await self._pause(attempt)

    async def launched(self, job_id: str) -> None:
        """Wait until no process is bringing that job to its machine any more."""
        while await asyncio.to_thread(held, self._home.launching(job_id)):  # noqa: ASYNC110
            await asyncio.sleep(0.5)

    async def _alone(self, lock: Lock) -> None:
        """Wait until no other process of this home fetches from that machine, or ends it."""
        try:
            while not await asyncio.to_thread(lock.take):  # noqa: ASYNC110
                await asyncio.sleep(1)
        except OSError as error:
            raise PodError(f"{lock.path}: can't be written ({error.strerror})") from None

    async def _end_for_sure(self, job: Job) -> None:
        """Terminate the machine of a job, and try again until it is gone."""
        job_id = job.id
        for attempt in count():
            try:
                await self.end(job_id, "its job has ended")
                return
            except PodError as error:
                self.trouble[job_id] = f"{job.name}: its pod may still bill: {error}"
            await self._pause(attempt)

    async def end(self, job_id: str, why: str) -> None:
        """Terminate the machine of a job, and return when the provider confirms that it is gone.

        Raises:
            PodError: It may still bill.
        """
        await self._pods.rented(job_id).end(why)
        self.trouble.pop(job_id, None)
        await asyncio.to_thread(self._settle, job_id)

    def _settle(self, job_id: str) -> None:
        """Close the ledger; the job has cost what its machine did."""
        placement = self._pods.rented(job_id).placement
        now = datetime.now(UTC)
        since = placement.asked_at if placement.pod_id is not None else None
        settle(self._store, self._store.job(job_id), since, placement.gone_at or now)
        job = self._store.job(job_id)
        dollars = [item.dollars for item in spent(self._store, job) if item.dollars is not None]
        if dollars:
            self._store.update(job_id, cost_total=sum(dollars))

    async def _fetched(self, job: Job) -> bool:
        """Bring home what is to be kept; False when the pod has to be left as it is."""
        await asyncio.to_thread(mark, self._store, job.id, FETCH)
        pod, clock = self._pods.rented(job.id), self._pods.patience.clock
        until = clock() + pod.placement.retrieve_minutes * 60
        for attempt in count():
            try:
                for which in _kept(job, pod.placement.pod.rent or RentSpec()):
                    await self._fetch_one(job.id, which)
                await self._last_words(job.id)
                await self._let_go(pod)
                return True
            except NoSuchPod:
                return True
            except PodError as error:
                self.trouble[job.id] = f"{job.name}: its checkpoints can't be fetched yet: {error}"
            if await self._stopped(job.id):
                return False
            if clock() >= until:
                break
            await self._pause(attempt)
        return not await self._left_stopped(job)

    async def _last_words(self, job_id: str) -> None:
        """Fetch what other machines have said since the job ended; no bill runs on for that."""
        with contextlib.suppress(PodError, OSError):
            if (group := await self._pods.rented(job_id).group()) is not None:
                await fetch_nodes(self._store, group, self._home, job_id)

    async def _left_stopped(self, job: Job) -> bool:
        """Stop a pod from which something could not be fetched; False when nothing is lost with it."""
        for attempt in count():
            try:
                stopped = await self.stop(job.id)
                break
            except NoSuchPod:
                return False
            except PodError as error:
                self.trouble[job.id] = f"{job.name}: its pod may still bill: {error}"
            await self._pause(attempt)
        if stopped:
            self.trouble[job.id] = (
                f"{job.name}: its checkpoints could not be fetched in time. Its pod is stopped and keeps its "
                "disk, which bills: `podium pods` shows it"
            )
        return stopped

    async def stop(self, job_id: str) -> bool:
        """Stop a pod so that its own disk is kept; False, and nothing done, where it has no such disk.

        Raises:
            PodError: It may still bill for its GPUs.
        """
        placement = self._pods.rented(job_id).placement
        where, rent = placement.pod, placement.pod.rent or RentSpec()
        # A cluster's pods are ended together, and not stopped.
        if placement.pod_id is None or placement.nodes > 1 or volume_of(where, where.folder) != "persistent":
            return False
        await self._pods.provider(rent.backend).stop(placement.pod_id)
        return True

    async def _pause(self, attempt: int) -> None:
        """Wait before the next try, the longer the more of them there were."""
        most = min(_LONGEST, 2.0 ** min(attempt, 10))
        await self._pods.patience.sleep(most * random.uniform(0.5, 1.0))

    async def _let_go(self, pod: RunPodPod) -> None:
        """Tell the guard that nothing more is wanted: it ends the pod should this machine not come to it."""
        if pod.placement.pod_id is not None:
            ssh = await pod.reach()
            job = Path(await ssh.absolute(ssh.folder(pod.placement.job_id)))
            await ssh.run(["touch", str(kept_file(job.parent.parent))])

    async def _stopped(self, job_id: str) -> bool:
        try:
            found = await self._pods.rented(job_id).state()
        except PodError:
            return False
        return found is not None and found.status == "stopped"

    async def _fetch_one(self, job_id: str, which: str) -> None:
        """Fetch what is to be kept, if there is any; where no checkpoint is the best, it is the newest."""
        for wanted in (which, "last") if which == "best" else (which,):
            with contextlib.suppress(BadInput):  # the run has none
                await self._fetch(job_id, wanted)
                return


def request(spec: JobSpec, job_id: str, quote: Quote, public_key: str) -> CreateRequest:
    """What is asked for: the image, its disks, our guard as its first process, and one key of its own."""
    rent, offer = spec.pod.rent or RentSpec(), quote.offers[0]
    persistent = rent.volume_gb if quote.volume is None else None
    disk = rent.disk_gb
    if quote.nodes > 1:
        # What survives a stop is nothing to what can't be stopped: its room is on the container's disk.
        persistent, disk = None, disk + (persistent or 0)
    started = boot(
        spec,
        job_id=job_id,
        cost_per_hour=quote.highest_price_per_hour,
        least_per_hour=quote.lowest_price_per_hour,
        provider_url=api_url(),
    )
    return CreateRequest(
        name=pod_name(job_id),
        image=rent.image,
        gpu_id=offer.gpu_id,
        gpu_count=quote.gpu_count,
        data_centers=(quote.volume.data_center,) if quote.volume else rent.data_centers,
        min_cuda=rent.min_cuda,
        disk_gb=disk,
        volume_gb=persistent,
        network_volume_id=quote.volume.id if quote.volume else None,
        mount_path=MOUNT,
        env=started.env,
        public_key=public_key,
        args=started.args,
    )


def _kept(job: Job, rent: RentSpec) -> list[str]:
    """What is to be here before the machine ends: what was asked for, and a merged model."""
    finish = job.config.get("finish")
    merged = isinstance(finish, Mapping) and bool(finish.get("merge"))
    return list(dict.fromkeys((*rent.fetch, *(("final",) if merged else ()))))
