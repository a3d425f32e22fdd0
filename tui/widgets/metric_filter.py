"""The line that filters the metric table: it is there only while somebody types or has typed."""

from __future__ import annotations

from textual.binding import Binding
from textual.message import Message
from textual.widgets import Input


class MetricFilter(Input):
    """Words that a metric's name must hold; a leading `!` turns it round. Esc takes it away."""

    BINDINGS = [
        Binding("escape", "drop", "drop the filter", show=False),
        Binding("down", "leave", "to the table", show=False),
    ]

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

    def action_leave(self) -> None:
        """Keep the text, if there is any."""
        self.post_message(self.Left())

    def action_drop(self) -> None:
        """Take it away."""
        self.value = ""
        self.action_leave()


def matches(text: str, name: str) -> bool:
    """Does a metric's name or label hold all words, and none of those after a `!`?"""
    known = name.casefold()
    for word in text.casefold().split():
        wanted = word.removeprefix("!")
        if wanted and (wanted in known) == word.startswith("!"):
            return False
    return True
