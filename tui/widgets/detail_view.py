"""A widget that is a function of the run on the screen."""

from __future__ import annotations

from datetime import datetime

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from engine.analysis.snapshot import JobDetail


class DetailView(Widget):
    """Shows something of a run; it is drawn anew only when the run's detail is another."""

    detail: reactive[JobDetail | None] = reactive(None, layout=True)

    def render(self) -> Content:
        """What there is to show."""
        return self.draw(self.detail, self.size.width) if self.detail else Content("")

    def draw(self, detail: JobDetail, width: int) -> Content:
        """The content for a width in cells."""
        raise NotImplementedError


class AgingView(DetailView):
    """A detail view that also shows how long ago something was."""

    now: reactive[datetime | None] = reactive(None)
