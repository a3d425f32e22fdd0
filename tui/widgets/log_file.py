"""An index of a growing log file: where its lines start.

The text stays in the file. A million lines cost 8 MB of offsets; a line is read when it is shown.
Nothing here knows the screen. `grow` belongs to one thread at a time; reading may go on beside it, for
it only appends.
"""

from __future__ import annotations

import contextlib
import os
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tui.widgets.clean import CAP, shown_part

_NEWLINE: Final = re.compile(b"\n")

SLICE: Final = 1 << 20
"""How much is read at a time, bytes; between slices other threads get their turn."""

LONG: Final = 16 * SLICE
"""From when on a file's end is shown before the whole of it is indexed, bytes."""


class LogFile:
    """The lines of a file that grows, and that may be cut or replaced.

    Args:
        path: The file; it need not exist yet.
        begin: The byte from which on it is indexed; what comes before is not there.
    """

    def __init__(self, path: str, begin: int = 0) -> None:
        self.path = Path(path)
        self._begin = begin
        self.generation = 0
        """Rises when the file was cut or replaced: all line numbers are void then."""
        self._open: _Open | None = None
        self._inode = 0
        self._starts = array("Q", [begin])
        self._size = begin

    def __len__(self) -> int:
        """How many lines there are; a last one without its newline counts."""
        return len(self._starts) - (self._starts[-1] == self._size)

    @property
    def size(self) -> int:
        """How many bytes have been indexed."""
        return self._size

    def stale(self) -> bool:
        """Is there something that the index does not know of? One system call."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return status.st_size != self._size or status.st_ino != self._inode

    def grow(self) -> Iterator[int]:
        """Index what was appended, a slice at a time; yields the number of lines after each."""
        if not self._reopen():
            return
        while chunk := self.read(self._size, self._size + SLICE):
            base = self._size
            self._starts.extend([base + found.end() for found in _NEWLINE.finditer(chunk)])
            self._size += len(chunk)
            yield len(self)

    def _reopen(self) -> bool:
        """Open the file, anew when it was replaced or cut; False while there is none."""
        try:
            status = self.path.stat()
            if self._open is None or status.st_ino != self._inode or status.st_size < self._size:
                self._open = _Open(self.path)
                self._inode = os.fstat(self._open.fd).st_ino
                if self._size > self._begin:
                    self.generation += 1
                self._starts, self._size = array("Q", [self._begin]), self._begin
        except OSError:
            return False
        return True

    @classmethod
    def end_of(cls, path: str) -> LogFile | None:
        """The last lines of a file that is too long to index before anything is shown; else None."""
        try:
            size = Path(path).stat().st_size
        except OSError:
            return None
        if size <= LONG:
            return None
        near = cls(path, size - SLICE)
        for _ in near.grow():
            pass
        if len(near) < 2:
            return None  # a line as long as that: it takes the whole index to know where it begins
        near._starts = near._starts[1:]  # the first is but the end of a line
        return near

    def span(self, number: int) -> tuple[int, int]:
        """Where a line is: its first byte and the one after its last, newline included."""
        start = self._starts[number]
        end = self._starts[number + 1] if number + 1 < len(self._starts) else self._size
        return start, end

    def line(self, number: int) -> bytes:
        """What is to be shown of a line, at most `CAP` bytes; empty when it is not there."""
        if not 0 <= number < len(self):
            return b""
        start, end = self.span(number)
        if end - start <= 4 * CAP:
            return shown_part(self.read(start, end))
        # A progress bar's line may be megabytes long: only its end was left on the terminal.
        tail = self.read(end - 2 * CAP, end)
        return shown_part(tail) if b"\r" in tail.rstrip(b"\r\n") else self.read(start, start + CAP)

    def read(self, start: int, end: int) -> bytes:
        """Some bytes of the file; fewer when it was cut."""
        file = self._open  # kept until we are done, should another thread open the file anew meanwhile
        try:
            return os.pread(file.fd, end - start, start) if file else b""
        except OSError:
            return b""

    def number_at(self, offset: int) -> int:
        """The line that the byte at `offset` is in."""
        return max(0, min(bisect_right(self._starts, offset) - 1, len(self) - 1))

    @property
    def whole(self) -> int:
        """How many lines have their newline: they don't change any more."""
        return len(self._starts) - 1

    def starts(self, first: int, until: int) -> array[int]:
        """Where the lines from `first` to before `until` begin."""
        return self._starts[first:until]

    def slices(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Ranges of line numbers from `first` to before `last`, each of about a slice of bytes."""
        while first < last:
            end = bisect_right(self._starts, self._starts[first] + SLICE) - 1
            until = min(last, max(first + 1, end))
            yield first, until
            first = until


class _Open:
    """A file descriptor that is closed when nobody has it any more."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self.fd)
