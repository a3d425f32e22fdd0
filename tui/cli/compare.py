"""`podium compare`: runs side by side, what differs, and which to keep; `podium comparisons`: the saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from engine.analysis import format as words
from engine.analysis.comparison import Cell, Comparison, Row, Statistic
from engine.errors import BadInput
from engine.records import SavedComparison
from engine.store.base import Store
from tui.cli.options import REPLACE, force_option, json_option
from tui.cli.output import emit, line, one_line, table
from tui.cli.progress import checkpoint_json
from tui.cli.workplace import find_all, opened, up_to_date

if TYPE_CHECKING:
    from engine.records import Job

PRINTED: Final = ("csv", "md", "latex")
"""The kinds that are printed; a page is written to a file."""


@click.command("compare")
@click.argument("jobs", metavar="JOB…", nargs=-1)
@click.option("--reference", metavar="JOB", help="The run that differences are against; else the best.")
@click.option("--all", "every", is_flag=True, help="Show every metric, not the main ones alone.")
@click.option(
    "--value",
    "statistic",
    type=click.Choice(get_args(Statistic)),
    default="last",
    show_default=True,
    help="Which value of a curve counts: the last, the least, the greatest, or that at the best checkpoint.",
)
@click.option(
    "--archive-above",
    type=click.FloatRange(min=0, min_open=True),
    metavar="PERCENT",
    help="How much worse than the best a run must be to be offered for archiving.",
)
@click.option("--save", metavar="NAME", help="Save the comparison under a name.")
@click.option("--notes", metavar="TEXT", default="", help="What to note of it, with --save.")
@click.option("--saved", metavar="NAME", help="Open a saved comparison instead of naming runs.")
@click.option("--csv", "kind", flag_value="csv", help="Print CSV: every metric, bare numbers.")
@click.option("--md", "kind", flag_value="md", help="Print Markdown.")
@click.option("--latex", "kind", flag_value="latex", help="Print a LaTeX table.")
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="Write one page with curves.")
@force_option
@json_option
def compare_command(**given: Any) -> None:
    """Show runs side by side, and which to keep."""
    from tui.keeping import Words, found, save, text_of, vacant, write

    if given["html"] and not given["force"]:
        vacant(given["html"], REPLACE)
    with up_to_date() as store:
        opened_as = found(store, given["saved"]) if given["saved"] else None
        if opened_as and given["jobs"]:
            raise BadInput("--saved names the runs already", "Name runs, or a saved comparison.")
        comparison, reference = _compared(store, opened_as, given)
        said = Words(opened_as.name, opened_as.notes) if opened_as else Words()
        if given["save"]:
            ids = [job.id for job in comparison.jobs]
            kept = save(store, ids, reference, Words(given["save"], given["notes"]))
            said = Words(kept.name, kept.notes)
        if given["html"]:
            write(given["html"], text_of(store, comparison, "html", said))
        if given["kind"] in PRINTED:
            click.echo(text_of(store, comparison, given["kind"], said, every=given["every"]), nl=False)
        elif given["as_json"]:
            _emit(store, comparison, said.name)
        elif given["html"]:
            line(one_line(f"Written to {given['html']}."))
        else:
            _show(comparison, given["every"])
            if given["save"]:
                line(one_line(f"Saved as {said.name}. podium compare --saved opens it again."))


@click.command("comparisons")
@click.option("--forget", metavar="NAME", help="Forget a saved comparison; its runs stay.")
@json_option
def comparisons_command(forget: str | None, as_json: bool) -> None:
    """List the saved comparisons."""
    from tui.keeping import found

    with opened() as store:
        if forget is not None:
            store.delete_comparison(found(store, forget).id)
        every = store.comparisons()
        names = {job.id: job.name for job in store.jobs(archived=True, deleted=True)}
    if as_json:
        emit("comparisons", every)
    elif not every:
        line("No comparison is saved. podium compare A B --save NAME saves one.")
    else:
        rows = [
            (
                saved.name,
                words.listed(names.get(job_id, "a run that is gone") for job_id in saved.job_ids),
                f"{saved.created_at.astimezone():%Y-%m-%d}",
                saved.notes,
            )
            for saved in every
        ]
        table(("name", "runs", "saved", "notes"), rows)


def _compared(
    store: Store, opened_as: SavedComparison | None, given: dict[str, Any]
) -> tuple[Comparison, str | None]:
    """The comparison that was asked for, and the reference that was named.

    Raises:
        BadInput: There are fewer than two runs, or the reference is not among them.
    """
    from engine.comparing import comparison_of

    every = store.jobs(archived=True, deleted=True)
    runs = _runs(store, opened_as, given["jobs"], every)
    if len(runs) < 2:
        raise BadInput("a comparison needs two different runs or more", "podium jobs lists them.")
    reference = opened_as.reference_job_id if opened_as else None
    if given["reference"]:
        reference = store.find(given["reference"]).id
        if reference not in {job.id for job in runs}:
            raise BadInput(f"{given['reference']} is not among the runs compared", "Name it among them too.")
    above = given["archive_above"]
    comparison = comparison_of(
        store,
        runs,
        every,
        reference=reference,
        statistic=given["statistic"],
        archive_above=None if above is None else above / 100,
    )
    return comparison, reference


def _runs(
    store: Store, opened_as: SavedComparison | None, names: tuple[str, ...], every: list[Job]
) -> list[Job]:
    if opened_as is None:
        return find_all(store, names)
    known = {job.id: job for job in every}
    return [known[job_id] for job_id in opened_as.job_ids if job_id in known]


def _emit(store: Store, comparison: Comparison, name: str) -> None:
    from engine.analysis.export import to_json

    shown = {job.id: [checkpoint_json(each) for each in store.checkpoints(job.id)] for job in comparison.jobs}
    emit("comparison", {"name": name or None, **to_json(comparison), "checkpoints": shown})


def _show(comparison: Comparison, every: bool) -> None:
    from engine.analysis.export import correlation_sentences, setting_text
    from engine.analysis.recommendation import names_of

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
        changed = [
            (each.key, *(setting_text(each.key, value) for value in each.values))
            for each in comparison.differences
        ]
        table(("what differs", *names), changed, right=names)
    for at, text in enumerate(correlation_sentences(comparison)):
        if at == 0:
            line()
        line(one_line(text))
    advice = comparison.recommendation
    line()
    line(one_line(advice.headline), bold=True)
    for reason in advice.reasons:
        line(one_line(f"  {reason}"))
    for caveat in advice.caveats:
        line(one_line(f"  but: {caveat}"), fg="yellow")
    for change in advice.changes:
        line(one_line(f"  {change}"), dim=True)
    _say_worse(comparison, known)


def _say_worse(comparison: Comparison, names: dict[str, str]) -> None:
    """Which runs are warned of, and which are offered for archiving."""
    for advice, said in (("warn", "much worse than the best"), ("archive", "worth archiving")):
        found = [each for each in comparison.recommendation.worse if each.advice == advice]
        if found:
            listed = ", ".join(f"{names[each.job_id]} ({(each.worse or 0) * 100:.0f} %)" for each in found)
            line(one_line(f"  {said}: {listed}"), fg="yellow")


def _cell(row: Row, cell: Cell) -> str:
    from engine.analysis.export import written

    text = written(cell.value, row.unit)
    total = f" / {written(cell.of, row.unit)}" if cell.of is not None and cell.value is not None else ""
    delta = f" {words.change(cell.delta)}" if cell.delta else ""
    return f"{'★ ' if cell.best else ''}{text}{total}{delta}"
