"""What somebody should know about a run: the verdict on its losses, why the best is the best, alerts."""

from __future__ import annotations

from typing import Final

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive

from engine.analysis.snapshot import JobDetail
from engine.job.events import Status
from engine.records import Alert
from tui.commands import Commanding
from tui.widgets.clean import clean
from tui.widgets.detail_view import DetailView
from tui.widgets.title_line import TitleLine

QUIET: Final = "$text-muted"

VERDICT_STYLES: Final = {
    "improving": "$success",
    "plateau": "$warning",
    "overfitting": "$error",
    "diverging": "$error",
    "nan": "$error",
    "spike": "$warning",
}
"""Verdicts that are not quiet."""

SIGNS: Final = {"info": ("·", QUIET), "warning": ("▲", "$warning"), "error": ("✖", "$error")}
"""How an alert of a severity begins."""


class NotesPane(Commanding, VerticalScroll):
    """The trend verdict with its evidence, the reason for the choice, and alerts, newest first."""

    TITLE_IN_HELP = "Notes"

    detail: reactive[JobDetail | None] = reactive(None)

    def compose(self) -> ComposeResult:
        """Title and text."""
        yield TitleLine("verdict")
        yield NotesView().data_bind(NotesPane.detail)


class NotesView(DetailView):
    """Wrapped text, as long as it needs to be."""

    def draw(self, detail: JobDetail, width: int) -> Content:
        """Verdict, choice, alerts."""
        parts = [*_failure(detail), *_verdict(detail), *_choice(detail)]
        said = {detail.job.error_message, detail.trend.evidence if detail.trend else None}
        parts += [_alert(alert) for alert in reversed(detail.alerts) if alert.message not in said]
        return Content("\n").join(parts) if parts else Content.styled("nothing to report yet", QUIET)


def _failure(detail: JobDetail) -> list[Content]:
    job = detail.job
    if not job.error_message or job.status is Status.COMPLETED:
        return []
    return [Content.styled(clean(job.error_message, 1000), "$error")]


def _verdict(detail: JobDetail) -> list[Content]:
    trend = detail.trend
    if trend is None:
        return []
    style = VERDICT_STYLES.get(trend.verdict, "")
    return [Content.assemble((clean(trend.verdict, 40), f"bold {style}"), "  ", clean(trend.evidence, 400))]


def _choice(detail: JobDetail) -> list[Content]:
    if not detail.selection_reason:
        return []
    return [Content.assemble(("★ ", "$warning"), clean(detail.selection_reason, 400))]


def _alert(alert: Alert) -> Content:
    sign, style = SIGNS.get(alert.severity, SIGNS["info"])
    step = f"step {alert.step}  " if alert.step is not None else ""
    return Content.assemble((f"{sign} ", style), (step, QUIET), clean(alert.message, 400))
