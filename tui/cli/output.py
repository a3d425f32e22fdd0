"""What a command prints: one JSON object for programs, or lines and columns for people."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click
from rich.cells import cell_len

from engine.job.events import plain
from tui.widgets.clean import clean

SCHEMA: Final = 1
"""Rises when a program that reads our JSON would have to change."""

GAP: Final = "  "


def emit(noun: str, value: Any, **beside: Any) -> None:
    """Print one JSON object: `schema`, and the value under its noun.

    Non-finite numbers are the strings that the wire writes, times are UTC stamps. All of it is ASCII, so
    that neither a terminal nor an encoding can be hurt by what a pod sent.
    """
    record = {"schema": SCHEMA, noun: as_json(value), **as_json(beside)}
    indent = 2 if sys.stdout.isatty() else None
    click.echo(json.dumps(record, allow_nan=False, indent=indent))


def as_json(value: Any) -> Any:
    """Records, times and collections as JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return plain(value)


def one_line(text: str) -> str:
    """The text as one line without anything that a terminal would obey."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    return clean(" ".join(text.split()), len(text))


def line(text: str = "", *, err: bool = False, **style: Any) -> None:
    """Print one line, to stderr if asked; `style` as in click.style, obeyed on a terminal alone."""
    click.echo(click.style(text, **style) if style else text, err=err)


def fields(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    known = [(name, one_line(value)) for name, value in pairs]
    width = max((cell_len(name) for name, _ in known), default=0)
    for name, value in known:
        click.echo(f"{click.style(_pad(name, width), dim=True)}{GAP}{value}")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> None:
    """Print columns under their names; those in `right` are set flush right. Nothing is cut."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(head, *cells, strict=True)]
    flush = {at for at, name in enumerate(head) if name in set(right)}

    def joined(row: Sequence[str]) -> str:
        return GAP.join(_pad(cell, widths[at], at in flush) for at, cell in enumerate(row)).rstrip()

    # In one piece: a thousand rows should not be a thousand writes.
    click.echo("\n".join([click.style(joined(head), dim=True), *map(joined, cells)]))


def _width(text: str) -> int:
    """How many terminal cells a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def _pad(text: str, width: int, right: bool = False) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def colour_wanted() -> bool | None:
    """False where the user or the terminal wants none; None leaves it to whether stdout is a terminal."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def interactive() -> bool:
    """Is there a person at a terminal? The app draws on stderr, so all three count."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
