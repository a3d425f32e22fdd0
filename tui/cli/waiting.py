"""`podium wait`: runs are attended to until they end, and their rented machines until they are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from engine.job.events import Status
from engine.records import Job
from tui.cli.errors import FAILED
from tui.cli.options import json_option
from tui.cli.output import emit, line, one_line
from tui.cli.watching import watch
from tui.cli.workplace import carry_out, find_all, opened

if TYPE_CHECKING:
    from engine.controller import Controller


@click.command()
@click.argument("jobs", metavar="[JOB]…", nargs=-1)
@json_option
def wait(jobs: tuple[str, ...], as_json: bool) -> int:
    """Attend to runs until they end: all that are under way, or those that are named.

    A launch that was cut off goes on; what has ended is fetched, and its rented machine is terminated.
    """
    with opened() as store:
        wanted = find_all(store, jobs)

        async def attend(controller: Controller) -> list[Job]:
            await controller.start()
            found = wanted or [store.job(job_id) for job_id in controller.attended]
            return await watch(controller, store, found, lambda text: line(one_line(text), err=as_json))

        ended = carry_out(store, attend)
    if as_json:
        emit("jobs", ended)
    elif not ended:
        line("No run is under way.")
    return FAILED if any(job.status == Status.FAILED for job in ended) else 0
