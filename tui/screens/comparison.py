"""The Comparison screen."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from tui.screens.base import PodiumScreen


class ComparisonScreen(PodiumScreen):
    """The Comparison screen."""

    NAME = "comparison"
    TITLE_IN_HELP = "Comparison"

    def compose_body(self) -> ComposeResult:
        """An empty state until there is something to show."""
        yield Static(Content("Nothing here yet."), classes="empty")
