"""`podium spend`: where the money went, and how much of it for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import click

from engine.analysis.waste import Group, Line, Paid, waste_ledger
from tui import ledger_table
from tui.cli.filtering import filter_of
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
    chosen = filter_of(wanted)
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
    head, rows = ledger_table.table(lines, by)
    table(head, rows, right=head[1:])
    if ledger_table.unpriced(lines):
        line(ledger_table.UNPRICED)


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
