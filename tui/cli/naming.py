"""`podium tag`, `note` and `rename`: what the user says of a run."""

from __future__ import annotations

import click

from engine.analysis import format as words
from engine.errors import BadInput
from tui.annotating import plain
from tui.cli.options import job_argument, json_option
from tui.cli.output import emit, line, one_line
from tui.cli.workplace import find_all, up_to_date


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words_given", metavar="JOB… +TAG… -TAG…", nargs=-1, required=True)
@json_option
def tag(words_given: tuple[str, ...], as_json: bool) -> None:
    """Add tags to runs, or take them away: podium tag JOB +final -debug."""
    names = [word for word in words_given if word[0] not in "+-"]
    add = [plain("tag", word[1:].removeprefix("#")) for word in words_given if word[0] == "+"]
    drop = [word[1:].removeprefix("#") for word in words_given if word[0] == "-"]
    if not names or not (add or drop):
        raise BadInput("tag needs runs and tags", "For instance: podium tag JOB +final -debug.")
    with up_to_date() as store:
        jobs = find_all(store, names)
        store.annotate([job.id for job in jobs], add=add, drop=drop)
        changed = [store.job(job.id) for job in jobs]
    if as_json:
        emit("jobs", changed)
    else:
        for job in changed:
            shown = " ".join(f"#{name}" for name in job.tags)
            line(one_line(f"{job.name}: {shown or 'no tags'}"))


@click.command()
@job_argument
@click.argument("text", metavar="TEXT", nargs=-1)
@json_option
def note(job: str, text: tuple[str, ...], as_json: bool) -> None:
    """Write a note on a run; an empty TEXT takes it away, and without TEXT it is shown."""
    with up_to_date() as store:
        found = store.find(job)
        if text:
            store.annotate([found.id], note=" ".join(text).strip())
            found = store.job(found.id)
    held = found.metadata.get("note")
    if as_json:
        emit("note", held, job_id=found.id)
    else:
        line(one_line(f"{found.name}: {held or words.UNKNOWN}"))


@click.command()
@job_argument
@click.argument("name", metavar="NAME")
@json_option
def rename(job: str, name: str, as_json: bool) -> None:
    """Give a run another name."""
    new = plain("name", name.strip())
    with up_to_date() as store:
        found = store.find(job)
        store.annotate([found.id], name=new)
        changed = store.job(found.id)
    if as_json:
        emit("job", changed)
    else:
        line(one_line(f"{found.name} is called {changed.name} now."))
