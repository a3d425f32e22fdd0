"""Files to and from an SSH machine over SFTP: what was cut off goes on where it was, with progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.errors import PodError
from engine.pods.ssh_connection import Connection

if TYPE_CHECKING:
    import asyncssh

Progress = Callable[[int, int], None]
"""Told how many bytes of how many are there."""

_BLOCK: Final = 1 << 22
"""Bytes that are on their way at once."""
_STALLED: Final = 60.0
"""Seconds that one block may take."""


def silent(done: int, total: int) -> None:
    """Tell nobody."""


class Files:
    """Copies to and from a machine.

    Args:
        connection: The way there.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def sftp(self) -> AsyncIterator[asyncssh.SFTPClient]:
        """An SFTP channel, with errors as ours."""
        connection = await self._connection.get()
        async with self._connection.translated():
            client = await connection.start_sftp_client()
            try:
                yield client
            finally:
                client.exit()

    async def upload(self, local: Path, remote: str, start: int = 0, progress: Progress = silent) -> None:
        """Write a file there from byte `start` on: whole blocks that have arrived are not sent again."""
        import asyncssh

        total = await asyncio.to_thread(_size, local)
        offset = min(start, total) // _BLOCK * _BLOCK
        async with (
            self.sftp() as sftp,
            sftp.open(remote, asyncssh.FXF_WRITE | asyncssh.FXF_CREAT, encoding=None) as file,
        ):
            with local.open("rb") as source:
                source.seek(offset)
                while data := await asyncio.to_thread(source.read, _BLOCK):
                    async with self._connection.translated(_STALLED):
                        await file.write(data, offset)
                    offset += len(data)
                    progress(offset, total)
            if total == 0:
                await file.write(b"", 0)

    async def download(self, remote: str, local: Path, size: int, progress: Progress = silent) -> None:
        """Append what `local` lacks of a file of `size` bytes.

        Raises:
            PodError: The file there is shorter, or it can't be written here.
        """
        offset = await asyncio.to_thread(_size, local)
        progress(min(offset, size), size)
        async with self.sftp() as sftp, sftp.open(remote, "rb", encoding=None) as file:
            while offset < size:
                async with self._connection.translated(_STALLED):
                    data: Any = await file.read(min(_BLOCK, size - offset), offset)
                if not data:
                    raise PodError(f"{remote}: is shorter than it should be")
                await asyncio.to_thread(_append, local, data)
                offset += len(data)
                progress(offset, size)

    async def read(self, remote: str, limit: int = 1 << 24) -> bytes:
        """A small file's content.

        Raises:
            PodError: It is not there, or longer than `limit` bytes.
        """
        async with self.sftp() as sftp, sftp.open(remote, "rb", encoding=None) as file:
            data: Any = await file.read(limit + 1)
        if len(data) > limit:
            raise PodError(f"{remote}: is too long")
        return bytes(data)

    async def put(self, local: Path, remote: str) -> None:
        """Copy a file or a folder there."""
        async with self.sftp() as sftp:
            await sftp.put(str(local), remote, recurse=True)

    async def get(self, remote: str, local: Path) -> None:
        """Copy a file or a folder from there; links are not followed."""
        async with self.sftp() as sftp:
            await sftp.get(remote, str(local), recurse=True, follow_symlinks=False)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(path: Path, data: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError as error:
        raise PodError(f"{path}: can't be written ({error.strerror})", "Make room there.") from None
