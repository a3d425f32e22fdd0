"""A list of thousands of lines: only visible ones are drawn, and the cursor follows an entry, not a row."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip


class LineList(ScrollView, can_focus=True):
    """A vertical list whose entries have keys.

    A subclass draws an entry with `draw`; it calls `show` when the entries or their order change, and
    `redraw` when they only look different. When entries come or go, the cursor stays on its entry, and
    that stays where it is on the screen. An entry that is filtered away gets the cursor back when it returns.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line-list--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "page down", show=False),
        Binding("home,g", "go(0)", "first", show=False),
        Binding("end,G", "go(-1)", "last", show=False),
    ]

    class Moved(Message):
        """The cursor is on another entry."""

        def __init__(self, lines: LineList, key: Hashable | None) -> None:
            self.lines = lines
            self.key = key
            super().__init__()

        @property
        def control(self) -> LineList:
            """The list whose cursor moved."""
            return self.lines

    class Resized(Message):
        """The list has another width: what stands over its columns must move."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._keys: Sequence[Hashable] = ()
        self._row_of: dict[Hashable, int] = {}
        self._row = 0
        self._wanted: Hashable | None = None
        self._here: Hashable | None = None
        self._drawn: LRUCache[tuple[int, int, bool], Strip] = LRUCache(512)

    # What a subclass provides

    def draw(self, row: int, width: int) -> Content:
        """The entry in that row as one line of at most `width` cells."""
        raise NotImplementedError

    # What a subclass and a screen ask

    @property
    def key(self) -> Hashable | None:
        """The entry under the cursor; None when the list is empty."""
        return self._keys[self._row] if self._keys else None

    @property
    def row(self) -> int:
        """The row of the cursor."""
        return self._row

    def row_of(self, key: Hashable) -> int | None:
        """The row of an entry; None when it is not shown."""
        return self._row_of.get(key)

    def show(self, keys: Sequence[Hashable]) -> None:
        """Show these entries, in this order."""
        before, place = self._row, self._row - self.scroll_offset.y
        self._keys = keys
        self._row_of = {key: row for row, key in enumerate(keys)}
        self._row = self._settle(before)
        self.virtual_size = Size(0, len(keys))
        self.redraw()
        if self.scroll_offset.y > 0 and self._row != before:
            self.scroll_to(y=self._row - place, animate=False)
        self._look()
        self._tell()

    def redraw(self) -> None:
        """Draw all entries anew."""
        self._drawn.clear()
        self.refresh()

    def go_to(self, key: Hashable) -> None:
        """Move the cursor to an entry; do nothing when it is not shown."""
        if (row := self._row_of.get(key)) is not None:
            self.move_to(row)

    def move_to(self, row: int) -> None:
        """Move the cursor to a row, or to the nearest that exists."""
        if self._keys:
            self._row = max(0, min(row, len(self._keys) - 1))
            self._wanted = self.key
            self._look()
            self._tell()

    def _settle(self, before: int) -> int:
        """The row of the entry that the user chose last, else of what had the cursor, else the same row."""
        for key in (self._wanted, self._here):
            if key is not None and (row := self._row_of.get(key)) is not None:
                return row
        return max(0, min(before, len(self._keys) - 1))

    def _look(self) -> None:
        """Bring the cursor into view."""
        height, top = self.scrollable_content_region.height, self.scroll_offset.y
        if height and not top <= self._row < top + height:
            self.scroll_to(y=self._row if self._row < top else self._row - height + 1, animate=False)
        self.refresh()

    def _tell(self) -> None:
        """Post `Moved` when another entry has the cursor."""
        if self.key != self._here:
            self._here = self.key
            self.post_message(self.Moved(self, self._here))

    # Drawing

    def render_line(self, y: int) -> Strip:
        """The line at `y` of the window."""
        width, row = self.scrollable_content_region.width, y + self.scroll_offset.y
        if not 0 <= row < len(self._keys):
            return Strip.blank(width, self.visual_style.rich_style)
        at_cursor = row == self._row
        if (strip := self._drawn.get((row, width, at_cursor))) is None:
            ground = self.get_visual_style("line-list--cursor") if at_cursor else self.visual_style
            parts = self.draw(row, width).render(ground, "", self.app.stylesheet.parse_style)
            segments = [Segment(text, style.rich_style) for text, style in parts]
            strip = Strip(segments).adjust_cell_length(width, ground.rich_style)
            self._drawn[(row, width, at_cursor)] = strip
        return strip

    def notify_style_update(self) -> None:
        """Forget drawn lines when the theme changes."""
        super().notify_style_update()
        self._drawn.clear()

    # Keys and mouse

    def action_move(self, by: int) -> None:
        """Move the cursor by some rows."""
        self.move_to(self._row + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by a windowful."""
        self.move_to(self._row + by * max(1, self.scrollable_content_region.height - 1))

    def action_go(self, row: int) -> None:
        """Move the cursor to a row; negative counts from the end."""
        self.move_to(row if row >= 0 else len(self._keys) + row)

    def on_resize(self, _: events.Resize) -> None:
        """Keep the cursor in view."""
        self._look()
        self.post_message(self.Resized())

    def on_focus(self) -> None:
        """Show that the cursor is live."""
        self.redraw()

    def on_blur(self) -> None:
        """Show that the cursor rests."""
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to what was clicked; a second click chooses it."""
        offset = event.get_content_offset(self)
        row = self.scroll_offset.y + offset.y if offset else -1
        if offset is None or not 0 <= row < len(self._keys):
            return
        event.stop()
        self.move_to(row)
        self.clicked(offset.x, event.chain)

    def clicked(self, x: int, chain: int) -> None:
        """The entry under the cursor was clicked in column `x`, for the `chain`th time in a row."""
