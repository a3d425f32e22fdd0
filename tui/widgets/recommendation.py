"""Which run to keep, why, what speaks against it, and what to do with the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from engine.analysis.comparison import Comparison
from engine.analysis.export import correlation_sentence
from engine.records import Job
from tui.commands import Commanding
from tui.themes import run_style
from tui.what_goes import held
from tui.widgets.clean import clean

_STRONG: Final = 0.5
"""A rank correlation from here on is worth a sentence."""
_HANG: Final = 2
"""Cells of a sign and its gap."""


def losers(comparison: Comparison | None) -> tuple[Job, ...]:
    """The runs that the recommendation would be rid of; none when runs can't be compared."""
    return judged(comparison, "archive")


def judged(comparison: Comparison | None, advice: str) -> tuple[Job, ...]:
    """The ended runs that the recommendation says this of, hidden ones and the best left out."""
    if comparison is None or not comparison.recommendation.comparable:
        return ()
    said = {standing.job_id: standing.advice for standing in comparison.recommendation.worse}
    return tuple(
        job
        for job in comparison.jobs
        if said.get(job.id) == advice
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

    def watch_comparison(self) -> None:
        """Say something else."""
        self._say()

    def on_resize(self) -> None:
        """Break the lines elsewhere."""
        self._say()

    def _say(self) -> None:
        width = self.scrollable_content_region.width
        if self.comparison is not None and width > _HANG:
            lines = [line for sign, text in sentences(self.comparison) for line in _hung(sign, text, width)]
            self.query_one(Static).update(Content("\n").join(lines))


def sentences(comparison: Comparison) -> list[tuple[Content, Content]]:
    """The headline, reasons, caveats, what the keys would do, what would change it; each with its sign."""
    advice = comparison.recommendation
    job = next((job for job in comparison.jobs if job.id == advice.job_id), None)
    sign = Content.styled("■", run_style(job.number)) if job else Content.styled("■", "$text-muted")
    reason, caveat = Content.styled("·", "$accent"), Content.styled("!", "bold $warning")
    said = [(sign, Content.styled(clean(advice.headline), "bold"))]
    said += [(reason, Content(clean(text))) for text in advice.reasons]
    said += [(caveat, Content(clean(text))) for text in advice.caveats]
    if warned := judged(comparison, "warn"):
        said.append((caveat, _worse(comparison, warned)))
    if rest := losers(comparison):
        said.append((Content("→"), _worse(comparison, rest) + Content(": ") + _offer(rest)))
    said += [(Content.styled("?", "$text-muted"), Content(clean(text))) for text in advice.changes]
    if strong := [item for item in comparison.correlations[:1] if abs(item.rho) >= _STRONG]:
        said.append((Content.styled("ρ", "$accent"), Content(clean(correlation_sentence(strong[0])))))
    return said


def _worse(comparison: Comparison, jobs: Sequence[Job]) -> Content:
    """`05 is 35 % worse than the best`."""
    excess = {standing.job_id: standing.worse or 0.0 for standing in comparison.recommendation.worse}
    named = [
        Content.assemble((f"{job.number:02}", run_style(job.number)), f" is {excess[job.id] * 100:.0f} %")
        for job in jobs
    ]
    return Content(", ").join(named) + Content(" worse than the best")


def _hung(sign: Content, text: Content, width: int) -> list[Content]:
    """A sentence in lines of at most `width` cells, all indented but for the sign."""
    first, *others = text.wrap(width - _HANG)
    return [sign + Content(" ") + first, *(Content(" " * _HANG) + line for line in others)]


def _offer(jobs: Sequence[Job]) -> Content:
    names = Content(", ").join([Content.styled(f"{job.number:02}", run_style(job.number)) for job in jobs])
    there = f" ({held(jobs)})" if held(jobs) else ""
    return Content.assemble(
        ("a", "bold $accent"), " archives ", names, ", ", ("d", "bold $accent"), f" deletes{there}"
    )
