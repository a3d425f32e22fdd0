"""`podium purge` and `podium prune`: the disk's bytes back, and the list short again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from engine.analysis import format as words
from engine.errors import BadInput
from engine.home import Home
from engine.records import Job
from engine.store.base import Store
from tui.cli.filtering import filter_of
from tui.cli.options import json_option
from tui.cli.output import emit, interactive, line, one_line, table
from tui.cli.workplace import carry_out, find_all, up_to_date

if TYPE_CHECKING:
    from engine.analysis.curation import Candidate
    from engine.controller.curator import Curator, Purged, Thinned

dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would go, and do nothing.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody could answer.")


@click.command()
@click.argument("jobs", metavar="[JOB…]", nargs=-1)
@click.option(
    "--older-than",
    "days",
    metavar="DAYS",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Without JOB: runs that have been in the trash for so many days.",
)
@click.option("--all", "everything", is_flag=True, help="Without JOB: all that is in the trash.")
@dry_run_option
@yes_option
@json_option
def purge(
    jobs: tuple[str, ...], days: float, everything: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Remove deleted runs for good, and free what they take on this disk. This can't be undone."""
    with up_to_date() as store:
        curator = _curator(store)
        runs = (
            curator.named(find_all(store, jobs))
            if jobs
            else curator.purgeable(datetime.now(UTC), 0 if everything else days)
        )
        _say_purge(runs, as_json, dry_run)
        freed = None
        if runs and not dry_run:
            _sure(f"Remove {_runs(runs)} for good?", yes)
            freed = curator.purge(runs, Counter("run"))
    if as_json:
        emit("purged", [{"job_id": run.job.id, "bytes": run.bytes} for run in runs], freed_bytes=freed)
    elif freed is not None:
        line(f"{words.size(freed)} freed.")


@click.command()
@click.option(
    "--worse",
    metavar="PERCENT",
    type=click.FloatRange(min=0),
    help="Archive runs that are so much worse than their model's best.",
)
@click.option(
    "--older-than", "days", metavar="DAYS", type=click.FloatRange(min=0), help="Archive runs that are older."
)
@click.option("--failed", is_flag=True, help="Archive runs that failed.")
@click.option(
    "--keep-best",
    "keep",
    metavar="K",
    type=click.IntRange(min=1),
    help="Remove the files of all but each run's best K checkpoints.",
)
@click.option(
    "--filter", "wanted", metavar="F", default="", help="Of the runs, look at those alone that answer to F."
)
@dry_run_option
@yes_option
@json_option
def prune(
    worse: float | None,
    days: float | None,
    failed: bool,
    keep: int | None,
    wanted: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Archive runs by a rule, or keep the best K checkpoints of each run; --dry-run says what would happen.

    A run is archived when any of the given rules holds for it; the best run of a model, and one that has not
    ended, never is. The best, the newest and the lowest-loss checkpoint of a run always stay.
    """
    from engine.analysis.curation import Rule, to_archive

    archiving = worse is not None or days is not None or failed
    if not archiving and keep is None:
        raise BadInput("nothing says what to prune", "Give --worse, --older-than, --failed or --keep-best.")
    chosen = filter_of(wanted)
    with up_to_date() as store:
        every = store.jobs(archived=True)
        among = [job for job in every if chosen.matches(job)]
        candidates: Sequence[Candidate] = ()
        if archiving:
            rule = Rule(None if worse is None else worse / 100, days, failed)
            candidates = to_archive(every, rule, datetime.now(UTC), {job.id for job in among})
        curator = _curator(store)
        thinned = curator.thinnable(among, keep) if keep is not None else []
        _say_prune(candidates, thinned, as_json, dry_run)
        freed = _prune(store, curator, candidates, thinned, yes) if not dry_run else None
    if as_json:
        emit("pruned", _facts(candidates, thinned), freed_bytes=freed)
    elif freed:
        line(f"{words.size(freed)} freed.")


def _prune(
    store: Store,
    curator: Curator,
    candidates: Sequence[Candidate],
    thinned: Sequence[Thinned],
    yes: bool,
) -> int:
    """Archive, which can be undone, and then, after asking, remove files, which can't."""
    if thinned:
        count = sum(len(run.checkpoints) for run in thinned)
        _sure(f"Remove {_many(count, 'checkpoint')} of {_many(len(thinned), 'run')} for good?", yes)
    if candidates:
        ids = [candidate.job.id for candidate in candidates]
        carry_out(store, lambda controller: controller.archive(ids))
    return curator.thin(thinned, Counter("run"))


def _facts(candidates: Iterable[Candidate], thinned: Iterable[Thinned]) -> dict[str, object]:
    return {
        "archived": [{"job_id": item.job.id, "reason": item.reason} for item in candidates],
        "thinned": [
            {"job_id": run.job.id, "steps": [item.step for item in run.checkpoints], "bytes": run.bytes}
            for run in thinned
        ],
    }


def _curator(store: Store) -> Curator:
    from engine.controller.curator import Curator

    return Curator(store, Home.default())


def _sure(question: str, yes: bool) -> None:
    """Ask, unless the user has said yes already.

    Raises:
        BadInput: There is nobody to ask.
    """
    if yes:
        return
    if not interactive():
        raise BadInput("this asks first, and there is no terminal to ask on", "Give --yes or --dry-run.")
    click.confirm(one_line(question), abort=True, err=True)


def _say_purge(runs: Sequence[Purged], as_json: bool, dry_run: bool) -> None:
    if as_json:
        return
    if not runs:
        line("Nothing to purge: the trash holds no such run.")
        return
    head = ("NAME", "RUN", "ID", "DELETED", "SIZE", "COST")
    now = datetime.now(UTC)
    table(
        head,
        [
            (
                *_named(run.job),
                words.day(run.job.deleted_at, now),
                words.size(run.bytes),
                words.dollars(run.job.cost_total),
            )
            for run in runs
        ],
        right=head[4:],
    )
    line(f"{'Would free' if dry_run else 'Frees'} {words.size(sum(run.bytes for run in runs))}.")


def _say_prune(
    candidates: Sequence[Candidate], thinned: Sequence[Thinned], as_json: bool, dry_run: bool
) -> None:
    if as_json:
        return
    would = "would be " if dry_run else ""
    if candidates:
        line(f"{_many(len(candidates), 'run')} {would}archived; podium undo takes it back:")
        table(("NAME", "RUN", "ID", "WHY"), [(*_named(item.job), item.reason) for item in candidates])
    if thinned:
        freed = words.size(sum(run.bytes for run in thinned))
        whose = _many(len(thinned), "run")
        line(f"Of {whose} these checkpoints {would or 'are '}removed, which frees {freed}:")
        head = ("NAME", "RUN", "ID", "STEPS", "SIZE")
        rows = [
            (*_named(run.job), " ".join(str(item.step) for item in run.checkpoints), words.size(run.bytes))
            for run in thinned
        ]
        table(head, rows, right=head[4:])
    if not candidates and not thinned:
        line("Nothing to prune.")


def _named(job: Job) -> tuple[str, str, str]:
    return job.name, str(job.number), job.id[:8]


def _runs(runs: Sequence[Purged]) -> str:
    return words.listed(run.job.name for run in runs)


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class Counter:
    """Shows how many are done, in one line that is written over.

    Args:
        noun: What is counted.
    """

    def __init__(self, noun: str) -> None:
        self._noun = noun

    def __call__(self, done: int, of: int) -> None:
        """So many of so many are done."""
        if of > 1 and interactive():
            click.echo(f"\r{done} of {of} {self._noun}s", nl=done >= of, err=True)
