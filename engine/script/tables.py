"""CSV and JSON Lines files with a step or epoch column, read as they grow.

Bytes come in as they were written, cut anywhere. A torn last line waits for its rest; a header may come
again, or another one; a line that makes no sense is skipped and counted.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from engine.script.figures import Figure, Names, Row, figure, known, place_of, plain_name, put_place

LONGEST_LINE: Final = 1 << 20
"""A longer line is none (bytes)."""
MOST_LABELS: Final = 64
"""Different labels of one file that get curves of their own."""
MOST_COLUMNS: Final = 2000

_LABEL: Final = re.compile(
    r"(?:.*_)?(?:phase|split|mode|set|stage|subset|partition|name|layer|param|parameter|feature|group|type|kind|"
    r"metric|tag|task|head|class|fold)"
)
_PHASE: Final = ("phase", "split", "mode", "stage", "subset", "set", "partition")
_EVALS: Final = ("val", "valid", "validation", "eval", "dev", "test")


class Table:
    """Reads one file.

    Args:
        stem: Its name without folder and suffix: it goes before the names of its columns, unless it
            has the run's own loss.
        names: What the script's names mean.
    """

    def __init__(self, stem: str, names: Names) -> None:
        self._stem, self._names = plain_name(stem) or "file", names
        self._rest = b""
        self._labels: set[str] = set()
        self._own = False
        self.bad = 0
        """Lines that made no sense."""
        self.placed: bool | None = None
        """Is there a step or epoch? None while nobody knows."""

    def feed(self, data: bytes) -> Iterator[Row]:
        """The rows that are whole now."""
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if len(self._rest) > LONGEST_LINE:
            self._rest, self.bad = b"", self.bad + 1
        for line in data[:end].split(b"\n")[:-1]:
            yield from self._whole(line)

    def end(self) -> Iterator[Row]:
        """What the last line tells, which has no newline and will get none."""
        line, self._rest = self._rest, b""
        if line.strip():
            yield from self._whole(line)

    def _whole(self, line: bytes) -> Iterator[Row]:
        if len(line) > LONGEST_LINE or b"\0" in line:
            self.bad += 1
            return
        text = line.decode("utf-8", "replace").removeprefix("\ufeff").rstrip("\r")
        if text.strip():
            row = self._line(text)
            if row is not None and row.tells:
                yield row

    def _line(self, text: str) -> Row | None:
        raise NotImplementedError

    def _told(self, values: Mapping[str, Any]) -> Row:
        """A row from its values by plain name: places, labels and figures are told apart."""
        row, labels, figures = Row(), [], []
        phase = None
        for name, value in values.items():
            number = figure(value)
            place = None if self._names.given(name) else place_of(name)
            if place is not None and number is not None:
                put_place(row, place, number)
            elif number is not None:
                figures.append((name, number))
            elif isinstance(value, str) and _LABEL.fullmatch(name) and (label := plain_name(value)):
                if name in _PHASE and phase is None:
                    phase = label
                labels.append(label)
        self._name(row, figures, labels, phase)
        return row

    def _name(
        self, row: Row, figures: list[tuple[str, Figure]], labels: list[str], phase: str | None
    ) -> None:
        self._own = self._own or any(self._names.is_loss(name) for name, _ in figures)
        if self._own and not labels:
            self._names.sort(row, figures)
            return
        if phase is not None and labels == [phase] and any(name == "loss" for name, _ in figures):
            self._names.sort(row, figures, "eval" if phase in _EVALS else "train")
            return
        label = "/".join(labels)
        if label not in self._labels and len(self._labels) >= MOST_LABELS:
            return
        self._labels.add(label)
        before = "/".join((self._stem, *labels))
        for name, value in figures:
            if ours := self._names.given(name):
                row.more[ours] = value
            elif known(name) == "grad_norm" and not labels:
                row.train["grad_norm"] = value
            else:
                row.more[f"{before}/{name}"] = value


class Csv(Table):
    """A CSV file: commas, semicolons or tabs; a header first."""

    def __init__(self, stem: str, names: Names) -> None:
        super().__init__(stem, names)
        self._header: list[str] = []
        self._sign = ","
        self._open = ""

    def _line(self, text: str) -> Row | None:
        text = self._open + text
        if text.count('"') % 2 and len(text) < 1 << 16:
            self._open = text + "\n"  # a quoted field goes on in the next line
            return None
        self._open = ""
        fields = self._fields(text)
        if self._is_header(fields):
            return None
        if not self._header:
            self.bad += 1
            return None
        if len(fields) != len(self._header):
            self.bad += 1
            return None
        return self._told({name: value for name, value in zip(self._header, fields, strict=True) if name})

    def _fields(self, text: str) -> list[str]:
        if not self._header:
            self._sign = max(",;\t", key=text.count)
        try:
            return next(csv.reader([text], delimiter=self._sign), [])[:MOST_COLUMNS]
        except csv.Error:
            return []

    def _is_header(self, fields: list[str]) -> bool:
        """Take a header: names, none of them a number, of which one says where a row stands."""
        if any(figure(field) is not None for field in fields):
            return False
        names = [plain_name(field) for field in fields]
        placed = any(self._place(name) for name in names)
        if placed or not self._header:
            self.placed = placed
            self._header = names if placed else []
            return True
        return False

    def _place(self, name: str) -> str | None:
        return None if self._names.given(name) else place_of(name)


class JsonLines(Table):
    """A JSON Lines file: an object a line, one level of objects within it."""

    def _line(self, text: str) -> Row | None:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            self.bad += 1
            return None
        if not isinstance(value, dict):
            self.bad += 1
            return None
        flat: dict[str, Any] = {}
        for name, inner in list(value.items())[:MOST_COLUMNS]:
            below = inner.items() if isinstance(inner, dict) else ((None, inner),)
            for part, item in list(below)[:MOST_COLUMNS]:
                if plain := plain_name(name if part is None else f"{name}/{part}"):
                    flat[plain] = item
        row = self._told(flat)
        placed = row.step is not None or row.epoch is not None
        self.placed = bool(self.placed) or placed
        return row if placed else None


def table(name: str, names: Names) -> Table:
    """What reads a file of that name."""
    stem, _, kind = name.rpartition("/")[2].rpartition(".")
    return (Csv if kind.lower() in ("csv", "tsv") else JsonLines)(stem, names)
