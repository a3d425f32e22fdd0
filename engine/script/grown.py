"""A file that grows: what is new of it, and whether it is still the file that it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_MARK: Final = 256
"""Bytes before the place that was reached, by which a file is known again."""
MOST: Final = 1 << 22
"""Bytes that are read at once."""


class Grown:
    """Follows one file from a place on.

    Args:
        path: The file; it need not exist yet.
        offset: Where to begin.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path, self.offset = path, offset
        self._inode: int | None = None
        self._mark = b""
        self.more = False
        """Is there more than what was read last?"""

    def read(self) -> tuple[bytes, bool]:
        """What is new, and whether the file was truncated or replaced: then it begins anew.

        A file that can't be read now has nothing new.
        """
        self.more = False
        try:
            # Not one that has become a pipe: opening it would wait for ever.
            fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return b"", False
        try:
            return self._read(fd)
        except OSError:
            return b"", False
        finally:
            os.close(fd)

    def _read(self, fd: int) -> tuple[bytes, bool]:
        status = os.fstat(fd)
        if self._inode == status.st_ino and status.st_size == self.offset and self._same(fd):
            return b"", False
        restarted = self._inode is not None and not (
            self._inode == status.st_ino and status.st_size >= self.offset and self._same(fd)
        )
        # A file of the same beginning that was written anew (as a whole table, a row longer) goes on.
        if restarted and self._inode != status.st_ino and status.st_size >= self.offset and self._same(fd):
            restarted = False
        if restarted or status.st_size < self.offset:
            self.offset, restarted = 0, True
        self._inode = status.st_ino
        data = os.pread(fd, MOST, self.offset)
        self.offset += len(data)
        self._mark = os.pread(fd, min(self.offset, _MARK), max(0, self.offset - _MARK))
        self.more = len(data) == MOST
        return data, restarted

    def _same(self, fd: int) -> bool:
        return os.pread(fd, len(self._mark), max(0, self.offset - len(self._mark))) == self._mark
