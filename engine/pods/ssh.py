"""A pod that is reached over SSH: one connection, one follower channel a job, its host key pinned."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shlex
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.errors import PodError, PodLost, StartLost
from engine.home import Home
from engine.job.events import Phase
from engine.job.folder import CONTROLS
from engine.pods.base import Chunk, Completed
from engine.pods.frames import FrameReader, asked, fingerprint
from engine.pods.local import Secrets
from engine.pods.pins import FirstUse, Pins
from engine.pods.remote import invocation
from engine.pods.sftp_follower import SFTPFollower
from engine.pods.ssh_address import SSHAddress
from engine.pods.ssh_calls import Calls, NoPython, last_line
from engine.pods.ssh_connection import KEEPALIVE_SECONDS, Connection
from engine.pods.ssh_files import Files
from engine.pods.ssh_start import Starter, Told

if TYPE_CHECKING:
    import asyncssh

_READ: Final = 1 << 18
_RETRIES: Final = (0.5, 2.0, 5.0)
"""Seconds; a start that was cut off goes on where it was."""
_HASH_SECONDS: Final = 1800.0
"""How long hashing a model there may take: a network volume is slow."""
_WRITE: Final = 'mkdir -p "$1" && cat >"$1/$2" && mv -f "$1/$2" "$1/$3"'
"""Aside first, then renamed: a file is there whole or not at all."""
_UNASKED: Final = 'rm -f "$1/stop" "$1/pause"'
_AFRESH: Final = '''cd "$1" || exit 0
grep -qs '"failed"' exit.json || exit 0
mv -f events.jsonl "events-$(date +%s).jsonl" && rm -f exit.json'''
"""Its own account of an end is kept aside: the next supervisor would take it for its own."""


async def untold(job_id: str, phase: Phase, text: str) -> None:
    """Tell nobody."""


def unsaid(pod_id: str, fingerprint: str) -> None:
    """Say nothing of a key that is pinned."""


class SSHPod:
    """Any machine with SSH; nothing of ours needs to be there before.

    Args:
        id: The pod's id: its host key is pinned by it.
        address: Where it is.
        home: Where job folders, or their mirrors, and the pinned keys are on this machine.
        python: The Python there.
        root: Podium's folder there.
        trainer: Another command than our trainer's; the job's folder is added to it.
        told: Told what is being done for a job that starts.
        first_use: Told of a key that is pinned.
        config: OpenSSH client configuration files; by default the user's.
        keepalive: Seconds between signs of life; three in silence are a loss.
        secrets: What a supervisor is told in its environment.
    """

    in_place = False

    def __init__(
        self,
        id: str,
        address: SSHAddress,
        home: Home,
        *,
        python: str = "python3",
        root: str = "~/.podium",
        trainer: Sequence[str] | None = None,
        told: Told = untold,
        first_use: FirstUse = unsaid,
        config: Sequence[Path] | None = None,
        keepalive: float = KEEPALIVE_SECONDS,
        secrets: Secrets = lambda job_id: {},
    ) -> None:
        self.id, self.address, self._home = id, address, home
        files = (Path.home() / ".ssh" / "config",) if config is None else config
        self._connection = Connection(
            id, address, Pins(home.host_keys), first_use=first_use, config=files, keepalive=keepalive
        )
        self._keepalive = keepalive
        self._calls = Calls(self._connection, python)
        self.files = Files(self._connection)
        self._starter = Starter(self._calls, self.files, told, trainer, secrets)
        self._root = root

    def folder(self, job_id: str) -> str:
        """The job's folder on the pod; it may begin with `~`."""
        return f"{self._root}/jobs/{self._home.job(job_id).path.name}"

    async def absolute(self, path: str) -> str:
        """A path there without `~`."""
        if path.startswith("/"):
            return path
        if self._root.startswith("/"):
            return f"{self._root}/{path}"
        there = (await self._calls.checked(["sh", "-c", 'printf %s "$HOME"'])).decode(errors="replace")
        if not there.startswith("/"):
            raise PodError(f"{self.address}: has no home folder", "Name an absolute pod.folder.")
        begun, self._root = self._root, f"{there}/{self._root.removeprefix('~').lstrip('/')}".rstrip("/")
        return self._root + path.removeprefix(begun)

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,  # noqa: ASYNC109
        stdin: bytes = b"",
    ) -> Completed:
        """Run a command to its end; `env` travels on its stdin, never in its arguments."""
        return await self._calls.run(argv, env=env, timeout=timeout, stdin=stdin)

    async def start(self, job_id: str) -> None:
        """Bring the job there and start its supervisor, detached; nothing if one is at work.

        Raises:
            StartLost: It may be at work by now.
            PodError: Something that it needs is missing there, with what to do.
        """
        asked = False
        for wait in (*_RETRIES, None):
            try:
                folder = await self.absolute(self.folder(job_id))
                if not await self.alive(job_id):
                    await self._starter.start(self._root, job_id, self._home.job(job_id), folder)
                return
            except PodLost as error:
                asked = asked or isinstance(error, StartLost)
                if wait is None and asked:
                    raise StartLost(error.what, error.advice) from None
                if wait is None:
                    raise
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))

    async def alive(self, job_id: str) -> bool:
        """Does a supervisor hold the job's lock?"""
        folder = await self.absolute(self.folder(job_id))
        return bool(await self._calls.call("alive", {"lock": f"{folder}/supervisor.lock"}))

    async def request(self, job_id: str, name: str, value: object = True) -> None:
        """Leave a control request in the job's folder."""
        if name not in CONTROLS:
            raise ValueError(f"unknown control request {name!r}")
        await self._write(f"{await self.absolute(self.folder(job_id))}/control", name, value)

    async def _write(self, folder: str, name: str, value: object) -> None:
        """Write a JSON file there."""
        argv = ["sh", "-c", _WRITE, "sh", folder, f".{name}.{os.urandom(4).hex()}", name]
        await self._calls.checked(argv, stdin=json.dumps(value).encode())

    # ------------------------------------------------------------------ one of several machines

    async def node(self, job_id: str) -> Mapping[str, Any]:
        """Which of a job's machines this is, as it is written there; empty when it is not."""
        path = f"{await self.absolute(self.folder(job_id))}/node.json"
        done = await self.run(["cat", path])
        try:
            found = json.loads(done.out) if done.code == 0 else {}
        except ValueError:
            found = {}
        return found if isinstance(found, dict) else {}

    async def be_node(self, job_id: str, place: Mapping[str, object]) -> None:
        """Write down which of a job's machines this is: `node`, `nodes`, `address` and `port`."""
        await self._write(await self.absolute(self.folder(job_id)), "node.json", place)

    async def forget_end(self, job_id: str) -> None:
        """Let a machine that is not the first one begin again: no old requests, no failure of its own."""
        folder = await self.absolute(self.folder(job_id))
        await self._calls.checked(["sh", "-c", _UNASKED, "sh", f"{folder}/control"])
        await self._calls.checked(["sh", "-c", _AFRESH, "sh", folder])

    async def asked_to_end(self, job_id: str) -> bool:
        """Does a request to stop or to pause wait there?"""
        control = f"{await self.absolute(self.folder(job_id))}/control"
        found = await self.run(["sh", "-c", 'test -e "$1/stop" || test -e "$1/pause"', "sh", control])
        return found.code == 0

    async def meeting(self) -> tuple[str, int]:
        """The address at which SSH reached it, and a port that is free there."""
        address = (await self._calls.checked(["sh", "-c", 'set -- $SSH_CONNECTION; printf %s "$3"'])).decode()
        program = "import socket; s = socket.socket(); s.bind(('', 0)); print(s.getsockname()[1])"
        port = await self._calls.checked([self._calls.python, "-c", program])
        try:
            return address or self.address.host, int(port)
        except ValueError:
            raise PodError(f"{self.address}: no free port was found there", "Say distributed.port.") from None

    # ------------------------------------------------------------------ following

    async def follow(
        self, job_id: str, cursors: Mapping[str, int], mirror: Path | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """Stream files of the job's folder, for ever, over one channel; without Python there over SFTP.

        Args:
            job_id: The job.
            cursors: The files, and how far each is known.
            mirror: The folder here that holds what was followed before; by default the job's.
        """
        folder = await self.absolute(self.folder(job_id))
        mirror = mirror or self._home.job(job_id).path
        here = dict(cursors)
        try:
            async with contextlib.aclosing(self._framed(folder, mirror, cursors)) as chunks:
                async for chunk in chunks:
                    if chunk.file:
                        here[chunk.file] = chunk.offset + len(chunk.data)
                    yield chunk
        except NoPython:
            pass
        async with self.files.sftp() as sftp:
            follower = SFTPFollower(sftp, folder, mirror, here)
            async for chunk in follower.chunks(self._connection):
                yield chunk

    async def _framed(
        self, folder: str, mirror: Path, cursors: Mapping[str, int]
    ) -> AsyncGenerator[Chunk, None]:
        """What our follower there sends; until it is up, what SFTP finds."""
        async with self._follower() as process:
            known: dict[str, tuple[int, str]] = {}
            async with contextlib.aclosing(self._ahead(folder, mirror, cursors, known)) as ahead:
                async for chunk in ahead:
                    yield chunk
            _tell(process, asked(folder, known, beat=self._keepalive / 2))
            async with contextlib.aclosing(self._sent(process)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def frames(self, ask: bytes) -> AsyncGenerator[Chunk, None]:
        """What our follower there sends when it is asked so, for ever.

        Raises:
            NoPython: There is none.
            PodError: A file can't be read there.
        """
        async with self._follower() as process:
            _tell(process, ask)
            async with contextlib.aclosing(self._sent(process)) as chunks:
                async for chunk in chunks:
                    yield chunk

    @contextlib.asynccontextmanager
    async def _follower(self) -> AsyncIterator[asyncssh.SSHClientProcess[Any]]:
        """Our follower there, which waits to be asked."""
        argv, text = invocation("follower", self._calls.python)
        connection = await self._connection.get()
        async with self._connection.translated(self._connection.silence):
            process: asyncssh.SSHClientProcess[Any] = await connection.create_process(
                shlex.join(argv), encoding=None
            )
        living = asyncio.create_task(self._assure(process))
        try:
            _tell(process, text)
            yield process
        finally:
            living.cancel()
            process.close()

    async def _sent(self, process: asyncssh.SSHClientProcess[Any]) -> AsyncGenerator[Chunk, None]:
        """The chunks that it sends."""
        reader = FrameReader()
        while data := await self._next(process):
            for chunk in reader.feed(data):
                yield chunk
        raise await self._ended(process)

    async def _ahead(
        self, folder: str, mirror: Path, cursors: Mapping[str, int], known: dict[str, tuple[int, str]]
    ) -> AsyncGenerator[Chunk, None]:
        """What is new already: SFTP needs no shell, whose start files may take half a second.

        Args:
            folder: The job's folder there.
            mirror: The job's folder here.
            cursors: How much of each file is here.
            known: Is told how much there is after this, and by what it is known.
        """
        known |= {
            name: (at, await asyncio.to_thread(fingerprint, mirror / name, at))
            for name, at in cursors.items()
        }
        try:
            async with self.files.sftp() as sftp:
                first = SFTPFollower(sftp, folder, mirror, cursors)
                async with contextlib.aclosing(first.once(self._connection)) as chunks:
                    async for chunk in chunks:
                        known |= first.known
                        yield chunk
        except PodError:
            # A server without SFTP is followed all the same.
            if not self._connection.there:
                raise

    async def _next(self, process: asyncssh.SSHClientProcess[Any]) -> bytes:
        async with self._connection.translated(self._connection.silence):
            return bytes(await process.stdout.read(_READ))

    async def _assure(self, process: asyncssh.SSHClientProcess[Any]) -> None:
        """Tell the follower now and then that somebody is listening."""
        while True:
            await asyncio.sleep(self._keepalive)
            _tell(process, b"\n")

    async def _ended(self, process: asyncssh.SSHClientProcess[Any]) -> PodError:
        """Why the follower ended; it never does so by itself."""
        async with self._connection.translated(self._connection.silence):
            complaint = last_line(bytes(await process.stderr.read()))
            await process.wait_closed()
        if process.exit_status is None:
            return self._connection.lost()
        if process.exit_status == 127:
            return NoPython(f"{self.address}: there is no {self._calls.python}")
        return PodLost(f"{self.address}: the follower ended with status {process.exit_status} ({complaint})")

    async def sums(self, remote: str) -> object:
        """A manifest of what is in a folder there: files, sizes, hashes; None where it is none."""
        return await self._calls.call("sums", {"folder": remote}, timeout=_HASH_SECONDS)

    async def put(self, local: Path, remote: str) -> None:
        """Copy a file or a folder to the pod."""
        await self.files.put(local, remote)

    async def get(self, remote: str, local: Path) -> None:
        """Copy a file or a folder from the pod."""
        await self.files.get(remote, local)

    async def close(self) -> None:
        """Let go of the connection; what runs on the pod goes on."""
        await self._connection.close()


def _tell(process: asyncssh.SSHClientProcess[Any], data: bytes) -> None:
    """Write to a program there; why one has ended already is read from it, not from this."""
    with contextlib.suppress(OSError):
        process.stdin.write(data)
