"""`podium stop`, `pause` and `resume`: what a run that is under way is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click

from engine.analysis import format as words
from engine.records import Job
from tui.cli.options import jobs_argument, json_option
from tui.cli.output import emit, line, one_line
from tui.cli.workplace import carry_out, find_all, up_to_date

if TYPE_CHECKING:
    from engine.controller import Controller

PATIENCE: Final = 90.0
"""Seconds in which a run that was asked to leave has usually saved a checkpoint and left."""

_BILLS_ON: Final = {
    "pause": "podium pods stop {pod} lets go of its GPUs and keeps its disk",
    "stop": "podium wait fetches what is to be kept and ends it",
}
"""What to do about a rented machine after a wish."""

_CLUSTER: Final = "podium pods terminate {pod} ends all of them with what is on them, and nobody else does"
"""What to do about machines that can't be stopped."""

no_wait_option = click.option("--no-wait", is_flag=True, help="Ask, and do not wait until it has happened.")


@click.command()
@jobs_argument
@no_wait_option
@json_option
def stop(jobs: tuple[str, ...], no_wait: bool, as_json: bool) -> None:
    """Stop runs for good: each saves a checkpoint first."""
    _ask("stop", jobs, not no_wait, as_json)


@click.command()
@jobs_argument
@no_wait_option
@json_option
def pause(jobs: tuple[str, ...], no_wait: bool, as_json: bool) -> None:
    """Pause runs: each saves a checkpoint and waits."""
    _ask("pause", jobs, not no_wait, as_json)


@click.command()
@jobs_argument
@json_option
def resume(jobs: tuple[str, ...], as_json: bool) -> None:
    """Let paused runs go on from their last checkpoints."""
    _ask("resume", jobs, False, as_json)


def _bills_on(job: Job, wish: str) -> str:
    """What to do about the machine of a run, and who else does it."""
    ranks = job.config.get("distributed")
    several = isinstance(ranks, Mapping) and ranks.get("nodes", 1) != 1
    if several and wish == "pause":
        return _CLUSTER.format(pod=job.pod_id)
    hint = _BILLS_ON[wish].format(pod=job.pod_id)
    return hint if several else f"{hint}, as its guard does soon"


def _ask(wish: str, names: tuple[str, ...], wait: bool, as_json: bool) -> None:
    with up_to_date() as store:
        jobs = find_all(store, names)

        async def ask(controller: Controller) -> list[Job]:
            for job in jobs:
                await getattr(controller, wish)(job.id)
            if wait:
                await _settled(controller, jobs)
            return [store.job(job.id) for job in jobs]

        found = carry_out(store, ask)
    for job in found:
        if job.provider == "runpod" and job.pod_status != "terminated" and wish in _BILLS_ON:
            line(one_line(f"The pod of {job.name} bills on: {_bills_on(job, wish)}."), err=True)
    if as_json:
        emit("jobs", found)
    elif not wait or any(job.status.live for job in found):
        line(
            one_line(
                f"Asked {words.listed(job.name for job in found)} to {wish}. podium jobs shows how it goes."
            )
        )
    else:
        for job in found:
            line(one_line(f"{job.name} is {job.status} at step {words.count(job.current_step)}."))


async def _settled(controller: Controller, jobs: Sequence[Job]) -> None:
    """Wait until they have left, within reason."""
    try:
        await asyncio.wait_for(controller.settle([job.id for job in jobs]), PATIENCE)
    except TimeoutError:
        pass
