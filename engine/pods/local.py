"""This machine as a pod: the job's folder is the laptop's own, and the supervisor is a detached process."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from engine.errors import PodError
from engine.home import Home
from engine.job.folder import JobFolder, read_json
from engine.pods.base import Chunk, Completed
from engine.pods.polling import Poller
from engine.supervisor.failure import clean, secret
from engine.supervisor.locks import held

WANTED_SECRETS: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Secrets that a trainer needs: the Hub's. No other secret of the environment reaches a job."""

Secrets = Callable[[str], Mapping[str, str]]
"""The variables that a supervisor gets and nobody else: where it reports, and whom it alerts; may block."""

_ACTIVE: Final = 5.0
"""Seconds after the last byte in which a file counts as active."""
_POLL_ACTIVE: Final = 0.05
_POLL_IDLE: Final = 0.2
_BEAT: Final = 2.0
_START_TIMEOUT: Final = 60.0


class LocalPod:
    """Runs jobs here, one at a time; supervisors and trainers outlive the app.

    Args:
        home: Where the job folders are.
        trainer: Another command than our trainer's; the job's folder is added to it.
        queued: Does a job wait until no other local job trains?
        secrets: What a supervisor is told in its environment.
    """

    id = "local"
    in_place = True

    def __init__(
        self,
        home: Home,
        trainer: Sequence[str] | None = None,
        *,
        queued: bool = True,
        secrets: Secrets = lambda job_id: {},
    ) -> None:
        self._home, self._secrets = home, secrets
        self._trainer = trainer
        self._queued = queued

    def folder(self, job_id: str) -> str:
        """The job's folder."""
        return str(self._home.job(job_id).path)

    async def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60  # noqa: ASYNC109
    ) -> Completed:
        """Run a command to its end; `timeout` in seconds."""
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**environment(), **(env or {})},
            )
        except OSError as error:
            raise PodError(f"{argv[0]}: {error.strerror}") from None
        try:
            out, err = await asyncio.wait_for(process.communicate(), timeout)
        except TimeoutError:
            raise PodError(f"{argv[0]}: not done after {timeout:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Completed(process.returncode or 0, out, err)

    async def start(self, job_id: str) -> None:
        """Start the job's supervisor, detached; nothing if one is at work or the job has ended.

        Raises:
            PodError: It does not start, with what it said.
        """
        await asyncio.to_thread(self._start, job_id)

    def _start(self, job_id: str) -> None:
        folder = self._home.job(job_id)
        # -P: the working folder must not be able to shadow our modules.
        argv = [sys.executable, "-P", "-m", "engine.supervisor", str(folder.path), "--detach"]
        if self._queued:
            argv += ["--slot", str(self._home.slot)]
        if self._trainer is not None:
            argv += ["--trainer", shlex.join(self._trainer)]
        try:
            with folder.supervisor_log.open("ab") as said:
                started = subprocess.run(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    cwd="/",
                    env={**environment(named_variables(folder)), **self._secrets(job_id)},
                    start_new_session=True,
                    timeout=_START_TIMEOUT,
                    check=False,
                )
        except OSError as error:
            raise PodError(f"{folder.path}: the supervisor can't be started ({error.strerror})") from None
        except subprocess.TimeoutExpired:
            raise PodError(f"{folder.path}: no supervisor after {_START_TIMEOUT:g} s") from None
        if started.returncode != 0:
            lines = folder.supervisor_log.read_text(encoding="utf-8", errors="replace").splitlines()
            raise PodError(clean(lines[-1]) if lines else f"{folder.path}: the supervisor did not start")

    async def alive(self, job_id: str) -> bool:
        """Does a supervisor hold the job's lock?"""
        return await asyncio.to_thread(held, self._home.job(job_id).lock)

    async def request(self, job_id: str, name: str, value: object = True) -> None:
        """Leave a control request in the job's folder."""
        folder = self._home.job(job_id)
        try:
            await asyncio.to_thread(folder.request, name, value)
        except OSError as error:
            raise PodError(f"{folder.control}: can't leave the request {name} ({error.strerror})") from None

    async def follow(self, job_id: str, cursors: Mapping[str, int]) -> AsyncGenerator[Chunk, None]:
        """Stream files of the job's folder as they grow; an empty chunk when all are at their ends."""
        poller = Poller(self._home.job(job_id).path, cursors)
        active = beaten = float("-inf")
        while True:
            chunks = await asyncio.to_thread(poller.poll)
            for chunk in chunks:
                yield chunk
            now = time.monotonic()
            if chunks:
                # The beat that follows the last byte tells at once that there is no more.
                active, beaten = now, float("-inf")
            elif now - beaten >= _BEAT:
                beaten = now
                yield Chunk(next(iter(cursors)), 0, b"")
            await asyncio.sleep(_POLL_ACTIVE if now - active < _ACTIVE else _POLL_IDLE)

    async def put(self, local: Path, remote: str) -> None:
        """Copy a file or a folder."""
        await asyncio.to_thread(_copy, local, Path(remote))

    async def get(self, remote: str, local: Path) -> None:
        """Copy a file or a folder."""
        await asyncio.to_thread(_copy, Path(remote), local)

    async def close(self) -> None:
        """Nothing to let go of: supervisors are nobody's children."""


def environment(wanted: Sequence[str] = ()) -> dict[str, str]:
    """This process's environment without the secrets that no job needs; those in `wanted` stay."""
    kept = (*WANTED_SECRETS, *wanted)
    return {name: value for name, value in os.environ.items() if name in kept or not secret(name)}


def named_variables(folder: JobFolder) -> list[str]:
    """The variables that a script's spec names: their values come from here at each start."""
    script = read_json(folder.spec).get("script")
    names = script.get("environment") if isinstance(script, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder; a file appears whole or not at all, links stay links.

    Raises:
        PodError: It can't be copied.
    """
    try:
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
        try:
            shutil.copy2(source, aside)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
    except (OSError, shutil.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PodError(f"{source}: can't be copied to {target} ({reason})") from None
