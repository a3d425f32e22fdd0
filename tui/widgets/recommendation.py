"""Which run to keep, why, what speaks against it, and what to do with the others."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from engine.analysis.comparison import Comparison
from engine.records import Job
from tui.commands import Commanding
from tui.themes import run_style
from tui.what_goes import held
from tui.widgets.clean import clean


def losers(comparison: Comparison | None) -> tuple[Job, ...]:
    """The runs that the recommendation would be rid of; none when runs can't be compared."""
    if comparison is None or not comparison.recommendation.comparable:
        return ()
    advice = {standing.job_id: standing.advice for standing in comparison.recommendation.worse}
    return tuple(
        job
        for job in comparison.jobs
        if advice.get(job.id) in ("warn", "archive")
        and job.status.ended
        and not (job.archived or job.deleted)
        and job.id != comparison.recommendation.job_id
    )


class RecommendationPanel(Commanding, VerticalScroll):
    """The recommendation in sentences with numbers. Arrows scroll."""

    TITLE_IN_HELP = "Recommendation"

    comparison: reactive[Comparison | None] = reactive(None)

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static()

    def watch_comparison(self, comparison: Comparison | None) -> None:
        """Say something else."""
        self.query_one(Static).update(sentences(comparison) if comparison else Content(""))


def sentences(comparison: Comparison) -> Content:
    """The headline, the reasons, the caveats, and what the keys would do."""
    advice = comparison.recommendation
    job = next((job for job in comparison.jobs if job.id == advice.job_id), None)
    sign = Content.styled("■ ", run_style(job.number)) if job else Content("")
    lines = [sign + Content.styled(clean(advice.headline), "bold")]
    lines += [Content.assemble(("· ", "$accent"), clean(reason)) for reason in advice.reasons]
    lines += [Content.assemble(("! ", "bold $warning"), clean(caveat)) for caveat in advice.caveats]
    if rest := losers(comparison):
        lines.append(_offer(rest))
    return Content("\n").join(lines)


def _offer(jobs: Sequence[Job]) -> Content:
    names = Content(", ").join([Content.styled(f"{job.number:02}", run_style(job.number)) for job in jobs])
    there = f" ({held(jobs)})" if held(jobs) else ""
    return Content.assemble(
        ("a", "bold $accent"), " archives ", names, ", ", ("d", "bold $accent"), f" deletes{there}"
    )
