"""The waste ledger: where time and money went, by model, week or phase."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, get_args

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.analysis import format as words
from engine.analysis.waste import Group, Line, Paid
from engine.errors import PodiumError
from tui import ledger_table
from tui.widgets.clean import clean
from tui.widgets.line_list import LineList
from tui.widgets.run_cells import fit

Read = Callable[[Group], Awaitable[Sequence[Line]]]
"""Reads the ledger, off the event loop."""

_KEYS: Final = {"m": "model", "w": "week", "p": "phase"}
_GAP: Final = 2
_GIVE_WAY: Final = ("RUNS", "IDLE", "PROVISIONING", "CRASHED", "TIME")
"""The columns that give way where there is no room, the first at first."""


class LedgerLines(LineList):
    """The lines of the ledger as a table; `heads` gives the titles of the columns for a width."""

    def __init__(self) -> None:
        super().__init__()
        self._head: tuple[str, ...] = ()
        self._rows: list[tuple[str, ...]] = []

    def fill(self, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """Show these."""
        self._head, self._rows = head, [(clean(row[0]), *row[1:]) for row in rows]
        self.show(list(range(len(rows))))

    def heads(self, width: int) -> Content:
        """The titles."""
        return Content(self._line(self._head, width))

    def draw(self, row: int, width: int) -> Content:
        """A line."""
        return Content(self._line(self._rows[row], width))

    def _line(self, row: tuple[str, ...], width: int) -> str:
        widths = {at: self._width(at) for at in range(1, len(self._head)) if self._told(at)}
        for name in _GIVE_WAY:
            if width - sum(cells + _GAP for cells in widths.values()) >= 16:
                break
            widths = {at: cells for at, cells in widths.items() if self._head[at] != name}
        least = max((len(each[0]) for each in self._rows), default=8)
        first = max(8, min(least, width - sum(cells + _GAP for cells in widths.values())))
        cells = (" " * _GAP + fit(row[at], cells, right=True) for at, cells in widths.items())
        return fit(row[0], first) + "".join(cells)

    def _told(self, at: int) -> bool:
        """Has any line something to say in that column?"""
        return any(row[at] != words.UNKNOWN for row in self._rows)

    def _width(self, at: int) -> int:
        return max(len(row[at]) for row in (self._head, *self._rows))


class Ledger(ModalScreen[None]):
    """Where time and money went, of all runs, the hidden ones too.

    Args:
        read: Reads it.
    """

    BINDINGS = [
        Binding("escape,q,dollar_sign", "dismiss", "close"),
        *(Binding(key, f"by({group!r})", group) for key, group in _KEYS.items()),
        Binding("tab", "next", "next", show=False),
    ]

    def __init__(self, read: Read) -> None:
        super().__init__()
        self._read = read
        self._by: Group = "model"
        self._lines: Sequence[Line] = ()

    def compose(self) -> ComposeResult:
        """What it is about, the table, the sum, the keys."""
        with Vertical(id="sheet"):
            yield Static(Content.styled("Where time and money went", "bold"), id="title")
            yield Static(classes="heads")
            yield LedgerLines()
            yield Static(classes="said")
            keys = "  ".join(f"[bold $accent]{key}[/] by {group}" for key, group in _KEYS.items())
            yield Static(Content.from_markup(f"{keys}  [bold $accent]esc[/] leaves"), classes="keys")

    def on_mount(self) -> None:
        """Read it."""
        self.query_one(LedgerLines).focus()
        self.action_by("model")

    def action_by(self, group: Group) -> None:
        """Look at it in another way."""
        self._by = group
        self.run_worker(self._load(group), exclusive=True)

    def action_next(self) -> None:
        """Around."""
        groups: tuple[Group, ...] = get_args(Group)
        self.action_by(groups[(groups.index(self._by) + 1) % len(groups)])

    async def _load(self, group: Group) -> None:
        said = self.query_one(".said", Static)
        try:
            self._lines = await self._read(group)
        except PodiumError as error:
            said.update(Content.styled(str(error), "$warning"))
            return
        table = self.query_one(LedgerLines)
        table.fill(*ledger_table.table(self._lines, group))
        self.query_one("#title", Static).update(
            Content.assemble(("Where time and money went", "bold"), (f", by {group}", "$text-muted"))
        )
        said.update(Content(self._sum()))
        self.call_after_refresh(self._show_heads)

    def on_line_list_resized(self) -> None:
        """The titles stand over their columns."""
        self._show_heads()

    def _show_heads(self) -> None:
        table = self.query_one(LedgerLines)
        width = table.scrollable_content_region.width
        self.query_one(".heads", Static).update(table.heads(width) if self._lines else Content(""))

    def _sum(self) -> str:
        """All of it in a line."""
        if not self._lines:
            return "Nothing was spent yet."
        paid = sum((line.paid for line in self._lines), Paid())
        wasted = sum((line.wasted for line in self._lines), Paid())
        of = (
            f"{words.dollars(wasted.dollars)} of {words.dollars(paid.dollars)}"
            if paid.dollars
            else (f"{words.duration(wasted.seconds)} of {words.duration(paid.seconds)}")
        )
        said = f"{of} left nothing that was kept: provisioning, idle, after the best, crashed."
        return f"{said}\n{ledger_table.UNPRICED}" if ledger_table.unpriced(self._lines) else said
