"""`podium export`: a run's convergence report, or runs in one archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from engine.analysis import format as words
from engine.errors import BadInput
from engine.home import Home
from engine.records import Curve, Job
from engine.store.base import Store
from tui.cli.options import REPLACE, force_option, jobs_argument, json_option
from tui.cli.output import emit, interactive, line, one_line
from tui.cli.pull import Meter
from tui.cli.workplace import find_all, up_to_date

if TYPE_CHECKING:
    from engine.analysis.report import Report


@click.command()
@jobs_argument
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the report there.")
@click.option(
    "--archive", type=click.Path(path_type=Path, dir_okay=False), help="Pack the runs into FILE.tar."
)
@click.option(
    "--checkpoints",
    type=click.Choice(["best", "all", "none"]),
    default="best",
    help="Which checkpoints an archive holds: the best one's files, all, or none.",
)
@click.option("--data", is_flag=True, help="Let an archive hold the training data, too.")
@force_option
@json_option
def export(
    jobs: tuple[str, ...],
    out: Path | None,
    archive: Path | None,
    checkpoints: Literal["best", "all", "none"],
    data: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write the convergence report of a run: criteria, best epoch, flags, curves. Or pack runs to travel."""
    from tui.keeping import vacant

    for path in (out, archive):
        if path is not None and not force:
            vacant(path, REPLACE)
    with up_to_date() as store:
        found = find_all(store, jobs)
        if archive is not None:
            _pack(store, found, archive, checkpoints, data, as_json)
            return
        if len(found) != 1:
            raise BadInput("a report is on one run", "Name one, or pack several with --archive FILE.tar.")
        told = reported(store, found[0])
    if as_json:
        emit("report", {"job": found[0], **told.to_json()})
        if out is None:
            return
    _write(told, out, quiet=as_json)


def reported(store: Store, job: Job) -> Report:
    """The report of a run."""
    from datetime import UTC, datetime

    from engine.analysis.health import red_flags
    from engine.analysis.panels import panels_of
    from engine.analysis.report import report
    from engine.snapshots import standing_of, whole_curve

    names = store.metrics(job.id)
    known = frozenset(names)

    def read(metric: str) -> Curve | None:
        return whole_curve(store, job.id, metric) if metric in known else None

    trend, alerts = store.trend(job.id), store.alerts(job.id)
    return report(
        job,
        read,
        names,
        standing=standing_of(store, job),
        flags=red_flags(job, datetime.now(UTC), trend=trend, alerts=alerts),
        panels=panels_of(job.config, names),
        checkpoints=store.checkpoints(job.id),
        alerts=alerts,
        trend=trend,
    )


def _write(told: Report, out: Path | None, *, quiet: bool) -> None:
    from engine.analysis.report import markdown
    from tui.keeping import write

    text = markdown(told)
    if out is None:
        line(text.rstrip())
        return
    write(out, text)
    if not quiet:
        line(one_line(f"The report is in {out}."))


def _pack(
    store: Store,
    jobs: Sequence[Job],
    archive: Path,
    checkpoints: Literal["best", "all", "none"],
    data: bool,
    as_json: bool,
) -> None:
    from engine.controller.packing import pack

    meter = Meter(not as_json and interactive())
    size = pack(store, Home.default(), jobs, archive, meter, checkpoints=checkpoints, data=data)
    if as_json:
        emit("archive", {"path": str(archive), "size_bytes": size, "job_ids": [job.id for job in jobs]})
    else:
        runs = "1 run" if len(jobs) == 1 else f"{len(jobs)} runs"
        line(one_line(f"{archive} holds {runs}, {words.size(size)}."))
