"""The line above a table that names the runs of its columns."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from engine.records import Job
from tui.widgets.side_by_side import Grid, heads


class RunHeads(Widget):
    """One line: each run's number and name in its colour, over its column."""

    def __init__(self) -> None:
        super().__init__()
        self._line = Content("")

    def show(self, jobs: Sequence[Job], reference: str, plan: Grid) -> None:
        """Name these runs."""
        self._line = heads(jobs, reference, plan)
        self.refresh()

    def render(self) -> Content:
        """The heads."""
        return self._line
