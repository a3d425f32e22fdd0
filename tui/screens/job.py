"""The Job screen: what is this run doing, and is it worth its money?"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from tui import wishes
from tui.screens.base import PodiumScreen


class JobScreen(PodiumScreen):
    """One run, live or over."""

    NAME = "job"
    TITLE_IN_HELP = "This run"
    COMMANDS = (wishes.StopJob, wishes.PauseJob, wishes.ResumeJob, wishes.SaveNow)

    def subject(self) -> tuple[str, ...]:
        """The run on the screen."""
        return (self.snapshot.job.job.id,) if self.snapshot and self.snapshot.job else ()

    def compose_body(self) -> ComposeResult:
        """An empty state until there is something to show."""
        yield Static(Content("No run yet."), classes="empty")
