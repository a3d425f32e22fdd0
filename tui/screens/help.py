"""Help: what the keys of the focused pane do, and those of everything around it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Final

from textual.app import ComposeResult
from textual.containers import HorizontalGroup, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.commands import Command, Commanding

MOVES: Final = (
    ("↑ ↓", "line", "Also k and j."),
    ("pgup pgdn", "windowful", "Also ^b and ^f."),
    ("g G", "ends", "Also home and end."),
    ("tab", "panes", "The next pane; with shift, the one before."),
)
"""Keys that are the same in every list."""


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
                yield from _row(Content.styled(title, "bold $accent"), about, "title")
                for _, command in group:
                    key = command.shown() if command.KEYS else ""
                    yield from _row(
                        Content.assemble((f"{key:>9}", "bold"), f"  {command.label()}"), command.help()
                    )
            yield from _row(Content.styled("Moving", "bold $accent"), "In lists and logs.", "title")
            for key, label, help in MOVES:
                yield from _row(Content.assemble((f"{key:>9}", "bold"), f"  {label}"), help)
            yield from _row(Content.styled("esc", "bold"), "Close this.", "title")


def _row(left: Content, right: str, classes: str = "") -> ComposeResult:
    """A line of two columns; the right one wraps."""
    with HorizontalGroup(classes=classes):
        yield Static(left, classes="what")
        yield Static(Content.styled(right, "$text-muted"))
