"""`podium compare`: runs side by side, what differs, and which to keep."""

from __future__ import annotations

import click

from engine.analysis import format as words
from engine.analysis.comparison import Cell, Comparison, Row, compare
from engine.analysis.export import to_json, written
from engine.analysis.recommendation import names_of
from engine.errors import BadInput
from tui.cli.options import jobs_argument, json_option
from tui.cli.output import emit, line, one_line, table
from tui.cli.progress import checkpoint_json
from tui.cli.workplace import find_all, up_to_date


@click.command("compare")
@jobs_argument
@click.option("--reference", metavar="JOB", help="The run that differences are against; else the best.")
@click.option("--all", "every", is_flag=True, help="Show every metric, not the main ones alone.")
@json_option
def compare_command(jobs: tuple[str, ...], reference: str | None, every: bool, as_json: bool) -> None:
    """Show runs side by side, and which to keep."""
    with up_to_date() as store:
        found = find_all(store, jobs)
        if len(found) < 2:
            raise BadInput("a comparison needs two different runs or more", "podium jobs lists them.")
        against = store.find(reference).id if reference else None
        if against is not None and against not in {job.id for job in found}:
            raise BadInput(f"{reference} is not among the runs compared", "Name it among them too.")
        checkpoints = {job.id: store.checkpoints(job.id) for job in found}
    comparison = compare(found, checkpoints, reference=against)
    if as_json:
        shown = {job_id: [checkpoint_json(each) for each in those] for job_id, those in checkpoints.items()}
        emit("comparison", to_json(comparison) | {"checkpoints": shown})
    else:
        _show(comparison, every)


def _show(comparison: Comparison, every: bool) -> None:
    known = names_of(comparison.jobs)
    names = [known[job.id] for job in comparison.jobs]
    rows = [
        (row.label, *(_cell(row, cell) for cell in row.cells))
        for row in comparison.rows
        if every or row.primary
    ]
    table(("", *names), rows, right=names)
    if comparison.differences:
        line()
        changed = [(each.key, *map(_value, each.values)) for each in comparison.differences]
        table(("what differs", *names), changed, right=names)
    advice = comparison.recommendation
    line()
    line(one_line(advice.headline), bold=True)
    for reason in advice.reasons:
        line(one_line(f"  {reason}"))
    for caveat in advice.caveats:
        line(one_line(f"  but: {caveat}"), fg="yellow")


def _cell(row: Row, cell: Cell) -> str:
    text = written(cell.value, row.unit)
    total = f" / {written(cell.of, row.unit)}" if cell.of is not None and cell.value is not None else ""
    delta = f" {words.change(cell.delta)}" if cell.delta else ""
    return f"{'★ ' if cell.best else ''}{text}{total}{delta}"


def _value(value: object) -> str:
    return words.UNKNOWN if value is None else words.short(value) if isinstance(value, float) else str(value)
