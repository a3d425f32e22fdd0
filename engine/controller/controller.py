"""The controller: launches jobs, leaves requests, reconnects after whatever happened to this machine.

Wishes go up through here and return nothing but an error; what came of them comes down as events. At
start every job that the store believes to be under way is found again: its supervisor lives and is
followed; or it has ended meanwhile, and what it wrote is taken in; or its supervisor died (SIGKILL, a
reboot), and a new one is started, which goes on from the newest checkpoint and says so in its events.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from engine.controller import preparation
from engine.controller.curator import Curator
from engine.controller.enforcement import Enforcement
from engine.controller.following import Following
from engine.controller.launching import Begun, Launching, unheard
from engine.controller.lookout import Lookout
from engine.controller.phases import cut_off, mark
from engine.controller.pods import Pods
from engine.controller.pulling import Progress, announced, chosen, proven, pull, pull_final
from engine.controller.renting import Renting, Trying
from engine.controller.reporting import Reporting
from engine.controller.trash import place
from engine.errors import BadInput, PodError
from engine.home import Home
from engine.job.events import Phase, Status
from engine.job.folder import JobFolder
from engine.job.spec import JobSpec
from engine.pods.base import Pod
from engine.pods.quote import Quote
from engine.pods.replay import Recording
from engine.records import Checkpoint, Job
from engine.store.base import Action, Done, Store
from engine.stream import Link, catch_up, fetch
from engine.supervisor.guarded import fetching_file
from engine.supervisor.locks import held

_LEAVING: Final = 90.0
"""Seconds that a supervisor may take to leave after it was asked to pause."""


def unseen(done: int, total: int) -> None:
    """Show nobody how far a copy is."""


class Controller:
    """Carries out commands; owns the life of the streams, not of the jobs.

    All methods may raise:
        PodiumError: One line for the user. Jobs go on as they were.

    Args:
        store: Where jobs are kept.
        home: Where their folders are.
        pods: The pods that jobs are on.
    """

    def __init__(self, store: Store, home: Home, pods: Pods | None = None) -> None:
        self._store, self._home = store, home
        self._pods = pods or Pods(home)
        self._pods.note, self._pods.first_use = self._note, self._met
        self._renting = Renting(store, home, self._pods, self._fetch)
        self._reporting = Reporting(store, home)
        self._pods.secrets = self._reporting.environment
        self._following = Following(store, home, self._pods, self._ended)
        self._enforcement = Enforcement(
            store,
            home,
            self._pods,
            stop=self._renting.stop,
            end=self._renting.end,
            told=self._following.give_up,
        )
        self._launching = Launching(store, home, self._pods, self._renting, self._following)
        self._lookout = Lookout(store, home, self._pods, lambda: self._following.links)
        self._watching: list[asyncio.Task[None]] = []
        self._trouble = ""
        self.met = ""
        """The machine that was first met in this session, with its key's fingerprint, one line."""

    # ------------------------------------------------------------------ the session

    async def start(self) -> None:
        """Find every job again that is under way, and put folders right that a crash left in between."""
        jobs = await asyncio.to_thread(self._store.jobs, archived=True, deleted=True)
        self._trouble = await asyncio.to_thread(self._put_right, jobs)
        await asyncio.to_thread(catch_up, self._store, self._home)
        # One after the other, as they were launched, so that the queue is the old one.
        for job in sorted(jobs, key=lambda job: job.created_at):
            current = await asyncio.to_thread(self._store.job, job.id)
            # A run that another machine follows is that machine's to look after.
            if current.status.live and not await asyncio.to_thread(self._store.elsewhere, job.id):
                await asyncio.to_thread(self._cut_off, job.id)
                await self._following.adopt(current)
        # Machines of jobs that ended while nobody looked, or whose end was cut off.
        for placement in await asyncio.to_thread(lambda: list(self._pods.placements.open())):
            if any(job.id == placement.job_id for job in jobs):
                self._following.see_off(placement.job_id)
        self._watching = [asyncio.create_task(each.run()) for each in (self._enforcement, self._lookout)]

    async def _ended(self, job_id: str) -> None:
        """Do what is to be done once a job is not under way any more."""
        await asyncio.to_thread(self._reporting.ended, job_id)
        await self._renting.wind_up(job_id)

    def _put_right(self, jobs: Sequence[Job]) -> str:
        """Put every folder where it belongs; what keeps one from it, in a line."""
        trouble = ""
        for job in jobs:
            try:
                place(self._home, [job])
            except PodError as error:
                trouble = str(error)
        try:
            Curator(self._store, self._home).put_right()
        except PodError as error:
            trouble = str(error)
        return trouble

    async def close(self) -> None:
        """Stop following; the jobs go on."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        await self._following.close()
        await self._pods.close()

    async def settle(self, job_ids: Sequence[str]) -> list[Job]:
        """Wait until none of these jobs is under way any more, and return them."""
        await self._following.wait(job_ids)
        return [await asyncio.to_thread(self._store.job, job_id) for job_id in job_ids]

    @property
    def attended(self) -> list[str]:
        """The jobs that are under way in this session, or whose machines are."""
        return self._following.attended

    @property
    def links(self) -> Mapping[str, Link]:
        """What each followed job's stream says of its connection."""
        return self._following.links

    @property
    def trouble(self) -> str:
        """What needs the user, one line; empty when all is well."""
        ending = next(iter((*self._renting.trouble.values(), *self._enforcement.trouble.values())), "")
        silent = next(iter(self._reporting.trouble.values()), "")
        return self._following.trouble or ending or silent or self._trouble or self.met

    def log_path(self, job: Job) -> Path:
        """Where the job's log is on this machine."""
        return self._home.found(job.id, deleted=job.deleted).log

    # ------------------------------------------------------------------ launching

    async def quote(self, spec: JobSpec) -> Quote:
        """What a job would be rented, and at what price; nothing is.

        Raises:
            ProviderError: The prices can't be had, or nothing fits.
        """
        return await self._renting.quote(spec)

    async def launch(
        self,
        spec: JobSpec,
        *,
        name: str | None = None,
        quote: Quote | None = None,
        trying: Trying = lambda offer: None,
        begun: Begun = unheard,
    ) -> Job:
        """Start a job.

        Args:
            spec: What to train, with absolute data paths.
            name: Another name than the spec's.
            quote: What was confirmed, for a machine that is to be rented.
            trying: Told of each candidate before it is asked for.
            begun: Told of the job as soon as it is known; its machine may take minutes from then on.

        Raises:
            BadInput: A machine is to be rented, and nobody has confirmed its price.
            BadDataset: The data can't be trained on; nothing was written.
            PodError: The folder can't be written, or nothing starts; the job is kept as failed, and what was
                rented for it is ended.
        """
        if spec.pod.provider == "runpod" and quote is None:
            raise BadInput("a machine is rented at a price that was confirmed", "Ask for a quote first.")
        if name is not None:
            spec = spec.model_copy(update={"name": name})
        data = await asyncio.to_thread(preparation.check, spec)
        job = preparation.new_job(self._home, spec)

        def lay_out(folder: JobFolder) -> None:
            self._renting.keep(job, spec, quote)
            preparation.lay_out(folder, spec, data)

        async def rent() -> None:
            if quote is not None:
                await self._renting.rent(job, spec, quote, trying)

        return await self._launching.begin(job, lay_out, rent, begun)

    async def attach(self, wanted: preparation.Attachment) -> Job:
        """Watch what somebody else runs; nothing there is touched.

        Raises:
            PodError: The folder here can't be written.
        """
        job = preparation.new_attached(self._home, wanted)
        return await self._launching.begin(job, lambda folder: preparation.lay_out_attached(folder, job))

    async def replay(self, recording: Path, *, speed: float = 1.0, name: str | None = None) -> Job:
        """Play a recorded run back as a job that says it is a replay.

        Args:
            recording: The recorded job's folder; its events and log may be gzipped.
            speed: How much faster than it happened.
            name: Another name than the recorded one.

        Raises:
            BadInput: There is no recorded run.
        """
        loaded = await asyncio.to_thread(Recording.load, recording)
        job = preparation.new_replay(self._home, loaded, name)
        lay_out = partial(preparation.lay_out_replay, recording=loaded, speed=speed)
        return await self._launching.begin(job, lay_out)

    def _cut_off(self, job_id: str) -> None:
        """Let a phase end that nobody ended: how long its session lived is not known."""
        if not held(self._home.launching(job_id)):
            cut_off(self._store, job_id)

    def _note(self, job_id: str, phase: Phase, text: str) -> None:
        """Keep what is being done for a job on its way to a start; events take over from there."""
        self._store.update(job_id, phase=phase, status=Status.PENDING)
        mark(self._store, job_id, phase)

    def _met(self, pod_id: str, fingerprint: str) -> None:
        """Show the key of a machine that was never met before; it is pinned."""
        self.met = f"{pod_id}: first contact, its host key is {fingerprint}. From now on no other is accepted"

    # ------------------------------------------------------------------ requests

    async def stop(self, job_id: str) -> None:
        """Let a job save a checkpoint and end."""
        job = await self._job(job_id)
        if job.status.ended:
            raise BadInput(f"{job.name} is {job.status} already")
        await self._ask(job, "stop")

    async def pause(self, job_id: str) -> None:
        """Let a job save a checkpoint and wait."""
        job = await self._job(job_id)
        if not job.status.live:
            raise BadInput(f"{job.name} is {job.status}, there is nothing to pause")
        await self._ask(job, "pause")

    async def resume(self, job_id: str) -> None:
        """Let a paused job go on from its newest checkpoint."""
        job = await self._job(job_id)
        if job.status != Status.PAUSED:
            raise BadInput(f"{job.name} is {job.status}; only a paused job can be resumed")
        pod = self._pods.of(job)
        if not await self._left(job, pod):
            raise PodError(f"{job.name} is still being paused", "Try again in a minute.")
        if pod.in_place:
            for name in ("stop", "pause"):
                await asyncio.to_thread(self._home.job(job_id).take_request, name)
        await self._launching.start(pod, job_id)
        self._following.follow(job_id)

    async def _left(self, job: Job, pod: Pod) -> bool:
        """Wait until the supervisor that was asked to pause is gone."""
        deadline = time.monotonic() + _LEAVING
        while time.monotonic() < deadline:
            if not await pod.alive(job.id):
                return True
            await asyncio.sleep(0.1)
        return False

    async def save(self, job_id: str) -> None:
        """Let a running job save a checkpoint at its next step."""
        await self._tell(job_id, "save", True)

    async def learning_rate(self, job_id: str, value: float) -> None:
        """Give a running job another peak learning rate."""
        if not (math.isfinite(value) and value >= 0):
            raise BadInput(f"{value!r} is no learning rate", "Give a number from 0 on.")
        await self._tell(job_id, "learning_rate", value)

    async def limits(self, job_id: str, *, hours: float | None = None, dollars: float | None = None) -> None:
        """Give a running job other limits; its supervisor refuses those that are used up already.

        Args:
            job_id: The job.
            hours: `max_hours`; None leaves it.
            dollars: `max_cost_usd`; None leaves it.
        """
        asked = {"max_hours": hours, "max_cost_usd": dollars}
        given = {name: value for name, value in asked.items() if value is not None}
        if not given or not all(math.isfinite(value) and value > 0 for value in given.values()):
            raise BadInput("a limit is a number above 0", "Give hours, dollars, or both.")
        await self._tell(job_id, "limits", given)

    async def _tell(self, job_id: str, name: str, value: object) -> None:
        job = await self._job(job_id)
        if job.status != Status.RUNNING:
            raise BadInput(f"{job.name} is {job.status}, not running")
        await self._pods.of(job).request(job_id, name, value)

    async def _ask(self, job: Job, name: str) -> None:
        """Leave a request that a supervisor answers, and see that there is one."""
        pod = self._pods.of(job)
        # Asked before: one that has done as requested, and left, must not be started again.
        alive = await pod.alive(job.id)
        await pod.request(job.id, name)
        if not alive:
            await self._launching.start(pod, job.id)
        self._following.follow(job.id)

    async def _job(self, job_id: str) -> Job:
        """The job as it is, not as it was when somebody last looked.

        Raises:
            BadInput: Another machine follows it, and has the folder and the keys.
        """
        if await asyncio.to_thread(self._store.elsewhere, job_id):
            raise BadInput("this run is followed from another machine", "Ask for it there; here it is shown.")
        if job_id not in self._following:
            await asyncio.to_thread(catch_up, self._store, self._home, job_id)
        return await asyncio.to_thread(self._store.job, job_id)

    # ------------------------------------------------------------------ fetching

    async def pull(self, job_id: str, which: str, progress: Progress) -> tuple[Checkpoint, Path]:
        """Fetch a checkpoint from a job's pod, verified by every hash.

        Args:
            job_id: The job.
            which: `best`, `last`, a step, or `final` for the model that was made of the best one.
            progress: Told how many bytes of how many are here.

        Returns:
            The checkpoint, and its folder, or that of the final model, on this machine.

        Raises:
            BadInput: There is none such.
            PodError: It can't be fetched; what has arrived is kept for the next try.
        """
        job, folder = await self._job(job_id), self._home.job(job_id)
        pod = self._pods.of(job)
        if job_id not in self._following:
            await fetch(self._store, pod, self._home, job_id)
        checkpoints = await asyncio.to_thread(self._store.checkpoints, job_id)
        best = "best" if any(item.is_best for item in checkpoints) else "last"
        checkpoint = chosen(job, checkpoints, best if which == "final" else which)
        if pod.in_place and which == "final":
            if not folder.final.is_dir():
                raise BadInput("the run has no final model", "It is made when a run completes.")
            return checkpoint, folder.final
        if pod.in_place:
            return checkpoint, await asyncio.to_thread(proven, folder, checkpoint)
        ssh = await self._pods.machine(job)
        remote = await ssh.absolute(ssh.folder(job_id))
        sign = str(fetching_file(Path(remote).parent.parent))
        async with announced(partial(ssh.run, ["touch", sign] if job.provider == "runpod" else ["true"])):
            if which == "final":
                found = await ssh.sums(f"{remote}/{folder.final.name}")
                return checkpoint, await pull_final(ssh.files, remote, folder, found, progress)
            return checkpoint, await pull(ssh.files, remote, folder, checkpoint, progress)

    async def _fetch(self, job_id: str, which: str) -> None:
        await self.pull(job_id, which, unseen)

    # ------------------------------------------------------------------ curation

    async def archive(self, job_ids: Sequence[str], progress: Progress = unseen) -> Done:
        """Hide jobs; everything is kept."""
        return await self._act("archive", job_ids, progress)

    async def restore(self, job_ids: Sequence[str], progress: Progress = unseen) -> Done:
        """Bring archived or deleted jobs back."""
        return await self._act("restore", job_ids, progress)

    async def delete(self, job_ids: Sequence[str], progress: Progress = unseen) -> Done:
        """Move jobs and their folders to the trash.

        Args:
            job_ids: The jobs.
            progress: Told, in a thread, how many folders of how many are moved.

        Raises:
            BadInput: One of them is still under way; nothing was deleted.
        """
        for job_id in job_ids:
            job = await self._job(job_id)
            placement = await asyncio.to_thread(self._pods.placements.of, job_id)
            if placement is not None and placement.may_bill:
                raise BadInput(f"{job.name} has a machine that may still bill", "Run podium wait first.")
            # A machine that is long gone must not keep its runs from being tidied away.
            pod = self._pods.of(job) if job.provider in (None, "local") else None
            if job.status.live or (pod is not None and await pod.alive(job_id)):
                raise BadInput(f"{job.name} is {job.status} and can't be deleted", "Stop it first.")
        return await self._act("delete", job_ids, progress)

    async def undo(self, progress: Progress = unseen) -> Done | None:
        """Take back the last action, or what was said last of runs; None when there is none."""
        done = await asyncio.to_thread(self._store.undo)
        if done is not None:
            await asyncio.to_thread(self._place, done.job_ids, progress)
        return done

    async def _act(self, action: Action, job_ids: Sequence[str], progress: Progress) -> Done:
        done = await asyncio.to_thread(self._store.act, action, job_ids)
        await asyncio.to_thread(self._place, done.job_ids, progress)
        return done

    def _place(self, job_ids: Sequence[str], progress: Progress) -> None:
        """Move folders after the store, one run after the other: dying in between, `start` moves the rest."""
        for moved, job_id in enumerate(job_ids, 1):
            place(self._home, [self._store.job(job_id)])
            progress(moved, len(job_ids))
