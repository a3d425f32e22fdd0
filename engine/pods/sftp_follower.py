"""Following without Python on the other side: files are polled over SFTP, and known by their newest bytes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.pods.base import Chunk
from engine.pods.ssh_connection import Connection

if TYPE_CHECKING:
    import asyncssh

_FINGER: Final = 256
"""Bytes before the cursor by which a file is known again."""
_CHUNK: Final = 1 << 18
_POLL: Final = 0.25
_BEAT: Final = 8
"""Polls without news between two signs of life."""


class SFTPFollower:
    """Polls files.

    Args:
        sftp: The channel.
        root: The folder there.
        mirror: The folder here that holds what was followed before.
        cursors: The files, and how far each is known.
    """

    def __init__(
        self, sftp: asyncssh.SFTPClient, root: str, mirror: Path, cursors: Mapping[str, int]
    ) -> None:
        self._sftp, self._root = sftp, root
        self._offsets = dict(cursors)
        self._newest = {name: _tail(mirror / name, offset) for name, offset in cursors.items()}

    async def once(self, connection: Connection) -> AsyncGenerator[Chunk, None]:
        """What is new now, at most one chunk a file."""
        for name in self._offsets:
            async with connection.translated(connection.silence):
                found = await self._poll(name)
            for chunk in found:
                yield chunk

    @property
    def known(self) -> dict[str, tuple[int, str]]:
        """How much of each file has been followed, and its fingerprint, as `frames.asked` takes them."""
        return {
            name: (offset, hashlib.sha256(self._newest[name]).hexdigest() if offset else "")
            for name, offset in self._offsets.items()
        }

    async def chunks(self, connection: Connection) -> AsyncIterator[Chunk]:
        """What is new, for ever; an empty chunk when all files are at their ends."""
        quiet = _BEAT
        while True:
            grew = False
            for name in self._offsets:
                async with connection.translated(connection.silence):
                    found = await self._poll(name)
                for chunk in found:
                    grew = True
                    yield chunk
            quiet = _BEAT if grew else quiet + 1
            if not grew and quiet > _BEAT:
                quiet = 0
                yield Chunk("", 0, b"")
            if not grew:
                await asyncio.sleep(_POLL)

    async def _poll(self, name: str) -> list[Chunk]:
        import asyncssh

        try:
            async with self._sftp.open(f"{self._root}/{name}", "rb", encoding=None) as file:
                return await self._read(name, file)
        except asyncssh.SFTPNoSuchFile:
            return []

    async def _read(self, name: str, file: asyncssh.SFTPClientFile) -> list[Chunk]:
        newest, offset = self._newest[name], self._offsets[name]
        data: Any = await file.read(len(newest) + _CHUNK, offset - len(newest))
        if not data.startswith(newest):
            self._newest[name], self._offsets[name] = b"", 0
            return [Chunk(name, 0, b"", restarted=True)]
        data = data[len(newest) :]
        self._offsets[name] += len(data)
        self._newest[name] = (newest + data)[-_FINGER:]
        return [Chunk(name, offset, bytes(data))] if data else []


def _tail(path: Path, offset: int) -> bytes:
    if not offset:
        return b""
    with path.open("rb") as file:
        file.seek(max(0, offset - _FINGER))
        return file.read(min(offset, _FINGER))
