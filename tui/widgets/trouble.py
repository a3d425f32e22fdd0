"""A line under the top bar about something that needs the user: a damaged store, a full disk."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from engine.analysis.snapshot import Snapshot
from tui.widgets.clean import clean


class TroubleLine(Widget):
    """What is wrong, where, and what to do; not there when all is well."""

    snapshot: reactive[Snapshot | None] = reactive(None, repaint=False)
    trouble: reactive[str] = reactive("", layout=True)

    def watch_snapshot(self) -> None:
        """Come or go."""
        self.trouble = clean(self.snapshot.trouble, 600) if self.snapshot else ""
        self.display = bool(self.trouble)

    def render(self) -> Content:
        """As many lines as it takes."""
        return Content(f"⚠ {self.trouble}")
