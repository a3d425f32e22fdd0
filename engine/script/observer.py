"""Watches a log and files that grow, and tells what they say: the script itself is left alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from engine.job.events import Phase
from engine.script.figures import Names, Row
from engine.script.finding import found
from engine.script.grown import Grown
from engine.script.lines import LONGEST, Reader
from engine.script.tables import Table, table
from engine.script.teller import Teller

_SEARCH: Final = 2.0
"""Seconds between two searches for new files."""
_SIGN: Final = 60.0
"""Seconds after which growth that tells nothing is told as a sign of life."""
_LONGEST_TAIL: Final = 1 << 16
"""Bytes of a line that has no end yet; progress bars never end theirs."""


class Log:
    """The lines of a log.

    Args:
        path: The log.
        reader: What reads its lines.
        offset: Where to begin.
    """

    def __init__(self, path: Path, reader: Reader, offset: int = 0) -> None:
        self._grown, self._reader, self._tail = Grown(path, offset), reader, b""

    @property
    def done(self) -> int:
        """How much of it is read, in whole lines."""
        return self._grown.offset - len(self._tail)

    def look(self) -> tuple[list[Row], bool]:
        """What the lines tell that are whole now; and has it grown?"""
        data, restarted = self._grown.read()
        data = data if restarted else self._tail + data
        grown = len(data) > len(self._tail) or restarted
        end = data.rfind(b"\n") + 1
        self._tail = data[end:][-_LONGEST_TAIL:]
        rows = [row for line in data[:end].split(b"\n")[:-1] if (row := self._read(line)) is not None]
        return rows, grown

    def end(self) -> list[Row]:
        """What the last line tells, if it has no newline."""
        row, self._tail = self._read(self._tail), b""
        return [row] if row is not None else []

    def _read(self, line: bytes) -> Row | None:
        # Of progress bars the last state is the one that stays.
        line = line.rstrip(b"\r").rpartition(b"\r")[2]
        return self._reader.read(line[: 4 * LONGEST].decode("utf-8", "replace"))

    @property
    def more(self) -> bool:
        """Is there more to be read at once?"""
        return self._grown.more


class Observer:
    """Follows a script's output.

    Args:
        teller: Who tells.
        script: The spec's section: metrics, patterns, names.
        log: The log.
        root: Where the metrics' patterns start from.
        offset: Where the log begins that is still to be read.
    """

    def __init__(
        self, teller: Teller, script: Mapping[str, Any], log: Path, root: Path, offset: int = 0
    ) -> None:
        self._teller, self._root = teller, root
        self._names = Names(_mapping(script.get("names")))
        reader = Reader(self._names, _strings(script.get("patterns")), self._complain)
        self.log = Log(log, reader, offset)
        self._patterns = _strings(script.get("metrics"))
        self._files: dict[str, tuple[Grown, Table]] = {}
        self._complained: set[str] = set()
        self._searched = float("-inf")
        self._told = self.grown_at = time.monotonic()

    def look(self, *, ended: bool = False) -> bool:
        """Tell what is new; True when there was something.

        Args:
            ended: Nobody writes any more: lines without an end are whole.
        """
        count = self._teller.count
        if ended:
            self._searched = float("-inf")  # for files that came since the last search
        grown = self._once()
        while ended and self._more:
            grown |= self._once()
        if ended:
            self._finish()
        if grown:
            self.grown_at = time.monotonic()
        if self._teller.count > count:
            self._told = self.grown_at
        elif self.grown_at - self._told > _SIGN:
            self._told = self.grown_at
            self._teller.sign_of_life(Phase.TRAIN)
        return grown

    @property
    def _more(self) -> bool:
        """Is there more than was read at once?"""
        return self.log.more or any(file.more for file, _ in self._files.values())

    def _once(self) -> bool:
        """Read some megabytes of each file at most, and tell what they say; has anything grown?"""
        rows, grown = self.log.look()
        self._search()
        for name, (file, reader) in list(self._files.items()):
            data, restarted = file.read()
            if restarted:
                reader = table(name, self._names)
                self._files[name] = file, reader
            grown |= restarted or bool(data)
            rows += reader.feed(data)
            self._mind(name, reader, ended=False)
        self._teller.tell(rows)
        return grown

    def _finish(self) -> None:
        """Nobody writes any more: what has no end yet will get none."""
        rows = self.log.end()
        for name, (_, reader) in self._files.items():
            rows += reader.end()
            self._mind(name, reader, ended=True)
        self._teller.tell(rows)

    def _search(self) -> None:
        """Look for new files, now and then."""
        now = time.monotonic()
        if now - self._searched < _SEARCH:
            return
        self._searched = now
        for name in found(self._root, self._patterns):
            if name not in self._files and (self._root / name).is_file():
                self._files[name] = Grown(self._root / name), table(name, self._names)

    def _mind(self, name: str, reader: Table, *, ended: bool) -> None:
        """Say of a file, once, that it can't be charted, or not wholly."""
        if reader.placed is False:
            self._complain(f"{name}: has no step or epoch column, so it is not charted", name)
        elif ended and reader.bad:
            self._complain(f"{name}: {reader.bad} lines made no sense and were skipped", name)

    def _complain(self, text: str, about: str = "") -> None:
        if (about or text) not in self._complained:
            self._complained.add(about or text)
            self._teller.alert("not_read", "".join(c if c.isprintable() else "?" for c in text), "warning")


def _strings(value: Any) -> Sequence[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, (list, tuple)) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
