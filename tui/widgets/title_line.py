"""The line that begins a pane: its title, a rule, and the facts about it at the right."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget


class TitleLine(Widget):
    """`── title ──────── facts ──`; facts that don't fit are cut from the right.

    Args:
        title: What the pane shows.
    """

    title: reactive[Content] = reactive(Content(""))
    facts: reactive[Content] = reactive(Content(""))
    columns: reactive[tuple[tuple[int, str], ...]] = reactive(())
    """Headings of a table below: the column that each ends before, and its words."""

    def __init__(self, title: str | Content = "", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.set_reactive(TitleLine.title, Content(title) if isinstance(title, str) else title)

    def render(self) -> Content:
        """One line of the pane's width."""
        width = self.size.width
        left = Content.assemble(("── ", "$rule"), self.title.stylize_before("bold"), " ")
        facts = self.facts
        room = width - left.cell_length - 5
        if facts.cell_length > room:
            facts = facts.truncate(max(0, room), ellipsis=True)
        right = Content.assemble(" ", facts, (" ──", "$rule")) if facts.cell_length else Content("")
        middle: list[str | Content | tuple[str, str]] = []
        at = left.cell_length
        for end, heading in self.columns:
            start = end - len(heading)
            if start > at and end < width - right.cell_length:
                middle += [("─" * (start - at - 1), "$rule"), f" {heading} "]
                at = end + 1
        between = max(0, width - at - right.cell_length)
        return Content.assemble(left, *middle, ("─" * between, "$rule"), right)
