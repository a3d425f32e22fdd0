"""What somebody else runs, watched from here: read only, with nothing written or left on its machine.

The watcher is a task of the app, as a replay's player is. A small follower is sent to the machine as text,
lives as long as the connection and opens files for reading alone. What it sends is mirrored into the job's
folder, where the script room reads it: `python -m engine.script --watch`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from engine.errors import PodError, PodLost
from engine.home import Home
from engine.job.events import EventType, EventWriter, Status, last_event
from engine.job.folder import JobFolder, read_json, write_json
from engine.pods.base import Chunk
from engine.pods.frames import FrameReader, fingerprint
from engine.pods.local import LocalPod, environment
from engine.pods.remote import invocation
from engine.pods.ssh import SSHPod
from engine.supervisor.locks import Lock

FILES: Final = "files"
"""In the job's folder: the mirrored metrics files."""
_READ: Final = 1 << 18
_BEAT: Final = 2.0
_SLICE: Final = 0.2
"""Seconds after which a request is seen."""
_WAITS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_LONGEST: Final = 500
DETACHED: Final = "no longer watched; what runs there goes on"


class AttachedPod(LocalPod):
    """Watches one run.

    Args:
        home: Where its folder is.
        machine: The machine it is on; None for this one.
    """

    def __init__(self, home: Home, machine: SSHPod | None) -> None:
        super().__init__(home)
        self.id = machine.id if machine is not None else "local"
        self._machine = machine
        self._watcher: asyncio.Task[None] | None = None
        self._watching: Watcher | None = None

    async def start(self, job_id: str) -> None:
        """Watch; nothing if somebody does already, or it is over."""
        folder = self._home.job(job_id)
        lock = Lock(folder.lock)
        try:
            if folder.exit.exists() or not await asyncio.to_thread(lock.take):
                return
        except OSError as error:
            raise PodError(f"{folder.lock}: {error.strerror}") from None
        self._watching = Watcher(folder, self._machine)
        self._watcher = asyncio.create_task(self._watching.run())
        self._watcher.add_done_callback(lambda _: lock.release())

    async def request(self, job_id: str, name: str, value: object = True) -> None:
        """Leave a request; what is watched can only be left alone.

        Raises:
            PodError: It is another request.
        """
        if name not in ("stop", "pause"):
            raise PodError("this run is only watched: nothing of it can be changed from here")
        await super().request(job_id, name, value)

    async def follow(self, job_id: str, cursors: Mapping[str, int]) -> AsyncGenerator[Chunk, None]:
        """The folder's growth; a lost connection to the machine is one here, too."""
        async with contextlib.aclosing(super().follow(job_id, cursors)) as chunks:
            async for chunk in chunks:
                if self._watching is not None and self._watching.trouble:
                    raise PodLost(self._watching.trouble)
                yield chunk

    async def close(self) -> None:
        """Watch no more; the next app goes on."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None


class Watcher:
    """Mirrors one run's log and files, and lets them be read.

    Args:
        folder: The job's folder.
        machine: Where the run is; None for this machine.
    """

    def __init__(self, folder: JobFolder, machine: SSHPod | None) -> None:
        self._folder, self._machine = folder, machine
        self._names: dict[str, Path] = {}
        self.trouble = ""
        """Why nothing arrives, one line; empty while all is well."""

    async def run(self) -> None:
        """Watch until it is asked to leave, or the run is over."""
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._begin)
        mirroring, reading = asyncio.create_task(self._mirror()), asyncio.create_task(self._reading())
        try:
            ending = self._asked()
            while ending is None and not reading.done():
                await asyncio.wait([reading], timeout=_SLICE)
                ending = self._asked()
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._end, ending or Status.COMPLETED)
        finally:
            for task in (mirroring, reading):
                task.cancel()
            await asyncio.gather(mirroring, reading, return_exceptions=True)
            self.trouble = ""

    def _begin(self) -> None:
        last = last_event(self._folder.events)
        if last is None or last.type == EventType.STATE:
            self._tell(Status.RUNNING)

    def _asked(self) -> Status | None:
        for name, status in (("stop", Status.CANCELLED), ("pause", Status.PAUSED)):
            if self._folder.take_request(name) is not None:
                return status
        return None

    def _tell(self, status: Status, reason: str = "") -> None:
        with EventWriter(self._folder.events) as writer:
            writer.put(EventType.STATE, None, {"status": status, **({"reason": reason} if reason else {})})

    def _end(self, status: Status) -> None:
        reason = "" if status is Status.COMPLETED else DETACHED
        self._tell(status, reason)
        if status.ended:
            record = {"status": status, "exit_code": None, "error": "", "advice": "", "reason": reason}
            write_json(self._folder.exit, {**record, "attempt": 1, "seconds": None})

    async def _reading(self) -> None:
        """Let the script room read the mirror; started again should it die."""
        argv = [sys.executable, "-P", "-m", "engine.script", "--watch", str(self._folder.path)]
        while True:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment(),
                cwd="/",
            )
            try:
                assert process.stdout is not None
                if b"over" in await process.stdout.read():
                    return
                await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            await asyncio.sleep(_WAITS[1])

    async def _mirror(self) -> None:
        """Mirror for ever; what is lost is connected again, with longer and longer waits."""
        failed = 0
        while True:
            begun = time.monotonic()
            try:
                ask = await asyncio.to_thread(self._ask)
                frames = self._machine.frames(ask) if self._machine is not None else _local(ask)
                async with contextlib.aclosing(frames) as chunks:
                    async for chunk in chunks:
                        self.trouble = ""
                        await asyncio.to_thread(self._take, chunk)
            except (PodError, OSError) as error:
                self.trouble = str(error) or "nothing arrives"
            failed = 0 if time.monotonic() - begun > _WAITS[-1] else min(failed + 1, len(_WAITS))
            await asyncio.sleep(_WAITS[max(0, failed - 1)])

    def _ask(self) -> bytes:
        """What the follower is asked for: from where it is known here."""
        attach = read_json(self._folder.spec).get("attach") or {}
        self._log = str(attach.get("log") or "")
        files = {self._log: _known(self._folder.log)} if self._log else {}
        known = {name: _known(path) for name, path in self._mirrored().items()}
        request = {
            "root": str(attach.get("root") or "."),
            "files": files,
            "globs": [str(pattern) for pattern in attach.get("globs") or []],
            "known": known,
            "beat": _BEAT,
            "patience": 60.0,
        }
        return json.dumps(request).encode() + b"\n"

    def _mirrored(self) -> dict[str, Path]:
        """What is here: the name there -> the file here."""
        names: Any = read_json(self._folder.path / "files.json")
        self._names = {str(name): self._folder.path / FILES / str(place) for name, place in names.items()}
        return self._names

    def _take(self, chunk: Chunk) -> None:
        """Append what came; a file that began anew begins anew here."""
        if not chunk.data and not chunk.restarted:
            return
        path = self._folder.log if chunk.file == self._log else self._place(chunk.file)
        size = path.stat().st_size if path.exists() else 0
        if chunk.restarted:
            path.write_bytes(b"")
        elif chunk.offset > size:
            raise PodLost(f"{chunk.offset - size} bytes of {path.name} are missing")
        elif fresh := chunk.data[size - chunk.offset :]:
            with path.open("ab") as file:
                file.write(fresh)

    def _place(self, name: str) -> Path:
        """Where a file is mirrored; its name comes from there and is not trusted."""
        if name not in self._names:
            parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..", ".")]
            place = "/".join(parts)
            taken = {str(path) for path in self._names.values()}
            path = self._folder.path / FILES / place
            if not parts or len(place) > _LONGEST or not place.isprintable() or str(path) in taken:
                raise PodError(f"{name[:100]!r} is no name that can be mirrored")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._names[name] = path
            base = self._folder.path / FILES
            known = {key: value.relative_to(base).as_posix() for key, value in self._names.items()}
            write_json(self._folder.path / "files.json", known)
        return self._names[name]


def _known(path: Path) -> Sequence[Any]:
    size = path.stat().st_size if path.exists() else 0
    return [size, fingerprint(path, size)]


async def _local(ask: bytes) -> AsyncGenerator[Chunk, None]:
    """What our follower sends on this machine."""
    argv, text = invocation("follower", sys.executable)
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    stdin = process.stdin

    async def assure() -> None:
        while True:
            await asyncio.sleep(_BEAT)
            stdin.write(b"\n")

    assuring = asyncio.create_task(assure())
    try:
        stdin.write(text + ask)
        reader = FrameReader()
        while data := await process.stdout.read(_READ):
            for chunk in reader.feed(data):
                yield chunk
        said = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
        raise PodLost(f"the follower ended ({said[-1][:200] if said else 'without a word'})")
    finally:
        assuring.cancel()
        if process.returncode is None:
            process.kill()
        await process.wait()
