"""`podium spend`: where the money went, and how much of it for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import click

from engine.analysis import format as words
from engine.analysis.waste import WASTE, Group, Line, Paid, waste_ledger
from tui.cli.options import json_option
from tui.cli.output import emit, line, table
from tui.cli.workplace import up_to_date

if TYPE_CHECKING:
    from engine.records import Job


@click.command()
@click.option("--by", type=click.Choice(get_args(Group)), default="model", show_default=True, help="Lines.")
@click.option("--filter", "wanted", metavar="F", default="", help="Count those runs alone that answer to F.")
@json_option
def spend(by: Group, wanted: str, as_json: bool) -> None:
    """Say where time and money went, and what of it left nothing: the waste ledger.

    Archived and deleted runs count too: their money is gone all the same.
    """
    from engine.analysis.filters import Filter

    chosen = Filter.parse(wanted)
    with up_to_date() as store:
        jobs: list[Job] = [job for job in store.jobs(archived=True, deleted=True) if chosen.matches(job)]
    lines = waste_ledger(jobs, by)
    if as_json:
        emit("spend", [_facts(item) for item in lines], by=by)
    elif lines:
        _show(lines, by)
    else:
        line("Nothing was spent yet.")


def _show(lines: Sequence[Line], by: Group) -> None:
    if by == "phase":
        head: tuple[str, ...] = ("PHASE", "RUNS", "TIME", "COST")
        rows: list[tuple[str, ...]] = [(item.name, str(item.runs), *_both(item.paid)) for item in lines]
    else:
        head = (by.upper(), "RUNS", "TIME", "COST", *(name.upper() for name in WASTE), "WASTED")
        rows = [
            (
                item.name,
                str(item.runs),
                *_both(item.paid),
                *(_short(item, name) for name in WASTE),
                _share(item),
            )
            for item in lines
        ]
    table(head, rows, right=head[1:])
    if any(item.paid.unpriced for item in lines):
        line("Time on machines without a price counts as time alone.")


def _both(paid: Paid) -> tuple[str, str]:
    return words.duration(paid.seconds), words.dollars(paid.known)


def _short(item: Line, name: str) -> str:
    """What one kind of waste took: dollars where they are known, else time."""
    paid = item.parts.get(name)
    if paid is None:
        return words.UNKNOWN
    return words.duration(paid.seconds) if paid.known is None else words.dollars(paid.known)


def _share(item: Line) -> str:
    """How much of the line was wasted, of the dollars where they are known, else of the time."""
    whole, part = item.paid, item.wasted
    if whole.dollars:
        return words.percent(100 * part.dollars / whole.dollars)
    return words.percent(100 * part.seconds / whole.seconds if whole.seconds else None)


def _facts(item: Line) -> dict[str, Any]:
    def told(paid: Paid) -> dict[str, Any]:
        return {"seconds": paid.seconds, "dollars": paid.known}

    return {
        "name": item.name,
        "runs": item.runs,
        **told(item.paid),
        "parts": {name: told(paid) for name, paid in item.parts.items()},
        "wasted": told(item.wasted),
    }
