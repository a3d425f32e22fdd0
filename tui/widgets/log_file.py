"""An index of a growing log file: where its lines start, and which of them a filter lets through.

The text stays in the file. A million lines cost 8 MB of offsets; a line is read when it is shown.
Nothing here knows the screen. `grow` and `Filter.extend` belong to one thread at a time; reading may
go on beside them, for they only append.
"""

from __future__ import annotations

import contextlib
import os
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Final

from tui.widgets.clean import CAP, shown_part

SLICE: Final = 1 << 20
"""How much is read at a time, bytes; between slices other threads get their turn."""


class LogFile:
    """The lines of a file that grows, and that may be cut or replaced.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.generation = 0
        """Rises when the file was cut or replaced: all line numbers are void then."""
        self._open: _Open | None = None
        self._inode = 0
        self._starts = array("Q", [0])
        self._size = 0

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
            parts = chunk.split(b"\n")
            base = self._size + 1
            self._starts.extend(
                [base + index + end for index, end in enumerate(accumulate(map(len, parts[:-1])))]
            )
            self._size += len(chunk)
            yield len(self)

    def _reopen(self) -> bool:
        """Open the file, anew when it was replaced or cut; False while there is none."""
        try:
            status = self.path.stat()
            if self._open is None or status.st_ino != self._inode or status.st_size < self._size:
                self._open = _Open(self.path)
                self._inode = os.fstat(self._open.fd).st_ino
                if self._size:
                    self.generation += 1
                self._starts, self._size = array("Q", [0]), 0
        except OSError:
            return False
        return True

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


class Filter:
    """The numbers of the lines that a pattern is found in, or is not.

    Args:
        log: The lines.
        pattern: A regular expression; case counts when it has a capital letter.
        inverted: Keep the lines without it?

    Raises:
        re.error: It is no regular expression.
    """

    def __init__(self, log: LogFile, pattern: str, *, inverted: bool = False) -> None:
        self.pattern = pattern
        self.inverted = inverted
        self.regex = compiled(pattern)
        self.lines = array("Q")
        self._log = log
        self._next = 0

    @property
    def behind(self) -> bool:
        """Are there whole lines that it has not looked at yet?"""
        return self._next < len(self._log._starts) - 1

    def extend(self) -> Iterator[int]:
        """Look at the lines that came since the last call; yields the number of matches after each slice.

        The last line is looked at only when it has its newline: it may still change.
        """
        whole = len(self._log._starts) - 1
        for first, until in self._log.slices(self._next, whole):
            hits = _matching(self.regex, self._log, first, until)
            if self.inverted:
                found = set(hits)
                hits = [number for number in range(first, until) if number not in found]
            self.lines.extend(hits)
            self._next = until
            yield len(self.lines)


def compiled(pattern: str) -> re.Pattern[bytes]:
    """A pattern as it is searched with: case counts when it has a capital letter.

    Raises:
        re.error: It is no regular expression.
    """
    flags = re.MULTILINE | (0 if any(letter.isupper() for letter in pattern) else re.IGNORECASE)
    return re.compile(pattern.encode(), flags)


def _matching(regex: re.Pattern[bytes], log: LogFile, first: int, until: int) -> list[int]:
    """The lines from `first` to before `until` that the pattern is found in.

    The whole slice is searched at once, so that lines without a match cost nothing; a match that
    runs over the line's end is looked for again within its line.
    """
    base, end = log.span(first)[0], log.span(until - 1)[1]
    text = log.read(base, end)
    starts = [start - base for start in log._starts[first:until]] + [len(text)]
    found: list[int] = []
    at = 0
    while at < len(text) and (match := regex.search(text, at)):
        index = bisect_right(starts, match.start()) - 1
        if index >= until - first:
            break
        line_end = starts[index + 1]
        if match.end() < line_end or regex.search(text[starts[index] : line_end].rstrip(b"\n")):
            found.append(first + index)
        at = line_end
    return found


def matches(log: LogFile, regex: re.Pattern[bytes], first: int, last: int) -> Iterator[int]:
    """The lines from `first` to before `last` that a pattern is found in, a slice at a time."""
    for begin, until in log.slices(first, last):
        yield from _matching(regex, log, begin, until)
