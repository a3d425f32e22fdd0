"""`podium archive`, `restore`, `delete` and `undo`: which runs are kept in view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from engine.analysis import format as words
from engine.errors import BadInput
from engine.home import Home
from engine.records import Job
from engine.store.base import Action, Change, Done, Store
from tui.cli.options import jobs_argument, json_option
from tui.cli.output import emit, interactive, line, one_line
from tui.cli.workplace import carry_out, find_all, up_to_date
from tui.what_goes import what_goes

PAST: Final[dict[Change, str]] = {
    "archive": "archived",
    "restore": "restored",
    "delete": "deleted",
    "rename": "renamed",
    "note": "noted",
    "tag": "tagged",
}


@click.command()
@jobs_argument
@json_option
def archive(jobs: tuple[str, ...], as_json: bool) -> None:
    """Hide runs; everything is kept and can be restored."""
    _act("archive", jobs, as_json)


@click.command()
@jobs_argument
@json_option
def restore(jobs: tuple[str, ...], as_json: bool) -> None:
    """Bring archived or deleted runs back."""
    _act("restore", jobs, as_json)


@click.command()
@jobs_argument
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody could answer.")
@json_option
def delete(jobs: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Move runs to the trash, after asking; undo brings them back."""
    if not yes and not interactive():
        raise BadInput("delete asks first, and there is no terminal to ask on", "Give --yes.")
    _act("delete", jobs, as_json, ask=not yes)


@click.command()
@json_option
def undo(as_json: bool) -> None:
    """Take back the last archive, restore, delete, rename, tag or note."""
    with up_to_date() as store:
        done = carry_out(store, lambda controller: controller.undo())
        names = [store.job(job_id).name for job_id in done.job_ids] if done else []
    if as_json:
        emit("undone", done)
    elif done is None:
        line("There is nothing to undo.")
    else:
        line(one_line(f"Took back: {words.listed(names) or 'nothing that still stood'} {PAST[done.action]}."))


def _act(action: Action, names: tuple[str, ...], as_json: bool, *, ask: bool = False) -> None:
    with up_to_date() as store:
        jobs = find_all(store, names)
        if ask:
            _ask(store, jobs)
        ids = [job.id for job in jobs]
        done = carry_out(store, lambda controller: getattr(controller, action)(ids))
    if as_json:
        emit("done", done)
    else:
        _say(done, [job.name for job in jobs if job.id in done.job_ids], len(jobs))


def _ask(store: Store, jobs: Sequence[Job]) -> None:
    """Show what goes, and ask."""
    from engine.controller.holdings import holdings

    held = holdings(store, Home.default(), jobs)
    for text in what_goes(jobs, store.jobs(), "podium undo", held).splitlines():
        line(text, err=True)
    click.confirm("Delete?", abort=True, err=True)


def _say(done: Done, names: list[str], asked: int) -> None:
    if names:
        line(one_line(f"{PAST[done.action].capitalize()} {words.listed(names)}. podium undo takes it back."))
    if asked > len(names):
        line(f"{asked - len(names)} of {asked} needed nothing.")
