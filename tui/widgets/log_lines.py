"""A log's rows as a pane shows them: the lines of a growing file, or those that a filter lets through.

Threads do the reading; whoever shows the rows is told when there are more.
"""

from __future__ import annotations

import asyncio
import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final

from tui.widgets.log_file import LogFile
from tui.widgets.log_filter import Filter, matches
from tui.widgets.log_places import CLOCK, TOLD, Wanted, second_of_day

PERIOD: Final = 0.08
"""Between two looks at the file, seconds."""

TURN: Final = 0.05
"""How long a thread works on before what it found is shown, seconds."""

NEAR: Final = 200
"""How many lines are looked at for one that tells its step."""


class LogLines:
    """The rows of one log. A row number counts what the filter lets through, a line number the file's lines.

    Args:
        path: The file; it need not exist yet.
        told: Called on the event loop when there are more rows or others.
        moved: Called when every row has another number, with how many more come before it.
    """

    def __init__(
        self, path: str, told: Callable[[], None], moved: Callable[[int], None] = lambda by: None
    ) -> None:
        self.log = LogFile(path)
        self.filter: Filter | None = None
        self.counting = False
        """Is only the end there, because the lines before it are still being counted?"""
        self._told = told
        self._moved = moved

    @property
    def lines(self) -> int:
        """How many lines the file has."""
        return len(self.log)

    @property
    def rows(self) -> int:
        """How many of them are shown."""
        return len(self.filter.lines) if self.filter else len(self.log)

    @property
    def stale(self) -> bool:
        """Is there something in the file that is not among the lines yet?"""
        return self.counting or self.log.stale() or self.searching

    @property
    def searching(self) -> bool:
        """Are there whole lines that the filter has not looked at yet?"""
        return self.filter is not None and self.filter.behind

    @property
    def too_slow(self) -> bool:
        """Was the filter's search given up?"""
        return self.filter is not None and self.filter.too_slow

    def number(self, row: int) -> int:
        """The line number of a row; of none, 0."""
        if self.filter is None:
            return row
        return int(self.filter.lines[row]) if 0 <= row < len(self.filter.lines) else 0

    def row(self, number: int) -> int:
        """The row of a line, or of the next that is shown."""
        return bisect_left(self.filter.lines, number) if self.filter else number

    def line(self, row: int) -> bytes:
        """What is to be shown of a row."""
        return self.log.line(self.number(row)) if 0 <= row < self.rows else b""

    def let_through(self, pattern: str, *, inverted: bool = False) -> None:
        """Show only the lines that match, or only those that do not; an empty pattern shows all.

        Raises:
            BadPattern: It is no regular expression.
        """
        self.filter = Filter(self.log, pattern, inverted=inverted) if pattern else None
        self._told()

    async def keep_up(self) -> None:
        """Follow the file and the filter until cancelled."""
        await self._begin()
        generation = self.log.generation
        while True:
            if self.log.stale():
                await self._work(self.log.grow())
            if self.log.generation != generation:
                generation = self.log.generation
                if self.filter:
                    self.let_through(self.filter.pattern, inverted=self.filter.inverted)
            if self.filter is not None and self.filter.behind:
                await self._work(self.filter.extend())
            await asyncio.sleep(PERIOD)

    async def _begin(self) -> None:
        """Of a long file, show the end before the whole of it is indexed."""
        whole = self.log
        near = await asyncio.to_thread(LogFile.end_of, str(whole.path))
        if near is None:
            return
        self.log, self.counting = near, True
        self._again()
        slices = whole.grow()
        while await asyncio.to_thread(_a_turn, slices):
            pass
        before = whole.number_at(near.span(0)[0])
        self.log, self.counting = whole, False
        self._moved(before)
        self._again()

    def _again(self) -> None:
        """The same filter on another index."""
        if self.filter:
            self.let_through(self.filter.pattern, inverted=self.filter.inverted)
        self._told()

    async def _work(self, slices: Iterator[int]) -> None:
        while await asyncio.to_thread(_a_turn, slices):
            self._told()
        self._told()

    async def find(self, pattern: re.Pattern[bytes], first: int) -> int | None:
        """The first row from `first` on that the pattern is found in; None when there is none."""
        return await asyncio.to_thread(self._find, pattern, first)

    def _find(self, pattern: re.Pattern[bytes], first: int) -> int | None:
        if self.filter is None:
            return next(matches(self.log, pattern, first, self.lines), None)
        return next((row for row in range(first, self.rows) if pattern.search(self.line(row))), None)

    async def find_place(self, wanted: Wanted, first: int = 0) -> int | None:
        """The first line that is there or beyond; None when there is none, or no line tells it.

        Args:
            wanted: Where.
            first: The line from which on a time of day is looked for, around the end.
        """
        return await asyncio.to_thread(self._find_place, wanted, first)

    def _find_place(self, wanted: Wanted, first: int) -> int | None:
        match wanted.kind:
            case "line":
                return min(max(0, int(wanted.value) - 1), self.lines - 1) if self.lines else None
            case "share":
                return int(min(wanted.value, 100) / 100 * (self.lines - 1)) if self.lines else None
            case "time":
                return self._at_time(wanted.value, first)
        return self._told_at(wanted)

    def _told_at(self, wanted: Wanted) -> int | None:
        """Steps and epochs rise with the lines, but for a resumed run's, so halving finds the place."""
        low, high, found = 0, self.lines, None
        while low < high:
            middle = (low + high) // 2
            number, there = self._next_told(wanted.kind, middle, high)
            if there is None:
                high = middle
            elif there >= wanted.value:
                high, found = middle, number
            else:
                low = number + 1
        return found

    def _next_told(self, kind: str, first: int, last: int) -> tuple[int, float | None]:
        """The next line that tells it, and what; at most `NEAR` lines are looked at."""
        for number in range(first, min(last, first + NEAR)):
            if (told := self.told(kind, number)) is not None:
                return number, told
        return first, None

    def _at_time(self, second: float, first: int) -> int | None:
        """The next line, around the end, at which the time of day goes past a second of it.

        Where it never does, the log may have begun after it: then the first line that is later.
        """
        for begin, end in ((first, self.lines), (0, first)):
            before: int | None = None
            for number, here in self._clock(begin, end):
                if before is not None and here >= second and (before < second or before > here):
                    return number
                before = here
        return next((number for number, here in self._clock(0, self.lines) if here >= second), None)

    def _clock(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Of some lines those that begin with a time, each with its second of the day."""
        for begin, until in self.log.slices(first, last):
            base = self.log.span(begin)[0]
            for found in CLOCK.finditer(self.log.read(base, self.log.span(until - 1)[1])):
                yield self.log.number_at(base + found.start()), second_of_day(found.groups())

    def told(self, kind: str, number: int) -> float | None:
        """The step or the epoch that a line tells; None when it tells none."""
        match = TOLD[kind].search(self.log.line(number))
        return float(match[1]) if match else None


def _a_turn(slices: Iterator[int]) -> bool:
    """Take slices for a while; False when there are no more."""
    until = time.monotonic() + TURN
    return any(time.monotonic() > until for _ in slices)
