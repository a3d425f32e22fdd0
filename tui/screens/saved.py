"""The saved comparisons: opened again, or forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.analysis import format as words
from engine.records import SavedComparison
from tui.widgets.clean import clean
from tui.widgets.line_list import LineList

Choice = tuple[Literal["open", "forget"], SavedComparison]
"""What is to be done with which."""


class SavedList(LineList):
    """One comparison a line: its name, its runs, when it was saved, its notes.

    Args:
        saved: They.
        names: What their runs are called, by id.
        now: Dates are shown against it.
    """

    def __init__(self, saved: Sequence[SavedComparison], names: Mapping[str, str], now: datetime) -> None:
        super().__init__()
        self._saved = {each.id: each for each in saved}
        self._names, self._now = names, now

    @property
    def chosen(self) -> SavedComparison | None:
        """The one under the cursor."""
        return self._saved.get(str(self.key))

    def on_mount(self) -> None:
        """List them."""
        self.show(list(self._saved))

    def draw(self, row: int, width: int) -> Content:
        """A line."""
        saved = self._saved[str(self._keys[row])]
        names = (self._names.get(job_id, "a run that is not shown") for job_id in saved.job_ids)
        runs = words.listed(map(clean, names))
        line = Content.assemble(
            (clean(saved.name), "bold"),
            f"  {words.day(saved.created_at, self._now)}  {len(saved.job_ids)} runs  ",
            (f"{runs}  ", "$text-muted"),
            (clean(" ".join(saved.notes.split())), "$secondary"),
        )
        return line.truncate(width, ellipsis=True)


class Saved(ModalScreen[Choice | None]):
    """Choose a saved comparison; dismissed with it and with what is to be done.

    Args:
        saved: They.
        names: What their runs are called, by id.
        now: Dates are shown against it.
    """

    BINDINGS = [
        Binding("escape,q", "leave", "leave"),
        Binding("enter", "choose('open')", "open", priority=True),
        Binding("d", "choose('forget')", "forget"),
    ]

    def __init__(self, saved: Sequence[SavedComparison], names: Mapping[str, str], now: datetime) -> None:
        super().__init__()
        self._list = SavedList(saved, names, now)

    def compose(self) -> ComposeResult:
        """The list and its keys."""
        with Vertical(id="saved"):
            yield Static(Content.styled("Saved comparisons", "bold"))
            yield self._list
            yield Static(
                Content.from_markup(
                    "[bold $accent]enter[/] opens  [bold $accent]d[/] forgets (its runs stay)  "
                    "[bold $accent]esc[/] leaves"
                ),
                classes="keys",
            )

    def on_mount(self) -> None:
        """The keys go to the list."""
        self._list.focus()

    def action_choose(self, what: Literal["open", "forget"]) -> None:
        """That one."""
        chosen = self._list.chosen
        self.dismiss((what, chosen) if chosen else None)

    def action_leave(self) -> None:
        """None of them."""
        self.dismiss(None)
