"""Starting a job on an SSH machine: bundle, Python, data, supervisor; what was done is not done again."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shlex
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from engine.errors import PodError, PodLost, StartLost
from engine.job.events import Phase
from engine.job.folder import JobFolder
from engine.pods import luggage
from engine.pods.bundle import NEEDED, bundle
from engine.pods.local import WANTED_SECRETS, Secrets, named_variables
from engine.pods.ssh_calls import Calls
from engine.pods.ssh_files import Files
from engine.pods.ssh_luggage import bring

Told = Callable[[str, Phase, str], Coroutine[Any, Any, None]]
"""Told of a job what is being done for it, and how far that is."""

_OLDEST: Final = (3, 11)
_INSTALL_SECONDS: Final = 3600.0
_HASH_SECONDS: Final = 600.0
_STEP: Final = 5
"""Percent of the upload between two reports."""
_DETACHED: Final = (
    'log=$1; shift; cd / && mkdir -p "$(dirname "$log")" && "$@" </dev/null >>"$log" 2>&1'
    ' || { code=$?; tail -n 1 "$log" >&2; exit "$code"; }'
)
"""The supervisor keeps none of the connection's files, so it does not know when that ends."""
_HAS_HISTORY: Final = 'test -e "$1/events.jsonl" || grep -Eqs "\\"node\\": *[1-9]" "$1/node.json"'
"""Another of several machines than the first one has a history of its own, which is none of the job's."""


class Starter:
    """Brings a job to a machine and starts it there.

    Args:
        calls: Commands there.
        files: Copies there.
        told: Who is told of progress.
        trainer: Another command than our trainer's; nothing is installed for it.
        secrets: What a supervisor is told in its environment.
    """

    def __init__(
        self,
        calls: Calls,
        files: Files,
        told: Told,
        trainer: Sequence[str] | None = None,
        secrets: Secrets = lambda job_id: {},
    ) -> None:
        self._calls, self._files, self._told, self._trainer = calls, files, told, trainer
        self._secrets = secrets

    async def start(self, root: str, job_id: str, source: JobFolder, folder: str) -> None:
        """Start a job.

        Args:
            root: Podium's folder there, absolute.
            job_id: The job.
            source: Its folder here, laid out.
            folder: Its folder there.
        """
        await self._told(job_id, Phase.UPLOAD, "")
        await self._check_python()
        code = await self._bundle(f"{root}/bundles")
        await self._data(job_id, f"{root}/data", source, folder)
        await self._history(source, folder)
        script = source.luggage.exists()
        if script:
            await self._luggage(job_id, f"{root}/data", source, folder)
        python = await self._python(job_id, f"{root}/envs", script=script)
        more = await asyncio.to_thread(self._secrets, job_id)
        await self._supervise(python, code, root, folder, named_variables(source), more)

    async def _check_python(self) -> None:
        machine = await self._calls.call("machine", {})
        version = tuple(machine["python"][:2])
        if version < _OLDEST:
            raise PodError(
                f"{self._calls.where}: {self._calls.python} is Python {version[0]}.{version[1]}, too old",
                "Install Python 3.11 or newer there, and name it as pod.python.",
            )

    async def _bundle(self, store: str) -> str:
        """Where the bundle is there, sent if it was not."""
        packed = await asyncio.to_thread(bundle)
        request = {"root": store, "sha256": packed.sha256, "bytes": 0}
        if not await self._calls.call("unpack", request):
            request["bytes"] = len(packed.data)
            await self._calls.call("unpack", request, packed.data, timeout=_HASH_SECONDS)
        return f"{store}/{packed.sha256}"

    async def _data(self, job_id: str, store: str, source: JobFolder, folder: str) -> None:
        """Send the job's files; what the machine has already, of this job or another, is not sent."""
        paths = [path for path in (source.dataset, source.eval_dataset, source.spec) if path.exists()]
        facts = await asyncio.to_thread(_facts, paths)
        request = {
            "store": store,
            "folder": folder,
            "files": {path.name: fact for path, fact in facts.items()},
        }
        for _ in range(3):
            lacking: Mapping[str, Any] = await self._calls.call("place", request, timeout=_HASH_SECONDS)
            if not lacking:
                return
            wanted = {path: int(lacking[sha]) for path, (sha, _) in facts.items() if sha in lacking}
            await self._send(job_id, store, wanted, facts)
        raise PodError(
            f"{self._calls.where}: the data did not arrive as it was sent, three times", "Try again."
        )

    async def _history(self, source: JobFolder, folder: str) -> None:
        """Give a machine that has lost its disk what is known of the run: events go on with their numbers."""
        if not source.events.exists():
            return
        if (await self._calls.run(["sh", "-c", _HAS_HISTORY, "sh", folder])).code == 0:
            return
        for path in (source.log, source.events):
            if path.exists():
                aside = f"{folder}/.{path.name}"
                await self._files.upload(path, aside)
                await self._calls.checked(["mv", "-f", aside, f"{folder}/{path.name}"])

    async def _send(
        self, job_id: str, store: str, wanted: Mapping[Path, int], facts: Mapping[Path, tuple[str, int]]
    ) -> None:
        total = sum(facts[path][1] for path in wanted)
        before, shown = 0, 0

        def progress(done: int, size: int) -> None:
            nonlocal shown
            percent = int(100 * (before + done) / max(1, total))
            if percent >= shown + _STEP or (percent == 100 and shown < 100):
                shown = percent
                reports.append(asyncio.create_task(self._told(job_id, Phase.UPLOAD, f"{percent} %")))

        reports: list[asyncio.Task[None]] = []
        for path, arrived in wanted.items():
            sha, size = facts[path]
            await self._files.upload(path, f"{store}/{sha}.part", arrived, progress)
            before += size
        await asyncio.gather(*reports)

    async def _luggage(self, job_id: str, store: str, source: JobFolder, folder: str) -> None:
        """Send what a script brings along."""
        items = await asyncio.to_thread(luggage.read, source)
        await bring(self._calls, partial(self._send, job_id), store, f"{folder}/{source.work.name}", items)

    async def _python(self, job_id: str, store: str, *, script: bool) -> str:
        """The Python there that can train; a script says itself what it needs."""
        needed = {} if script or self._trainer is not None else NEEDED
        if needed:
            await self._told(job_id, Phase.INSTALL, "")
        answer = await self._calls.call(
            "environment", {"root": store, "needed": needed}, timeout=_INSTALL_SECONDS
        )
        return str(answer["python"])

    async def _supervise(
        self,
        python: str,
        code: str,
        root: str,
        folder: str,
        variables: Sequence[str],
        more: Mapping[str, str],
    ) -> None:
        # -P: the working folder must not be able to shadow our modules.
        argv = [python, "-P", "-m", "engine.supervisor", folder, "--detach", "--slot", f"{root}/machine.slot"]
        if self._trainer is not None:
            argv += ["--trainer", shlex.join(self._trainer)]
        names = (*WANTED_SECRETS, *variables)
        secrets = {**{name: os.environ[name] for name in names if os.environ.get(name)}, **more}
        try:
            await self._calls.checked(
                ["sh", "-c", _DETACHED, "sh", f"{folder}/supervisor.log", *argv],
                env={"PYTHONPATH": code, "PYTHONDONTWRITEBYTECODE": "1", **secrets},
                timeout=120,
            )
        except PodLost as error:
            raise StartLost(error.what, error.advice) from None


def _facts(paths: Sequence[Path]) -> dict[Path, tuple[str, int]]:
    """SHA-256 and size of files."""
    facts = {}
    for path in paths:
        with path.open("rb") as file:
            facts[path] = (hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)
    return facts
