"""Which lines of a log a pattern is found in. A pattern that takes for ever is given up, not waited for.

`Filter.extend` belongs to one thread at a time; reading may go on beside it, for it only appends.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from tui.widgets.log_file import LogFile

if TYPE_CHECKING:
    import regex

PATIENCE: Final = 1.0
"""How long a pattern may search one slice of a log, seconds; a good one takes a hundredth of it."""


class BadPattern(ValueError):
    """It is no regular expression; its text says where."""


class Filter:
    """The numbers of the lines that a pattern is found in, or is not.

    Args:
        log: The lines.
        pattern: A regular expression; case counts when it has a capital letter.
        inverted: Keep the lines without it?

    Raises:
        BadPattern: It is no regular expression.
    """

    def __init__(self, log: LogFile, pattern: str, *, inverted: bool = False) -> None:
        self.pattern = pattern
        self.inverted = inverted
        self.regex = compiled(pattern)
        self.lines = array("Q")
        self.too_slow = False
        """Was the search given up?"""
        self._log = log
        self._next = 0

    @property
    def behind(self) -> bool:
        """Are there whole lines that it will still look at?"""
        return not self.too_slow and self._next < self._log.whole

    def extend(self) -> Iterator[int]:
        """Look at the lines that came since the last call; yields the number of matches after each slice.

        The last line is looked at only when it has its newline: it may still change.
        """
        for first, until in self._log.slices(self._next, self._log.whole):
            try:
                hits = _matching(self.regex, self._log, first, until)
            except TimeoutError:
                self.too_slow = True
                return
            if self.inverted:
                found = set(hits)
                hits = [number for number in range(first, until) if number not in found]
            self.lines.extend(hits)
            self._next = until
            yield len(self.lines)


def compiled(pattern: str) -> regex.Pattern[bytes]:
    """A pattern as it is searched with: case counts when it has a capital letter.

    Raises:
        BadPattern: It is no regular expression.
    """
    import regex

    flags = regex.MULTILINE | (0 if any(letter.isupper() for letter in pattern) else regex.IGNORECASE)
    try:
        return regex.compile(pattern.encode(), flags)
    except (regex.error, OverflowError, RecursionError) as error:
        raise BadPattern(str(error)) from None


def marked(pattern: str) -> regex.Pattern[str]:
    """The same pattern for text that is shown.

    Raises:
        BadPattern: It is no regular expression.
    """
    import regex

    try:
        return regex.compile(pattern, compiled(pattern).flags & regex.IGNORECASE)
    except (regex.error, OverflowError, RecursionError) as error:
        raise BadPattern(str(error)) from None


def _matching(pattern: Any, log: LogFile, first: int, until: int) -> list[int]:
    """The lines from `first` to before `until` that the pattern is found in.

    The whole slice is searched at once, so that lines without a match cost nothing; a match that
    runs over the line's end is looked for again within its line.

    Raises:
        TimeoutError: The pattern takes too long.
    """
    base, end = log.span(first)[0], log.span(until - 1)[1]
    text = log.read(base, end)
    starts = [start - base for start in log.starts(first, until)] + [len(text)]
    # Python's own patterns can't be given a time; those that we search with need none.
    bounds: dict[str, Any] = {} if isinstance(pattern, re.Pattern) else {"timeout": PATIENCE}
    found: list[int] = []
    at = 0
    while at < len(text) and (match := pattern.search(text, at, **bounds)):
        index = bisect_right(starts, match.start()) - 1
        if index >= until - first:
            break
        line_end = starts[index + 1]
        line = text[starts[index] : line_end].rstrip(b"\n")
        if match.end() < line_end or pattern.search(line, **bounds):
            found.append(first + index)
        at = line_end
    return found


def matches(log: LogFile, pattern: re.Pattern[bytes], first: int, last: int) -> Iterator[int]:
    """The lines from `first` to before `last` that a pattern of ours is found in, a slice at a time."""
    for begin, until in log.slices(first, last):
        yield from _matching(pattern, log, begin, until)
