"""Lists to choose from: the saved filters, and the columns of the run list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.widgets.clean import clean
from tui.widgets.line_list import LineList
from tui.widgets.run_columns import COLUMNS, USUAL

FilterChoice = tuple[Literal["use", "forget"], str]
"""What is to be done with which saved filter."""

_KEYS = "[bold $accent]{}[/] {}"


def _keys(*pairs: tuple[str, str]) -> Static:
    return Static(Content.from_markup("  ".join(_KEYS.format(*pair) for pair in pairs)), classes="keys")


class _Lines(LineList):
    """Lines that the dialog draws.

    Args:
        lines: By key, in their order.
    """

    def __init__(self, lines: Mapping[str, Content]) -> None:
        super().__init__()
        self.lines = dict(lines)

    def on_mount(self) -> None:
        """List them."""
        self.show(list(self.lines))

    def draw(self, row: int, width: int) -> Content:
        """A line."""
        return self.lines[str(self._keys[row])].truncate(width, ellipsis=True)


class FilterMenu(ModalScreen[FilterChoice | None]):
    """Choose a saved filter; dismissed with it and with what is to be done.

    Args:
        filters: Their texts by name.
    """

    BINDINGS = [
        Binding("escape,q", "leave", "leave"),
        Binding("enter", "choose('use')", "use", priority=True),
        Binding("d", "choose('forget')", "forget"),
    ]

    def __init__(self, filters: Mapping[str, str]) -> None:
        super().__init__()
        width = max(map(len, filters), default=0) + 1
        self._list = _Lines(
            {
                name: Content.assemble((f"@{name:<{width}}", "bold"), (f" {clean(text)}", "$text-muted"))
                for name, text in sorted(filters.items())
            }
        )

    def compose(self) -> ComposeResult:
        """The list and its keys."""
        with Vertical(id="choices"):
            yield Static(Content.styled("Saved filters", "bold"))
            yield self._list
            yield _keys(("enter", "uses it"), ("d", "forgets it"), ("esc", "leaves"))

    def on_mount(self) -> None:
        """The keys go to the list."""
        self._list.focus()

    def action_choose(self, what: Literal["use", "forget"]) -> None:
        """That one."""
        self.dismiss((what, str(self._list.key)) if self._list.key else None)

    def action_leave(self) -> None:
        """None of them."""
        self.dismiss(None)


class ColumnChoice(ModalScreen[tuple[str, ...] | None]):
    """Choose columns; dismissed with their names, none for the usual ones.

    Args:
        chosen: Those that are chosen now; none for the usual ones.
    """

    BINDINGS = [
        Binding("escape,q", "leave", "leave"),
        Binding("enter", "take", "take", priority=True),
        Binding("space", "turn", "choose"),
        Binding("u", "usual", "usual"),
    ]

    def __init__(self, chosen: Sequence[str]) -> None:
        super().__init__()
        self._chosen = set(chosen or USUAL)
        self._list = _Lines({})
        self._draw()

    def compose(self) -> ComposeResult:
        """The list and its keys."""
        with Vertical(id="choices"):
            yield Static(Content.styled("Columns, as far as there is room", "bold"))
            yield self._list
            yield _keys(
                ("space", "chooses"), ("u", "the usual ones"), ("enter", "takes them"), ("esc", "leaves")
            )

    def on_mount(self) -> None:
        """The keys go to the list."""
        self._list.focus()

    def _draw(self) -> None:
        for column in COLUMNS:
            mark = ("■ ", "$accent") if column.name in self._chosen else ("□ ", "$text-muted")
            self._list.lines[column.name] = Content.assemble(mark, column.title)

    def action_turn(self) -> None:
        """The one under the cursor."""
        self._chosen ^= {str(self._list.key)}
        self._draw()
        self._list.redraw()
        self._list.action_move(1)

    def action_usual(self) -> None:
        """Those that are shown when nobody has chosen."""
        self._chosen = set(USUAL)
        self._draw()
        self._list.redraw()

    def action_take(self) -> None:
        """In the order of the list."""
        names = tuple(column.name for column in COLUMNS if column.name in self._chosen)
        self.dismiss(() if names == USUAL else names)

    def action_leave(self) -> None:
        """As before."""
        self.dismiss(None)
