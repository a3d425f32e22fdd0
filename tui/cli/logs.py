"""`podium logs`: what the trainer printed."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import click

from engine.errors import BadInput
from engine.home import Home
from engine.store.base import Store
from tui.cli.options import job_argument, json_option
from tui.cli.output import emit
from tui.cli.workplace import up_to_date
from tui.widgets.clean import clean, shown_part

PERIOD: Final = 0.5
"""Seconds between two looks at a log that is followed."""


@click.command()
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, until the run ends or pauses.")
@click.option("-n", "--last", type=click.IntRange(min=0), metavar="N", help="Begin with the last N lines.")
@click.option(
    "--node", type=click.IntRange(min=0), default=0, metavar="N", help="Of several machines that one, from 0."
)
@json_option
def logs(job: str, follow: bool, last: int | None, node: int, as_json: bool) -> None:
    """Print a run's log.

    Into a pipe it goes byte by byte; on a terminal it is cleaned of what a terminal would obey.
    """
    if follow and as_json:
        raise click.UsageError("--json prints one object and --follow never ends: choose one")
    with up_to_date() as store:
        found = store.find(job)
        folder = Home.default().job(found.id)
        if node and node not in folder.other_nodes:
            raise BadInput(f"{found.name}: no log of a machine {node} is here", "Machines count from 0.")
        log = (folder.of_node(node) if node else folder).log
        if as_json:
            emit("logs", {"job_id": found.id, "path": str(log), "lines": _texts(log, last)})
            return
        chunks = _followed(store, found.id, log, last) if follow else _lines(log, last)
        _write(chunks)


def _lines(log: Path, last: int | None) -> Iterable[bytes]:
    """The lines of a log with their ends; none where there is no log yet."""
    try:
        with log.open("rb") as file:
            yield from _tail(file, last)
    except FileNotFoundError:
        return


def _tail(file: BinaryIO, last: int | None) -> Iterable[bytes]:
    return file if last is None else deque(file, last)


def _texts(log: Path, last: int | None) -> list[str]:
    return [line.rstrip(b"\r\n").decode("utf-8", "replace") for line in _lines(log, last)]


def _followed(store: Store, job_id: str, log: Path, last: int | None) -> Iterator[bytes]:
    """The lines of a log as it grows, until its run neither runs nor waits any more."""
    from engine.stream import catch_up

    while not log.exists():
        if not store.job(job_id).status.live:
            return
        time.sleep(PERIOD)
        catch_up(store, Home.default())
    with log.open("rb") as file:
        yield from _tail(file, last)
        while True:
            # Asked before reading: what it wrote before its end is then in the file.
            catch_up(store, Home.default())
            over = not store.job(job_id).status.live
            yield from file
            if over:
                return
            time.sleep(PERIOD)


def _write(lines: Iterable[bytes]) -> None:
    out = sys.stdout.buffer
    on_terminal = sys.stdout.isatty()
    for line in lines:
        out.write(_cleaned(line) if on_terminal else line)
        if on_terminal or line.endswith(b"\n"):
            out.flush()


def _cleaned(line: bytes) -> bytes:
    end = b"\n" if line.endswith(b"\n") else b""
    return clean(shown_part(line).decode("utf-8", "replace")).encode() + end
