"""One line: finished runs that nobody has looked at side by side yet."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from engine.analysis.snapshot import Snapshot
from tui.widgets.clean import clean


class SuggestionLine(Widget):
    """There only while there is something to suggest; a click does it."""

    snapshot: reactive[Snapshot | None] = reactive(None, repaint=False)

    def watch_snapshot(self, before: Snapshot | None, after: Snapshot | None) -> None:
        """Another suggestion, or none."""
        if before is None or after is None or before.suggested != after.suggested:
            self.display = after is not None and after.suggested is not None
            self.refresh()

    def render(self) -> Content:
        """What was never compared, and the key."""
        if self.snapshot is None or self.snapshot.suggested is None:
            return Content("")
        said = clean(self.snapshot.suggested.sentence)
        shown = Content.assemble(said, ": ", ("C", "bold $accent"), " shows them")
        return shown.truncate(self.size.width, ellipsis=True)

    async def on_click(self) -> None:
        """Show them."""
        await self.run_action("screen.command('CompareNew')")
