"""The window on a log: only the visible lines are read, cleaned and painted, however many there are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollTo
from textual.strip import Strip

from tui.widgets.clean import segments
from tui.widgets.log_filter import marked
from tui.widgets.log_lines import NEAR, LogLines
from tui.widgets.log_paint import ERROR, Looks, paint
from tui.widgets.log_places import Kind, Wanted

if TYPE_CHECKING:
    import regex

_NEXT_ERROR = re.compile(ERROR.encode())


class LogView(ScrollView, can_focus=True):
    """Rows of a log, with a cursor. It follows the end until somebody moves away from it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "log--cursor",
        "log--error",
        "log--warning",
        "log--time",
        "log--match",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "page down", show=False),
        Binding("left,h", "shift(-16)", "left", show=False),
        Binding("right,l", "shift(16)", "right", show=False),
        Binding("home,g", "first", "first", show=False),
        Binding("end,G", "last", "last", show=False),
    ]

    following: reactive[bool] = reactive(True)
    wrap: reactive[bool] = reactive(False)
    times: reactive[bool] = reactive(True)
    """Are the times shown that lines begin with?"""

    class Changed(Message):
        """There are more rows, or others, or the cursor moved."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: LogLines | None = None
        self._cursor = 0
        self._wanted: int | None = None
        self._match: regex.Pattern[str] | None = None
        self._widest = 0
        self._left = 0
        self._strips: LRUCache[int, Strip] = LRUCache(1024)
        self._layout: list[tuple[int, int]] | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.lines.rows if self.lines else 0

    @property
    def cursor(self) -> int:
        """The row of the cursor."""
        return max(0, min(self._cursor, self.rows - 1))

    @property
    def here(self) -> str:
        """The text under the cursor."""
        line = self.lines.line(self.cursor) if self.lines else b""
        return "".join(segment.text for segment in segments(line))

    def open(self, path: str | None) -> None:
        """Show another file from its end; None shows nothing."""
        self.workers.cancel_group(self, "follow")
        self.lines = LogLines(path, self._grown, self._moved) if path else None
        self._cursor, self._widest, self._left, self._match = 0, 0, 0, None
        self.following = True
        self._renew()
        if self.lines:
            self.run_worker(self.lines.keep_up(), group="follow")

    def let_through(self, pattern: str, *, inverted: bool = False) -> None:
        """Filter the rows, and keep the cursor on its line or near it.

        Raises:
            BadPattern: It is no regular expression.
        """
        if self.lines is None:
            return
        self._wanted = self.lines.number(self.cursor)
        self.lines.let_through(pattern, inverted=inverted)
        self._match = None
        if pattern and not inverted:
            self._match = marked(pattern)
        self._renew()

    def go(self, row: int, *, follow: bool = False) -> None:
        """Put the cursor on a row and bring it into view."""
        self.following, self._wanted = follow, None
        self._cursor = max(0, min(row, self.rows - 1))
        self._settle()

    def go_to_line(self, number: int) -> None:
        """Put the cursor on a line of the file, or on the next that is shown."""
        if self.lines is None:
            return
        row, before = self.lines.row(number), self.scroll_offset.y
        self.go(row)
        if self.scroll_offset.y != before:  # it was out of sight: show what stands around it
            self.scroll_to(y=max(0, row - self.size.height // 3), animate=False, immediate=True, force=True)

    async def go_to_place(self, *wanted: Wanted) -> bool:
        """Put the cursor where the first of these is that the log tells; False when it tells none."""
        for place in wanted if self.lines else ():
            assert self.lines is not None
            number = await self.lines.find_place(place, self.lines.number(self.cursor) + 1)
            if number is not None:
                self.go_to_line(number)
                return True
        return False

    def told(self, kind: Kind) -> float | None:
        """The step or epoch that the line under the cursor tells, or the one before it that tells one."""
        if self.lines is None or not self.rows:
            return None
        first = self.lines.number(self.cursor)
        told = (self.lines.told(kind, number) for number in range(first, max(-1, first - NEAR), -1))
        return next((value for value in told if value is not None), None)

    async def go_to_next_error(self) -> bool:
        """Put the cursor on the next row that tells of an error; False when there is none below."""
        row = await self.lines.find(_NEXT_ERROR, self.cursor + 1) if self.lines else None
        if row is not None:
            self.go(row)
        return row is not None

    def action_move(self, by: int) -> None:
        """Move the cursor by some rows; on from the last row is to follow on."""
        self.go(self.cursor + by, follow=self.following and by > 0)

    def action_page(self, by: int) -> None:
        """Move the cursor by a windowful."""
        self.action_move(by * max(1, self.size.height - 1))

    def action_shift(self, by: int) -> None:
        """Look further left or right in lines that are cut."""
        most = max(0, self._widest - self.scrollable_content_region.width)
        self._left = 0 if self.wrap else max(0, min(self._left + by, most))
        self.refresh()

    def action_first(self) -> None:
        """The beginning of the log."""
        self.go(0)

    def action_last(self) -> None:
        """Its end, and follow it."""
        self.go(self.rows, follow=True)

    # Keeping the window in place while rows come

    def _grown(self) -> None:
        """More rows; the last line may have been torn before and be whole now."""
        if self.lines:
            for number in (self.lines.lines - 1, self.lines.lines - 2):
                self._strips.discard(number)
        # Who scrolled away from the cursor stays there.
        self._settle(look=self.following or self._wanted is not None)

    def _moved(self, by: int) -> None:
        """So many rows came before those that are shown: stay with them."""
        self._strips.clear()
        if self.lines is None or self.lines.filter is not None:
            return
        self._cursor += by
        if self._wanted is not None:
            self._wanted += by
        place = self.scroll_offset.y + by
        self.virtual_size = Size(0, self.rows)
        self.scroll_to(y=place, animate=False, immediate=True, force=True)

    def _renew(self) -> None:
        """Other rows."""
        self._strips.clear()
        self._settle()

    def _settle(self, *, look: bool = True) -> None:
        height = self.size.height
        # In wrap mode a row may take many lines of the screen: let every row come to the top.
        spare = max(0, height - 1) if self.wrap else 0
        size = Size(0, self.rows + spare)
        if size != self.virtual_size:
            self.virtual_size = size
        if self.following:
            self._cursor = max(0, self.rows - 1)
        elif self._wanted is not None and self.lines:
            self._cursor = self.lines.row(self._wanted)
        if look:
            self._look()
        self.vertical_scrollbar.position = self.scroll_y
        self._layout = None
        self.refresh()
        self.post_message(self.Changed())

    def _look(self) -> None:
        """Bring the cursor into view."""
        height, top = self.size.height, self.scroll_offset.y
        bottom = top + height - 1
        if self.following or self.cursor > bottom:
            self.scroll_to(y=max(0, self.cursor - height + 1), animate=False, immediate=True, force=True)
        elif self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True, force=True)

    # Drawing

    def render_line(self, y: int) -> Strip:
        """The line at `y` of the window."""
        width = self.scrollable_content_region.width
        window = self._window()
        if y >= len(window):
            return Strip.blank(width, self.rich_style)
        row, part = window[y]
        start = part * width if self.wrap else self._left
        strip = self._strip(row).crop_extend(start, start + width, self.rich_style)
        if row == self.cursor and (self.has_focus or not self.following):
            strip = strip.apply_style(self.get_component_rich_style("log--cursor"))
        return strip

    def _window(self) -> list[tuple[int, int]]:
        """What each line of the screen shows: a row, and which of its parts when it is wrapped."""
        if self._layout is None:
            first, height = self.scroll_offset.y, self.size.height
            if not self.wrap:
                self._layout = [(row, 0) for row in range(first, min(self.rows, first + height))]
            elif self.following:
                self._layout = self._wrapped(range(self.rows - 1, -1, -1), height)[::-1]
            else:
                self._layout = self._wrapped(range(first, self.rows), height)
        return self._layout

    def _wrapped(self, rows: range, height: int) -> list[tuple[int, int]]:
        """The parts of wrapped rows, in the order of `rows`, until the screen is full."""
        window: list[tuple[int, int]] = []
        width = max(1, self.scrollable_content_region.width)
        for row in rows:
            if len(window) >= height:
                break
            parts = range(max(1, -(-self._strip(row).cell_length // width)))
            window.extend((row, part) for part in (parts if rows.step > 0 else reversed(parts)))
        return window[:height]

    def _strip(self, row: int) -> Strip:
        assert self.lines is not None
        number = self.lines.number(row)
        if (strip := self._strips.get(number)) is None:
            strip = paint(self.lines.line(row), self._looks(), self._match, times=self.times)
            self._strips[number] = strip
            self._widest = max(self._widest, strip.cell_length)
        return strip

    def _looks(self) -> Looks:
        component = self.get_component_rich_style
        parts = (component(f"log--{name}", partial=True) for name in ("time", "warning", "error", "match"))
        return Looks(self.rich_style, *parts)

    # What changes the window

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Other rows are in the window."""
        super().watch_scroll_y(old, new)
        self._layout = None

    def watch_following(self) -> None:
        """Begin or stop to follow."""
        self._wanted = None
        self._settle()

    def watch_wrap(self) -> None:
        """Wrap long lines or not."""
        self._left = 0
        self._settle()

    def watch_times(self) -> None:
        """Show or hide them."""
        self._renew()

    def notify_style_update(self) -> None:
        """The theme changed."""
        super().notify_style_update()
        self._strips.clear()

    def on_resize(self) -> None:
        """The window's size changed."""
        self._settle()

    def on_focus(self) -> None:
        """The cursor appears."""
        self.refresh()

    def on_blur(self) -> None:
        """The cursor goes, unless it marks a place."""
        self.refresh()

    def on_mouse_scroll_up(self) -> None:
        """Looking back freezes the window."""
        self._freeze()

    def on_mouse_scroll_down(self) -> None:
        """Elsewhere than at the cursor's line."""
        self._wanted = None

    def on_scroll_to(self, message: ScrollTo) -> None:
        """So does the scroll bar."""
        self._freeze()

    def _freeze(self) -> None:
        self._wanted = None
        if self.following:
            self.set_reactive(LogView.following, False)
            self._cursor = self.scroll_offset.y
            self.post_message(self.Changed())

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is."""
        window = self._window()
        if event.y < len(window):
            self.go(window[event.y][0])
