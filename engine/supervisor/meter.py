"""What a run has used of its limits, and what is due by that: warnings, a checkpoint in time, the end."""

from __future__ import annotations

import contextlib
import time

from engine.job.events import EventType
from engine.job.folder import JobFolder, read_json
from engine.supervisor.capping import taken
from engine.supervisor.guarded import Guarded, found
from engine.supervisor.journal import Journal
from engine.supervisor.limits import Limits
from engine.supervisor.memory import Memory
from engine.supervisor.pulse import Pulse


class Meter:
    """Counts the seconds of a job over all its supervisors, and those for which its pod is paid.

    Args:
        folder: The job's.
        memory: What the supervisors before have counted.
        journal: Where changed limits are told.
        pulse: Who warns.
    """

    def __init__(self, folder: JobFolder, memory: Memory, journal: Journal, pulse: Pulse) -> None:
        self._folder, self._memory, self._journal, self._pulse = folder, memory, journal, pulse
        self.limits = Limits.read(folder.spec).changed(read_json(folder.limits))
        self._since: float | None = None
        self._ahead = 0.0
        """How much longer a rented pod has run than the job, in seconds."""
        self._saved_for: set[str] = set()

    def start(self) -> None:
        """The job runs from now on."""
        self._since = time.monotonic()

    def stop(self) -> None:
        """It does not any more."""
        self._memory.seconds, self._since = self.seconds, None

    def note(self) -> None:
        """Put what was counted where a successor finds it."""
        if self._since is not None:
            self._memory.seconds, self._since = self.seconds, time.monotonic()

    def follow(self, guard: Guarded) -> None:
        """Reckon as the guard of a rented pod does: since that began, at the rate that it knows."""
        self._ahead = guard.seconds - self.seconds
        self.limits = self.limits.at(guard.rate)

    @property
    def seconds(self) -> float:
        """How long the job has run."""
        return self._memory.seconds + (time.monotonic() - self._since if self._since is not None else 0.0)

    @property
    def billed(self) -> float:
        """Seconds for which it is paid: on a rented pod since that began, else as long as the job has run."""
        return self.seconds + self._ahead

    @property
    def reached(self) -> str | None:
        """The limit that a running job has reached, as a sentence."""
        return self.limits.reached(self.billed) if self._since is not None else None

    def read(self) -> None:
        """Take a request for other limits, and warn of one that is near."""
        if (answer := taken(self._folder, self.limits, self.billed)) is not None:
            self._change(*answer)
        if self._since is not None and (near := self.limits.near(self.billed)):
            self._pulse.alert(near[0], "warning", near[1])

    def _change(self, limits: Limits, refusal: str) -> None:
        """Do what a request for other limits says, and tell what came of it."""
        self.limits = limits
        if refusal:
            self._pulse.alert("limits_refused", "warning", f"the limits stay: {refusal}", again=True)
            return
        message = "limits now: " + ", ".join(f"{name} {value:g}" for name, value in limits.caps.items())
        self._journal.emit(
            EventType.ALERT, alert="limits_changed", severity="info", message=message, **limits.caps
        )
        self._saved_for.discard("limit")
        self._pulse.forget("cost_cap", "timeout_warning", "save_limit")

    def save_in_time(self) -> None:
        """Ask for a checkpoint before a limit or a full disk ends the job; once for each."""
        reasons = {"limit": self.limits.save_due(self.billed), "disk": None}
        if self._pulse.disk_full:
            reasons["disk"] = "a disk that is 92 % full"
        for reason, told in reasons.items():
            if told and self._since is not None and reason not in self._saved_for:
                self._saved_for.add(reason)
                with contextlib.suppress(OSError):
                    self._folder.request("save")
                self._pulse.alert(f"save_{reason}", "warning", f"a checkpoint is saved ahead of {told}")

    def standing(self) -> dict[str, float]:
        """What the heartbeat says of the limits, and of the guard that holds them on a rented pod."""
        if not self.limits.rented:
            return self.limits.standing(self.billed)
        guard = found(self._folder)
        if not guard.alive:
            self._pulse.alert("guard_lost", "error", "the pod's guard is dead: nobody else ends the pod now")
        # The provider may bill another rate than an hour ago, and the guard ends the pod by it.
        self.limits = self.limits.at(guard.rate)
        standing = {**self.limits.standing(self.billed), "hours": round(self.billed / 3600, 4)}
        return standing if guard.proven is None else {**standing, "proven_s": round(guard.proven, 1)}
