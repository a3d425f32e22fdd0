"""The filter line above a list: what is typed filters at once, what can't be understood is said beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.suggester import Suggester
from textual.widgets import Input, Static

from tui.commands import Command, Commanding

Complete = Callable[[str], Iterable[str]]
"""What the last word of a filter may become, the likeliest first."""


class LeaveFilter(Command):
    """Keep the filter and go back to the list."""

    KEYS = "enter,down"
    LABEL = "to the list"
    FOOTER = True


class DropFilter(Command):
    """Drop the filter and go back to the list."""

    KEYS = "escape"
    LABEL = "drop filter"
    FOOTER = True


class _LastWord(Suggester):
    """Completes the last word of the filter."""

    def __init__(self, complete: Complete) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        head, space, word = value.rpartition(" ")
        if not word:
            return None
        # The completion is what is added behind what was typed, so its beginning must be the same.
        found = next((item for item in self._complete(word) if item.startswith(word) and item != word), None)
        return f"{head}{space}{found}" if found else None


class FilterBar(Commanding, Horizontal):
    """Words match names; model:, status:, tag: and comparisons such as loss<0.7 narrow the list.

    The right arrow takes the completion.

    Args:
        complete: Completions of a word.
    """

    TITLE_IN_HELP = "Filter"
    COMMANDS = (LeaveFilter, DropFilter)

    summary: reactive[str] = reactive("")
    """What the list shows now."""
    error: reactive[str] = reactive("")
    """Why the filter can't be understood; the list then stays as it was."""

    class Changed(Message):
        """The filter reads differently."""

        def __init__(self, text: str) -> None:
            self.text = text
            super().__init__()

    class Left(Message):
        """The user wants to be back in the list."""

    def __init__(self, complete: Complete, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._complete = complete

    def compose(self) -> ComposeResult:
        """A slash, the text, what came of it."""
        yield Static(Content("/"), id="slash")
        yield Input(
            placeholder="filter: words  model:qwen  status:failed  loss<1.2  -tag:debug  @saved",
            suggester=_LastWord(self._complete),
            compact=True,
            select_on_focus=False,
        )
        yield Static(id="found")

    @property
    def text(self) -> str:
        """The filter as typed."""
        return self.query_one(Input).value

    @text.setter
    def text(self, value: str) -> None:
        self.query_one(Input).value = value

    def enter(self) -> None:
        """Put the cursor into the text."""
        self.query_one(Input).focus()

    def watch_summary(self) -> None:
        """Show what came of it."""
        self._tell()

    def watch_error(self) -> None:
        """Show why there is no result."""
        self._tell()

    def _tell(self) -> None:
        found = self.query_one("#found", Static)
        found.update(Content.styled(self.error, "$warning") if self.error else Content(self.summary))

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.value))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Left())

    def on_leave_filter(self, command: LeaveFilter) -> None:
        """Back to the list."""
        command.stop()
        self.post_message(self.Left())

    def on_drop_filter(self, command: DropFilter) -> None:
        """Clear, and back to the list."""
        command.stop()
        self.text = ""
        self.post_message(self.Left())
