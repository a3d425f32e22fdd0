"""The last line of every screen: the keys of the focused pane, each clickable."""

from __future__ import annotations

from textual.app import App
from textual.content import Content
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Input

from tui.commands import Command, Commanding, offered


class CommandBar(Widget):
    """The commands that the focused pane and what is around it offer, nearest first.

    What does not fit is left out from the far end, help and palette never. While somebody types, only keys
    are there that are no text.
    """

    def __init__(self) -> None:
        super().__init__()
        self._offers: list[tuple[Commanding, type[Command]]] = []

    def on_mount(self) -> None:
        """Follow the focus."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def render(self) -> Content:
        """One line: the nearest pane's commands, then the app's."""
        typing = isinstance(self.screen.focused, Input)
        self._offers = [
            (pane, command)
            for pane, command in offered(self.screen.focused or self.screen)
            if command.FOOTER and (command.shown_while_typing() if typing else command.KEYS)
        ]
        entries = [_entry(index, command, typing) for index, (_, command) in enumerate(self._offers)]
        of_app = [isinstance(pane, App) for pane, _ in self._offers]
        always = [entry for entry, app in zip(entries, of_app, strict=True) if app]
        room = self.size.width - sum(entry.cell_length + 2 for entry in always)
        fitting: list[Content] = []
        for entry in (entry for entry, app in zip(entries, of_app, strict=True) if not app):
            room -= entry.cell_length + 2
            if room < 0:
                break
            fitting.append(entry)
        return Content("  ").join([*fitting, *always])

    def action_offer(self, index: int) -> None:
        """Post the command that was clicked."""
        if index < len(self._offers):
            pane, command = self._offers[index]
            pane.post_message(command(pane.subject()))


def _entry(index: int, command: type[Command], typing: bool) -> Content:
    key = command.shown_while_typing() if typing else command.shown()
    entry = Content.assemble((key, "bold $accent"), " ", (command.label(), "$text-muted"))
    return entry.stylize(Style.from_meta({"@click": f"offer({index})"}))
