"""The line that filters the metric table: it is there only while somebody types or has typed."""

from __future__ import annotations

from textual.message import Message
from textual.widgets import Input

from tui.commands import Commanding
from tui.widgets.filter_bar import DropFilter, LeaveFilter


class MetricFilter(Commanding, Input):
    """Words that a metric's name must hold; a leading ! turns it round."""

    TITLE_IN_HELP = "Filter"
    COMMANDS = (LeaveFilter, DropFilter)

    class Left(Message):
        """Back to the table."""

    def __init__(self) -> None:
        super().__init__(placeholder="filter metrics: loss  !score", compact=True, select_on_focus=False)
        self.display = False

    def enter(self) -> None:
        """Show it and put the cursor into it."""
        self.display = True
        self.focus()

    def leave(self) -> None:
        """Stay only with a text in it."""
        self.display = bool(self.value.strip())

    def on_leave_filter(self, command: LeaveFilter) -> None:
        """Keep the text, if there is any."""
        command.stop()
        self.post_message(self.Left())

    def on_drop_filter(self, command: DropFilter) -> None:
        """Take it away."""
        command.stop()
        self.value = ""
        self.post_message(self.Left())


def matches(text: str, name: str) -> bool:
    """Does a metric's name or label hold all words, and none of those after a `!`?"""
    known = name.casefold()
    for word in text.casefold().split():
        wanted = word.removeprefix("!")
        if wanted and (wanted in known) == word.startswith("!"):
            return False
    return True
