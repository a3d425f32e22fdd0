"""A list of all metrics: one is drawn alone, several as a grid."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui.widgets.line_list import LineList
from tui.widgets.metric_groups import Group


class GroupList(LineList):
    """One chart a line: is it marked, its name, its metrics."""

    can_focus = False

    def __init__(self, groups: Sequence[Group], marked: Sequence[str]) -> None:
        super().__init__()
        self.groups = list(groups)
        self.marked = {group.name for group in groups if group.name in marked}

    def only(self, text: str) -> None:
        """Show the groups that have the text in their name or in a metric's."""
        wanted = text.casefold()
        self.show([group.name for group in self.groups if wanted in _searched(group)])

    def draw(self, row: int, width: int) -> Content:
        """A line."""
        name = self._keys[row]
        group = next(group for group in self.groups if group.name == name)
        sign = "■ " if name in self.marked else "□ "
        metrics = "  ".join(group.metrics) if group.metrics != (group.name,) else ""
        cells = Content.assemble((sign, "$accent"), f"{group.name:<28}  ", (metrics, "$text-muted"))
        return cells.truncate(width, ellipsis=True)

    def turn(self) -> None:
        """Mark the group under the cursor, or no more."""
        if isinstance(self.key, str):
            self.marked ^= {self.key}
            self.redraw()


def _searched(group: Group) -> str:
    return f"{group.name} {' '.join(group.metrics)}".casefold()


class Search(Input):
    """An entry for words without spaces: that key marks."""

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Is the key text?"""
        return key != "space" and super().check_consume_key(key, character)


class MetricPicker(ModalScreen[tuple[str, ...]]):
    """Choose what is drawn; dismissed with the names of groups, or with none when nothing is to change.

    Args:
        groups: What there is.
        shown: The names of those that are drawn now.
    """

    BINDINGS = [
        Binding("escape", "leave", "leave"),
        Binding("space", "mark", "mark", priority=True),
        Binding("enter", "draw", "draw", priority=True),
        Binding("up", "move(-1)", "up", priority=True),
        Binding("down", "move(1)", "down", priority=True),
        Binding("ctrl+a", "all", "all", priority=True),
    ]

    def __init__(self, groups: Sequence[Group], shown: Sequence[str]) -> None:
        super().__init__()
        self._list = GroupList(groups, shown if len(shown) > 1 else ())
        self._entry = Search(placeholder="type to search", compact=True)

    def compose(self) -> ComposeResult:
        """Entry, list, keys."""
        with Vertical(id="picker"):
            yield self._entry
            yield self._list
            yield Static(
                Content.from_markup(
                    "[bold $accent]space[/] marks  [bold $accent]^a[/] all  "
                    "[bold $accent]enter[/] draws what is marked, else this  [bold $accent]esc[/] leaves"
                ),
                classes="keys",
            )

    def on_mount(self) -> None:
        """All of them."""
        self._list.only("")
        self._entry.focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._list.only(event.value)

    def action_move(self, by: int) -> None:
        """Another line."""
        self._list.action_move(by)

    def action_mark(self) -> None:
        """Mark it and go on."""
        self._list.turn()
        self._list.action_move(1)

    def action_all(self) -> None:
        """Mark all that are listed, or none."""
        listed = {str(key) for key in self._list._keys}
        self._list.marked = (
            self._list.marked - listed if listed <= self._list.marked else (self._list.marked | listed)
        )
        self._list.redraw()

    def action_draw(self) -> None:
        """Those that are marked in the order of the list; else the one under the cursor."""
        marked = tuple(group.name for group in self._list.groups if group.name in self._list.marked)
        here = (str(self._list.key),) if self._list.key is not None else ()
        self.dismiss(marked or here)

    def action_leave(self) -> None:
        """Nothing changes."""
        self.dismiss(())
