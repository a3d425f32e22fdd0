"""What the title lines of the Comparison screen say, and what it says with nothing to compare. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.content import Content

from engine.analysis import format as words
from engine.analysis.compared import STATISTICS
from engine.analysis.comparison import Comparison
from engine.analysis.history import model_of
from engine.analysis.snapshot import Snapshot
from engine.records import Job, SavedComparison
from tui.themes import run_style
from tui.widgets.clean import clean
from tui.widgets.metric_table import MetricTable

_KEY: Final = "bold $accent"


def nothing_yet(jobs: Sequence[Job], suggestion: Sequence[Job]) -> Content:
    """How to come to a comparison."""
    lines = [Content.styled("Nothing to compare yet: it takes two runs.\n", "bold")]
    if len(jobs) < 2:
        lines.append(Content.assemble(("n", _KEY), " launches one; podium demo trains two small ones here"))
    else:
        how = (" shows all runs: mark two or more with ", ("space", _KEY), ", then ", ("c", _KEY))
        lines.append(Content.assemble(("3", _KEY), *how))
    if suggestion:
        model = clean(model_of(suggestion[0]))
        lines.append(Content.assemble(("c", _KEY), f" here compares {len(suggestion)} runs of {model}"))
    return Content("\n").join(lines)


def what(comparison: Comparison) -> Content:
    """The models that are compared."""
    models = list(dict.fromkeys(model_of(job) for job in comparison.jobs))
    return Content(clean(words.listed(models, 2)))


def how_many(
    comparison: Comparison, snapshot: Snapshot, saved: SavedComparison | None, known: int
) -> Content:
    """How many runs, the reference, and under which name this is saved."""
    of = " of the family" if snapshot.family else ""
    kept = (f'   saved as "{clean(saved.name)}" ✓', "$success") if saved else ""
    reference = next(job for job in comparison.jobs if job.id == comparison.reference)
    return Content.assemble(
        (
            f"{len(comparison.jobs)} of {max(known, len(comparison.jobs))} runs{of}   reference ",
            "$text-muted",
        ),
        (f"■ {reference.number:02}", run_style(reference.number)),
        kept,
    )


def which_metrics(comparison: Comparison, table: MetricTable) -> Content:
    """Which lines are shown, and in which order the runs."""
    said = [f"{len(table.rows)} of {len(comparison.rows)}"]
    if comparison.statistic != "last" and any(row.measured for row in table.rows):
        said.append(STATISTICS[comparison.statistic])
    if table.filter.strip():
        said.append(f"/{clean(table.filter)}")
    if table.only_differing:
        said.append("only what differs")
    if table.sorting:
        label = next((row.label for row in comparison.rows if row.name == table.sorting[0]), "")
        said.append(f"by {label}{', reversed' if table.sorting[1] else ''}")
    return Content.styled("   ".join(said), "$text-muted")
