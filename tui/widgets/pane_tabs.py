"""The panes of a screen as tabs, for terminals that are too small to show them all at once."""

from __future__ import annotations

from collections.abc import Mapping

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui.commands import Command


class NextPane(Command):
    """Go to the next pane."""

    KEYS = "tab"
    LABEL = "next pane"
    FOOTER = True


class PreviousPane(Command):
    """Go to the pane before."""

    KEYS = "shift+tab"
    LABEL = "pane before"


class PaneTabs(Widget):
    """One line: the titles of the panes, the one in front stands out.

    Args:
        titles: The panes' ids and what they are called.
    """

    front: reactive[str] = reactive("")
    """The id of the pane in front."""

    class Chosen(Message):
        """The user wants another pane in front."""

        def __init__(self, pane: str) -> None:
            self.pane = pane
            super().__init__()

    def __init__(self, titles: Mapping[str, str]) -> None:
        super().__init__()
        self._titles = titles
        self.set_reactive(PaneTabs.front, next(iter(titles)))

    def after(self, pane: str, by: int) -> str:
        """The pane that comes `by` places after one."""
        names = list(self._titles)
        return names[(names.index(pane) + by) % len(names)]

    def render(self) -> Content:
        """The titles."""
        styles = {True: "bold $accent underline", False: "$text-muted"}
        tabs = [Content.styled(title, styles[name == self.front]) for name, title in self._titles.items()]
        return Content("  ").join([*tabs, Content.styled("tab ▸", "$text-muted")])

    def on_click(self, event: events.Click) -> None:
        """Bring what was clicked to the front."""
        event.stop()
        at, offset = 0, event.get_content_offset(self)
        for name, title in self._titles.items():
            if offset is not None and at <= offset.x < at + len(title) + 1:
                self.post_message(self.Chosen(name))
            at += len(title) + 2
