"""A widget that is a function of the run on the screen."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from engine.analysis.snapshot import JobDetail


class DetailView(Widget):
    """Shows something of a run.

    Runs change four times a second, and most of what is said of them does not: only another text is
    painted, and only one of another shape moves what is below it.
    """

    FIXED: ClassVar[bool] = False
    """Has it the same height whatever it says?"""

    detail: reactive[JobDetail | None] = reactive(None, repaint=False)

    def __init__(self) -> None:
        super().__init__()
        self._content = Content("")

    def draw(self, detail: JobDetail, width: int) -> Content:
        """The content for a width in cells."""
        raise NotImplementedError

    def render(self) -> Content:
        """What was drawn last."""
        return self._content

    def watch_detail(self) -> None:
        """Another run, or more of it."""
        self._redraw()

    def on_resize(self) -> None:
        """More room or less."""
        self._redraw()

    def _redraw(self) -> None:
        before = self._content
        self._content = self.draw(self.detail, self.size.width) if self.detail else Content("")
        if (before.plain, before.spans) != (self._content.plain, self._content.spans):
            self.refresh(layout=not self.FIXED and _shape(before) != _shape(self._content))


def _shape(content: Content) -> list[int]:
    """The length of each line."""
    return [len(line) for line in content.plain.split("\n")]


class AgingView(DetailView):
    """A detail view that also shows how long ago something was."""

    now: reactive[datetime | None] = reactive(None, repaint=False)

    def watch_now(self) -> None:
        """Time went by."""
        self._redraw()
