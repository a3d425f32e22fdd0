"""The log pane: what the trainer printed, followed as it grows, filtered as one types."""

from __future__ import annotations

import re

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input

from engine.analysis.format import count
from engine.analysis.snapshot import JobDetail
from tui.commands import Command, Commanding
from tui.widgets.log_view import LogView
from tui.widgets.title_line import TitleLine


class EditFilter(Command):
    """Show only the lines that match a regular expression; case counts when it has a capital letter."""

    KEYS = "slash"
    LABEL = "filter"
    FOOTER = True


class InvertFilter(Command):
    """Show the lines that do not match instead, or the other way round."""

    KEYS = "exclamation_mark"
    LABEL = "invert"


class ToggleFollow(Command):
    """Follow the end of the log, or stay where it is."""

    KEYS = "f"
    LABEL = "follow"
    FOOTER = True


class NextError(Command):
    """Go to the next line that tells of an error."""

    KEYS = "e"
    LABEL = "next error"
    FOOTER = True


class ToggleWrap(Command):
    """Wrap long lines, or cut them."""

    KEYS = "w"
    LABEL = "wrap"
    FOOTER = True


class PointChart(Command):
    """Put the chart's crosshair where this line is."""

    KEYS = "enter"
    LABEL = "show in chart"


class CopyLine(Command):
    """Copy this line to the clipboard."""

    KEYS = "y"
    LABEL = "copy line"


class ClearFilter(Command):
    """Show all lines again."""

    KEYS = "escape"
    LABEL = "clear filter"


class LogPane(Commanding, Vertical):
    """What the trainer printed, as it grows."""

    TITLE_IN_HELP = "Log"
    COMMANDS = (
        EditFilter,
        InvertFilter,
        ClearFilter,
        ToggleFollow,
        NextError,
        ToggleWrap,
        PointChart,
        CopyLine,
    )

    class Chosen(Message):
        """The user wants to see this step in the chart."""

        def __init__(self, step: int) -> None:
            self.step = step
            super().__init__()

    detail: reactive[JobDetail | None] = reactive(None)
    inverted: reactive[bool] = reactive(False)
    pattern: reactive[str] = reactive("")

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._path: str | None = None
        self._left_end = False
        self._view = LogView()
        self._title = TitleLine("log")
        self._entry = Input(placeholder="regular expression · enter keeps it · esc shows all", compact=True)

    def compose(self) -> ComposeResult:
        """Title, window, the filter's entry while it is edited."""
        yield self._title
        yield self._view
        yield self._entry

    def on_mount(self) -> None:
        """No entry until it is asked for."""
        self._entry.display = False

    def watch_detail(self) -> None:
        """Another run, another log."""
        path = self.detail.log_path if self.detail else None
        if path != self._path:
            self._path = path
            self._view.open(path)

    # The filter

    def on_edit_filter(self) -> None:
        """Open the entry."""
        self._entry.display = True
        self._entry.focus()

    def on_invert_filter(self) -> None:
        """The others."""
        self.inverted = not self.inverted

    def on_clear_filter(self) -> None:
        """All lines; the entry goes."""
        self._entry.value = ""
        self._close_entry()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.pattern = event.value

    @on(Input.Submitted)
    def _close_entry(self) -> None:
        self._entry.display = False
        self._view.focus()

    def watch_pattern(self) -> None:
        """Filter as it is typed; half a regular expression changes nothing yet."""
        try:
            self._view.let_through(self.pattern, inverted=self.inverted)
            self._entry.set_class(False, "-bad")
        except re.error:
            self._entry.set_class(True, "-bad")
        self._tell()

    def watch_inverted(self) -> None:
        """The same pattern the other way round."""
        self.watch_pattern()

    # Keys

    def on_toggle_follow(self) -> None:
        """Follow or freeze."""
        self._view.following = not self._view.following

    def on_toggle_wrap(self) -> None:
        """Wrap or cut."""
        self._view.wrap = not self._view.wrap

    async def on_next_error(self) -> None:
        """Look for it in a thread."""
        self.run_worker(self._seek_error(), group="seek", exclusive=True)

    async def _seek_error(self) -> None:
        if not await self._view.go_to_next_error():
            self.notify("No error below this line.", timeout=2)

    def on_copy_line(self) -> None:
        """To the clipboard of the terminal, over SSH too (OSC 52)."""
        if line := self._view.here:
            self.app.copy_to_clipboard(line)
            self.notify("Line copied.", timeout=2)

    def on_point_chart(self) -> None:
        """Ask for the crosshair."""
        if (step := self._view.step) is not None:
            self.post_message(self.Chosen(step).set_sender(self))

    def look_at_step(self, step: int | None) -> None:
        """Show what was printed at a step; None goes back to following, if that is where we were."""
        if step is not None:
            self._left_end = self._left_end or self._view.following
            self.run_worker(self._view.go_to_step(step), group="seek", exclusive=True)
        elif self._left_end:
            self._left_end = False
            self._view.following = True

    # What the title says

    @on(LogView.Changed)
    def _tell(self) -> None:
        lines = self._view.lines
        if lines is None:
            self._title.facts = Content("")
            return
        facts = [(_lines(lines.lines), "$text-muted")]
        if self.pattern:
            sign = "!" if self.inverted else "/"
            going_on = " …" if lines.searching else ""
            facts = [
                (f"{sign}{self.pattern}", "bold $accent"),
                (f"{count(lines.rows)} of {_lines(lines.lines)}{going_on}", "$text-muted"),
            ]
        facts.append(("following", "$text-muted") if self._view.following else ("frozen", "$warning"))
        self._title.facts = Content("  ").join([Content.styled(text, style) for text, style in facts])


def _lines(number: int) -> str:
    return "1 line" if number == 1 else f"{count(number)} lines"
