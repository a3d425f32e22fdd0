"""Which pod a job is on."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import PodError
from engine.home import Home
from engine.pods.base import Pod
from engine.pods.local import LocalPod
from engine.pods.replay import ReplayPod
from engine.records import Job


class Pods:
    """The pods of this session; each is made when it is first needed.

    Args:
        home: Where the job folders are.
        trainer: Another command than our trainer's, for local jobs; the job's folder is added to it.
    """

    def __init__(self, home: Home, trainer: Sequence[str] | None = None) -> None:
        self._local = LocalPod(home, trainer)
        self._replay = ReplayPod(home)

    def of(self, job: Job) -> Pod:
        """The pod of a job.

        Raises:
            PodError: There is no such provider.
        """
        if job.replay:
            return self._replay
        if job.provider in (None, "local"):
            return self._local
        raise PodError(f"{job.name}: unknown provider {job.provider}", "Update Podium on this machine.")

    async def close(self) -> None:
        """Let go of all pods; what runs on them goes on."""
        await self._replay.close()
        await self._local.close()
