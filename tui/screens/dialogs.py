"""The dialogs that stand before something that can't simply be taken back."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static


class Confirm(ModalScreen[bool]):
    """Ask before a wish is carried out: y or enter on the button does it, esc and n do not.

    Args:
        warning: What is lost; its first line is the question.
        verb: What the button says.
    """

    BINDINGS = [
        ("y", "answer(True)", "yes"),
        ("n,escape,q", "answer(False)", "no"),
        ("left,right,h,l", "app.focus_next", "other"),
        ("down,j,pagedown", "scroll(1)", "down"),
        ("up,k,pageup", "scroll(-1)", "up"),
    ]
    AUTO_FOCUS = "#no"

    def __init__(self, warning: str, verb: str) -> None:
        super().__init__()
        self._question, _, self._detail = warning.partition("\n")
        self._verb = verb

    def compose(self) -> ComposeResult:
        """The question, what is lost, two buttons."""
        with Vertical(id="dialog"):
            yield Static(Content.styled(self._question, "bold"), id="question")
            with VerticalScroll(id="long", can_focus=False):
                yield Static(Content(self._detail), id="detail")
            with Horizontal(id="buttons"):
                yield Button(Content(f"{self._verb} (y)"), id="yes", variant="error", compact=True)
                yield Button(Content("leave it (n)"), id="no", compact=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        """Close with an answer."""
        self.dismiss(yes)

    def action_scroll(self, by: int) -> None:
        """Read on in a list that is longer than the dialog."""
        self.query_one("#long").scroll_relative(y=5 * by, animate=False)
