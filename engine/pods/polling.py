"""Files on this machine, followed by polling: it works on network volumes too, and costs little."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.pods.base import Chunk

MAX_CHUNK: Final = 1 << 18
"""Bytes."""


_MARK: Final = 256
"""Bytes before the cursor by which a file is known again: an inode's number may be used anew."""


@dataclass(slots=True)
class _Followed:
    """One file: how far it has been read, and by what it is known."""

    path: Path
    offset: int
    inode: int | None = None
    mark: bytes = b""


class Poller:
    """Finds what files have grown by since the last time.

    Args:
        folder: Where they are.
        cursors: Their names, and how far each is known; they need not exist yet.
    """

    def __init__(self, folder: Path, cursors: Mapping[str, int]) -> None:
        self._files = {name: _Followed(folder / name, offset) for name, offset in cursors.items()}

    def poll(self) -> list[Chunk]:
        """At most one chunk a file; none when all are at their ends.

        Raises:
            OSError: A file is there but can't be read.
        """
        return [chunk for name in self._files for chunk in self._grown(name)]

    def _grown(self, name: str) -> Iterator[Chunk]:
        followed = self._files[name]
        try:
            file = followed.path.open("rb", buffering=0)
        except FileNotFoundError:
            return
        with file:
            status = os.fstat(file.fileno())
            if followed.inode == status.st_ino and followed.offset == status.st_size:
                return
            replaced = not _same(followed, file.fileno(), status)
            if replaced:
                followed.offset, followed.mark = 0, b""
            start, followed.inode = followed.offset, status.st_ino
            data = os.pread(file.fileno(), MAX_CHUNK, start)
            followed.offset += len(data)
            followed.mark = _mark(file.fileno(), followed.offset)
        if data or replaced:
            yield Chunk(name, start, data, restarted=replaced)


def _same(followed: _Followed, fd: int, status: os.stat_result) -> bool:
    """Is it the file that was read before, only longer?"""
    if status.st_size < followed.offset or followed.inode not in (None, status.st_ino):
        return False
    return followed.inode is None or _mark(fd, followed.offset) == followed.mark


def _mark(fd: int, offset: int) -> bytes:
    """The bytes before the cursor."""
    start = max(0, offset - _MARK)
    return os.pread(fd, offset - start, start)
