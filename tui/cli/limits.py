"""`podium limits`: more hours or dollars for a run that is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from engine.errors import BadInput
from engine.records import Job
from tui.cli.errors import FAILED
from tui.cli.options import job_argument, json_option
from tui.cli.output import emit, interactive, line, one_line
from tui.cli.workplace import carry_out, up_to_date

if TYPE_CHECKING:
    from engine.controller import Controller


@click.command()
@job_argument
@click.option("--max-hours", type=float, metavar="N", help="Hours that it may run at most.")
@click.option("--max-cost", type=float, metavar="N", help="Dollars that it may cost at most.")
@click.option("--yes", "-y", is_flag=True, help="Change them without asking; for scripts.")
@json_option
def limits(job: str, max_hours: float | None, max_cost: float | None, yes: bool, as_json: bool) -> int:
    """Change the limits of a run that is under way.

    Its supervisor, and the guard of a rented machine, hold them; never below what is used already.
    """
    from tui.caps import question

    given = {"max_hours": max_hours, "max_cost_usd": max_cost}
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise BadInput("no limit is given", "Give --max-hours, --max-cost, or both.")
    with up_to_date() as store:
        found = store.find(job)
        if not yes:
            if not interactive():
                raise BadInput("other limits have to be confirmed, and this is no terminal", "Give --yes.")
            asked, _, told = question(found, changes).partition("\n")
            for detail in told.splitlines():
                line(one_line(detail), err=True)
            if not click.confirm(one_line(asked).removesuffix("?"), default=False, err=True):
                line("The limits stay as they are.", err=as_json)
                return FAILED

        async def ask(controller: Controller) -> Job:
            await controller.limits(found.id, hours=max_hours, dollars=max_cost)
            return store.job(found.id)

        found = carry_out(store, ask)
    if as_json:
        emit("job", found)
    else:
        line(one_line(f"Asked {found.name} for other limits. podium show tells whether they were granted."))
    return 0
