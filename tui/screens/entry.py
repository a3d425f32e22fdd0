"""A dialog that asks for a few lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static


@dataclass(frozen=True, slots=True)
class Field:
    """One line that is asked for.

    Args:
        label: What it is.
        value: What stands in it at first.
        hint: What stands in it while it is empty.
    """

    label: str
    value: str = ""
    hint: str = ""


class Entry(ModalScreen[tuple[str, ...] | None]):
    """Ask for text: enter goes to the next field and at last takes them all, esc leaves it.

    Dismissed with the texts, in the order of the fields; with None when nothing is to be done.

    Args:
        question: What is asked.
        fields: The lines.
        needed: How many of them, from the first on, must not stay empty.
    """

    BINDINGS = [
        Binding("escape", "leave", "leave"),
        Binding("tab,down", "app.focus_next", "next", show=False),
        Binding("shift+tab,up", "app.focus_previous", "previous", show=False),
    ]

    def __init__(self, question: str, fields: Sequence[Field], needed: int = 1) -> None:
        super().__init__()
        self._needed = needed
        self._question = question
        self._fields = tuple(fields)

    def compose(self) -> ComposeResult:
        """The question, a line a field, the keys."""
        with Vertical(id="dialog"):
            yield Static(Content.styled(self._question, "bold"), id="question")
            for field in self._fields:
                yield Static(Content.styled(field.label, "$text-muted"), classes="label")
                entry = Input(field.value, placeholder=field.hint, compact=True)
                entry.cursor_blink = False
                yield entry
            yield Static(
                Content.from_markup("[bold $accent]enter[/] does it  [bold $accent]esc[/] leaves it"),
                classes="keys",
            )

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        entries = list(self.query(Input))
        at = entries.index(event.input)
        if at + 1 < len(entries):
            entries[at + 1].focus()
        elif empty := [entry for entry in entries[: self._needed] if not entry.value.strip()]:
            empty[0].focus()
        else:
            self.dismiss(tuple(entry.value.strip() for entry in entries))

    def action_leave(self) -> None:
        """Nothing is done."""
        self.dismiss(None)
