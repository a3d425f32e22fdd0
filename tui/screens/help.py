"""Help: what the keys of the focused pane do, and those of everything around it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.commands import Command, Commanding


class HelpScreen(ModalScreen[None]):
    """A page made of the commands themselves, so that it can't be wrong.

    Args:
        offers: The commands on offer, each with the pane that offers it, nearest first.
    """

    BINDINGS = [("question_mark,f1,escape,q", "dismiss", "close")]

    def __init__(self, offers: Iterable[tuple[Commanding, type[Command]]]) -> None:
        super().__init__()
        self._offers = list(offers)

    def compose(self) -> ComposeResult:
        """One section a pane."""
        with VerticalScroll(id="help"):
            for pane, group in groupby(self._offers, key=lambda offer: offer[0]):
                title = pane.TITLE_IN_HELP or type(pane).__name__
                about = " ".join((type(pane).__doc__ or "").split("\n\n")[0].split())
                yield Static(
                    Content.assemble((title, "bold $accent"), "  ", (about, "$text-muted")), classes="title"
                )
                for _, command in group:
                    yield Static(_line(command))
            yield Static(Content.styled("esc closes this", "$text-muted"), classes="title")


def _line(command: type[Command]) -> Content:
    keys = command.shown() if command.KEYS else ""
    return Content.assemble(
        (f"{keys:>8}  ", "bold"), f"{command.label():<16}", (command.help(), "$text-muted")
    )
