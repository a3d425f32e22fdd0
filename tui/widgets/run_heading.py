"""The titles of the run list's columns; a click sorts by one."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from tui.widgets.run_columns import GAP, Plan, heading
from tui.widgets.run_lines import Order


class RunHeading(Widget):
    """One line that stays while the list scrolls."""

    class Chosen(Message):
        """The user wants to sort by a column."""

        def __init__(self, column: str) -> None:
            self.column = column
            super().__init__()

    def __init__(self) -> None:
        super().__init__()
        self._plan = Plan((), 2, 4)
        self._order = Order()

    def show(self, plan: Plan, order: Order) -> None:
        """Show the titles of these columns."""
        if (plan, order) != (self._plan, self._order):
            self._plan, self._order = plan, order
            self.refresh()

    def render(self) -> Content:
        """The titles."""
        return heading(self._plan, self._order.sort, self._order.backwards)

    def on_click(self, event: events.Click) -> None:
        """Sort by what was clicked."""
        event.stop()
        chosen = "name"
        for start, column in self._plan.starts():
            if event.x >= start + GAP - 1:
                chosen = column.name
        self.post_message(self.Chosen(chosen))
