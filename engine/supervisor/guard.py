"""The guard: a rented pod's first process. It needs nobody, and it ends the pod when it should.

    waiting --a supervisor at work--> busy --it leaves--> idle --too long--> ending, for ever
        \\--the boot grace is over-------------------------------------------/  the pod's last second

All times are the pod's own seconds (`PodClock`): no wall clock is read, so one that is off does not matter.
The supervisor reads the same clock, ends the run in time and lets a checkpoint be saved before; the guard
comes after it, and does not need it to be alive. Stdlib only: it runs before anything was uploaded.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import signal
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engine.errors import Conflict, Forbidden, NoSuchPod, ProviderError, RateLimited, Unauthorized
from engine.job.events import EventType, EventWriter, last_event
from engine.job.folder import JobFolder, read_json, write_json
from engine.supervisor.clock import PodClock
from engine.supervisor.ending import Api, How, Proof, Tool, Ways
from engine.supervisor.guarded import fetching_file, guard_file, kept_file, make_room
from engine.supervisor.limits import Limits
from engine.supervisor.locks import held, holder
from engine.supervisor.process import start_of

_DEPTH: Final = 5
"""How deep it is looked for news below Podium's folder: an environment's packages are there."""
_SILENT: Final = 4
"""How many times `stall_minutes` supervisors may be silent who beat every few seconds."""
_BELIEVED: Final = ((Unauthorized, 3), (Forbidden, 3), (NoSuchPod, 6), (Conflict, 6))
"""After how many refusals in a row asking again will hardly help: a pod may be too new to be known."""
_KEPT: Final = ("proven_at", "rate", "clustered", "refused")
"""What the next guard goes on with."""
_OF_ONE_START: Final = ("got", "idle_since", "arrived", "arrived_at", "open_until")
"""And what only one of the same start of the pod does: after a stop the pod waits for its job again."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, in seconds.

    Args:
        tick: Between two looks.
        note: Between two notes in guard.json.
        proof: Between two proofs that the pod can end itself.
        retry: The first wait after a proof or an order that failed; it doubles.
        longest_retry: What it doubles up to.
        leave: How long a supervisor may take to save and leave when the pod's last second has come.
        again: How long after an order that was taken, and did not end us, it is given again.
    """

    tick: float = 1.0
    note: float = 10.0
    proof: float = 60.0
    retry: float = 2.0
    longest_retry: float = 60.0
    leave: float = 90.0
    again: float = 120.0


@dataclass(frozen=True, slots=True)
class Told:
    """What the pod was created with.

    Args:
        root: Podium's folder.
        volume: The disk that it is on: `none`, `persistent` or `network`.
        limits: The job's.
        grace: Seconds that the pod waits for its job while nothing arrives.
        least: Dollars an hour: no lower bill is believed.
        pace: How long things take.
    """

    root: Path
    volume: str = "none"
    limits: Limits = field(default_factory=Limits)
    grace: float = 1800.0
    least: float = 0.0
    pace: Pace = field(default_factory=Pace)

    @classmethod
    def read(cls, text: str) -> tuple[Told, str]:
        """What `PODIUM_POD` says, and where the provider's API is."""
        said = json.loads(base64.b64decode(text))
        told = cls(
            root=Path(said["root"]).expanduser(),
            volume=str(said["volume"]),
            limits=Limits.of(said["spec"]),
            grace=60 * float(said["grace_minutes"]),
            least=float(said.get("least_per_hour") or 0.0),
            pace=Pace(**said.get("pace", {})),
        )
        return told, str(said["provider"])


class Guard:
    """Watches over one pod.

    Args:
        told: What the pod was created with.
        ways: How it ends itself.
    """

    def __init__(self, told: Told, ways: Ways) -> None:
        self._told, self._ways, self._pace = told, ways, told.pace
        make_room(told.root)
        self._file = guard_file(told.root)
        kept = read_json(self._file)
        self._clock = PodClock(kept)
        start = f"{os.getppid()} {start_of(os.getppid())}"
        same = _OF_ONE_START if kept.get("start") == start else ()
        self._state: dict[str, Any] = dict.fromkeys((*_KEPT, *_OF_ONE_START))
        self._state |= {key: kept.get(key) for key in (*_KEPT, *same)} | {"start": start}
        if not same:
            self._state["arrived_at"] = now = self._clock.seconds()
            # A guard stopped it, so a person has resumed it: for what is still there.
            again = kept.get("ordered") == "stop"
            self._state["open_until"] = now + 60 * told.limits.retrieve_minutes if again else None
        self._limits = self._with_rate(self._state["rate"])
        self._noted = self._looked = -1e9
        self._proof_due = self._written_at = 0.0
        self._written: list[int] = []
        self._touched = self._refused = 0
        self._wait = Waits(self._pace)
        self.leave = False
        """Was it asked to leave?"""

    def run(self) -> None:
        """Watch until the pod is to end; then end it, until this process is ended with it."""
        while not self.leave:
            # First what must hold whatever becomes of the proof.
            why = self.due()
            self._note()
            if why:
                self._end(why)
                return
            self._prove()
            time.sleep(self._pace.tick)
        # The provider stops the machine, or a person does: what trains shall be saved.
        self._make_them_leave()

    def due(self) -> str:
        """Why the pod is to end now; empty while it is not."""
        now = self._clock.seconds()
        self._limits = self._with_rate(self._state["rate"])
        working = [folder for folder in self._jobs() if _held(folder)]
        if working:
            self._state.update(got=True, idle_since=None)
        elif self._state["got"] and (self._state["idle_since"] is None or self._being_fetched()):
            self._state["idle_since"] = now
        last = self._limits.pod_seconds
        if last is not None and now >= max(last, self._state["open_until"] or 0.0):
            return f"{self._limits.reached(now) or 'the last minute of the limits'} reached"
        if working:
            return self._silent(working, now)
        if kept_file(self._told.root).exists():
            return "all that was to be kept has been fetched"
        if self._state["got"]:
            window = 60 * self._limits.retrieve_minutes
            return f"the {window / 60:g} minutes for fetching are over" if self._idle(now) >= window else ""
        return self._never_got_a_job(now)

    def _silent(self, working: Sequence[JobFolder], now: float) -> str:
        """Whether supervisors that are there write nothing at all, not even a heartbeat: they are frozen."""
        written = [_size(folder.events) for folder in working]
        if written != self._written:
            self._written, self._written_at = written, now
        minutes, stall = (now - self._written_at) / 60, self._limits.stall_minutes
        if stall is None or minutes < _SILENT * stall:
            return ""
        return f"nothing was written for {minutes:.0f} minutes, not even a heartbeat"

    def _being_fetched(self) -> bool:
        """Has the laptop said so since the last look? Its limits hold all the same."""
        try:
            touched = fetching_file(self._told.root).stat().st_mtime_ns
        except OSError:
            return False
        before, self._touched = self._touched, touched
        return touched != before

    def _idle(self, now: float) -> float:
        since = self._state["idle_since"]
        return now - float(since) if since is not None else 0.0

    def _never_got_a_job(self, now: float) -> str:
        """Nothing was started: is anything still arriving?"""
        if time.monotonic() - self._looked >= self._pace.note:
            self._looked, arrived = time.monotonic(), _signature(self._told.root)
            if arrived != self._state["arrived"] or self._being_fetched():
                self._state.update(arrived=arrived, arrived_at=now)
        quiet = now - float(self._state["arrived_at"] or 0.0)
        if quiet < self._told.grace:
            return ""
        return f"no job was started, and nothing has arrived for {quiet / 60:.0f} minutes"

    def _jobs(self) -> list[JobFolder]:
        try:
            return [JobFolder(path) for path in sorted((self._told.root / "jobs").iterdir()) if path.is_dir()]
        except OSError:
            return []

    # ------------------------------------------------------------------ the proof

    def _prove(self) -> None:
        """Prove that the pod can end itself, if it is time to."""
        now = self._clock.seconds()
        if now < self._proof_due:
            return
        try:
            proof = self._ways.prove()
        except ProviderError as error:
            self._proof_due = now + self._wait.after(error)
            self._refused += 1
            believed = any(isinstance(error, kind) and self._refused >= times for kind, times in _BELIEVED)
            # A proof that was given stands: a refusal later may be the provider's bad minute.
            if self._state["proven_at"] is None:
                self._state.update(refused=str(error) if believed else "")
        else:
            self._proven(proof)
        self._noted = -1e9

    def _proven(self, proof: Proof) -> None:
        self._wait.reset()
        self._refused = 0
        self._proof_due = self._clock.seconds() + self._pace.proof
        self._state.update(refused="", clustered=proof.clustered)
        if not proof.clustered:
            self._state["proven_at"] = self._clock.seconds()
        if proof.rate is not None:
            # Of several candidates the dearest was confirmed, and a cheaper one may have been had.
            self._state["rate"] = max(self._told.least, proof.rate)

    def _with_rate(self, rate: Any) -> Limits:
        """The limits as the supervisor has them now, at the billed rate, or the confirmed one until then."""
        limits = self._told.limits
        for folder in self._jobs():
            limits = limits.changed(read_json(folder.limits))
        return limits.at(float(rate) if isinstance(rate, (int, float)) else None)

    # ------------------------------------------------------------------ the end

    @property
    def how(self) -> How:
        """Stopping keeps a volume of the pod's own, which is for what was not fetched yet."""
        # Also what an earlier start of the pod left there, which somebody resumed it for.
        trained = bool(self._state["got"]) or any(_size(folder.events) > 0 for folder in self._jobs())
        unfetched = not kept_file(self._told.root).exists() and trained
        return "stop" if self._told.volume == "persistent" and unfetched else "terminate"

    def _end(self, why: str) -> None:
        """End the pod, and try again until this process is gone with it."""
        try:
            self._tell(why)
            self._make_them_leave()
        finally:
            # Nothing that goes wrong before may keep the pod alive.
            self._order(why)

    def _order(self, why: str) -> None:
        self._wait.reset()
        while not self.leave:
            self._state.update(ending=why, how=self.how)
            self._note(now=True)
            try:
                self._state["ordered"] = self._ways.end(self.how)
                pause = self._pace.again
                self._state["trouble"] = ""
            except NoSuchPod as error:
                self._state["trouble"], pause = str(error), self._pace.longest_retry
            except ProviderError as error:
                self._state["trouble"], pause = str(error), self._wait.after(error)
            self._note(now=True)
            self._sleep(pause)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.leave and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, self._pace.tick))

    def _make_them_leave(self) -> None:
        """Let supervisors that are still at work save and leave, but not for long."""
        until = time.monotonic() + self._pace.leave
        working = [folder for folder in self._jobs() if _held(folder)]
        for folder in working:
            with contextlib.suppress(OSError):
                if (pid := holder(folder.lock)) is not None:
                    os.kill(pid, signal.SIGTERM)
        while time.monotonic() < until and any(_held(folder) for folder in working):
            self._note()
            time.sleep(self._pace.tick)

    def _tell(self, why: str) -> None:
        """Write into every job's events what is about to happen; a full disk keeps nobody from ending."""
        action = "stopped: its disk is kept" if self.how == "stop" else "terminated"
        for folder in self._jobs():
            with contextlib.suppress(OSError):
                before = last_event(folder.events)
                with EventWriter(folder.events, before.attempt if before else 1) as events:
                    message = f"{why}: the pod is {action}"
                    events.append(
                        EventType.ALERT, alert="pod_ends", severity="info", message=message, how=self.how
                    )

    def _note(self, *, now: bool = False) -> None:
        """Write down what the supervisor, the laptop and the next guard must know."""
        if not now and time.monotonic() - self._noted < self._pace.note:
            return
        self._noted = time.monotonic()
        with contextlib.suppress(OSError):
            write_json(self._file, {**self._state, **self._clock.kept(), "pid": os.getpid()})


class Waits:
    """Waits that double, with jitter; seconds."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.reset()

    def reset(self) -> None:
        """Begin again with short waits."""
        self._next = self._pace.retry

    def after(self, error: ProviderError) -> float:
        """How long to wait after this failure."""
        wait, self._next = self._next, min(self._pace.longest_retry, 2 * self._next)
        if isinstance(error, RateLimited):
            wait = max(wait, error.retry_after)
        return wait * random.uniform(0.75, 1.0)


def _held(folder: JobFolder) -> bool:
    """Is a supervisor at work there? What can't be read tells of none, and ends no guard."""
    try:
        return held(folder.lock)
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _signature(root: Path) -> int:
    """A number that changes whenever something arrives: of the folders that the laptop fills."""
    found = []
    for name in ("bundles", "data", "envs", "jobs"):
        for folder, inside, files in os.walk(root / name):
            if folder.count(os.sep) - str(root).count(os.sep) >= _DEPTH:
                inside.clear()
            for path in [Path(folder), *(Path(folder, file) for file in files)]:
                with contextlib.suppress(OSError):
                    stat = path.stat()
                    found.append(f"{path} {stat.st_size} {stat.st_mtime_ns}")
    return zlib.crc32("\n".join(sorted(found)).encode(errors="replace"))


def main(argv: Sequence[str] = (), environment: Mapping[str, str] = os.environ) -> int:
    """Guard this pod."""
    told, url = Told.read(environment["PODIUM_POD"])
    pod_id, key = environment.get("RUNPOD_POD_ID", ""), environment.get("RUNPOD_API_KEY", "")
    guard = Guard(told, Ways(Api(url, pod_id, key), Tool(pod_id)))

    def leave(number: int, frame: object) -> None:
        guard.leave = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    guard.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
