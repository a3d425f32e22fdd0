"""What somebody should know about a run: what is wrong, the verdict, what it has reached, alerts."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive

from engine.analysis.health import Flag
from engine.analysis.snapshot import JobDetail
from engine.job.events import Status
from engine.records import Alert
from tui.commands import Commanding
from tui.widgets.clean import clean
from tui.widgets.criteria_lines import criteria_lines
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
    """Red flags, the trend verdict with its evidence, the reason for the choice, criteria, alerts."""

    TITLE_IN_HELP = "Verdict"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "scroll_up", "up", show=False),
        Binding("j", "scroll_down", "down", show=False),
        Binding("g", "scroll_home", "first", show=False),
        Binding("G", "scroll_end", "last", show=False),
    ]

    detail: reactive[JobDetail | None] = reactive(None)

    def compose(self) -> ComposeResult:
        """Title and text."""
        yield TitleLine("verdict")
        yield NotesView().data_bind(NotesPane.detail)


class NotesView(DetailView):
    """Wrapped text, as long as it needs to be."""

    def draw(self, detail: JobDetail, width: int) -> Content:
        """What is wrong, verdict, choice, criteria, alerts."""
        flags = _flags(detail)
        parts = [*_failure(detail), *map(_flag, flags), *_verdict(detail), *_choice(detail)]
        parts += criteria_lines(detail.standing, width) if detail.standing else ()
        said = {detail.job.error_message, detail.trend.evidence if detail.trend else None}
        said |= {flag.message for flag in flags}
        parts += [_alert(alert) for alert in reversed(detail.alerts) if alert.message not in said]
        return Content("\n").join(parts) if parts else Content.styled("nothing to report yet", QUIET)


def _flags(detail: JobDetail) -> list[Flag]:
    """What is wrong, each thing once, without what the verdict says anyway."""
    found = [*detail.flags, *(detail.standing.flags if detail.standing else ())]
    evidence = detail.trend.evidence if detail.trend else None
    named: dict[str, Flag] = {}
    for flag in found:
        if flag.message not in (evidence, detail.job.error_message):
            named.setdefault(flag.name, flag)
    return sorted(named.values(), key=lambda flag: flag.severity != "error")


def _flag(flag: Flag) -> Content:
    style = "$error" if flag.severity == "error" else "$warning"
    return Content.assemble(("⚑ ", style), (clean(flag.message, 300), style))


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
