"""The log pane: what the trainer printed, followed as it grows, filtered as one types."""

from __future__ import annotations

from typing import Final, Literal

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input

from engine.analysis.format import count
from engine.analysis.snapshot import JobDetail, Moment
from engine.records import Place
from tui.commands import Command, Commanding
from tui.widgets.log_filter import BadPattern
from tui.widgets.log_places import Wanted, wanted
from tui.widgets.log_view import LogView
from tui.widgets.title_line import TitleLine

FILTERS: Final = "regular expression · enter keeps it · esc shows all"
JUMPS: Final = "1200 or step 1200 · epoch 3 · 12:41 · line 88 · 50 % · enter goes there"


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


class ToggleTimes(Command):
    """Show or hide the times that lines begin with."""

    KEYS = "t"
    LABEL = "times"


class JumpTo(Command):
    """Go to a step, an epoch, a time of day, a line or a percentage of the log."""

    KEYS = "J"
    LABEL = "jump"
    FOOTER = True


class PointChart(Command):
    """Put the chart's crosshair where this line is."""

    KEYS = "enter"
    LABEL = "show in chart"


class NextMachine(Command):
    """Show the log of the next of the machines that this job trains on together."""

    KEYS = "m"
    LABEL = "next machine"
    FOOTER = True


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
        JumpTo,
        ToggleWrap,
        ToggleTimes,
        PointChart,
        CopyLine,
        NextMachine,
    )

    class Chosen(Message):
        """The user wants to see this moment in the charts."""

        def __init__(self, moment: Moment) -> None:
            self.moment = moment
            super().__init__()

    detail: reactive[JobDetail | None] = reactive(None)
    inverted: reactive[bool] = reactive(False)
    pattern: reactive[str] = reactive("")
    node: reactive[int] = reactive(0)
    """Whose log is shown, where the job has several machines."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._path: str | None = None
        self._job_id: str | None = None
        self._left_end = False
        self._view = LogView()
        self._title = TitleLine("log")
        self._entry = Input(placeholder=FILTERS, compact=True)
        self._jumping = False

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
        job_id = self.detail.job.id if self.detail else None
        if job_id != self._job_id:
            self._job_id = job_id
            self.node = 0
        self._open()

    def watch_node(self) -> None:
        """The log of another machine."""
        self._open()

    def _open(self) -> None:
        logs = self.detail.node_logs if self.detail else ()
        path = self.detail.log_path if self.detail else None
        if self.node < len(logs):
            path = logs[self.node]
        if path != self._path:
            self._path = path
            self._view.open(path)
            if self.pattern:
                self._filter()
            self._title.title = Content(f"log of node {self.node} of {len(logs)}" if logs else "log")
            self.refresh_bindings()

    def offers(self, command: type[Command]) -> bool:
        """Another machine's log, where there are several machines."""
        return command is not NextMachine or bool(self.detail and self.detail.node_logs)

    def on_next_machine(self) -> None:
        """Round and round."""
        if self.detail is not None:
            self.node = (self.node + 1) % max(1, len(self.detail.node_logs))

    # The filter

    def on_edit_filter(self) -> None:
        """Open the entry on the pattern."""
        self._open_entry(FILTERS, self.pattern, jumping=False)

    def on_jump_to(self) -> None:
        """Open the entry on a place."""
        self._open_entry(JUMPS, "", jumping=True)

    def _open_entry(self, placeholder: str, value: str, *, jumping: bool) -> None:
        self._jumping = jumping
        self._entry.placeholder, self._entry.value = placeholder, value
        self._entry.set_class(False, "-bad")
        self._entry.display = True
        self._entry.focus()

    def on_invert_filter(self) -> None:
        """The others."""
        self.inverted = not self.inverted

    def on_clear_filter(self) -> None:
        """All lines; the entry goes. Leaving a jump changes nothing."""
        if not self._jumping:
            self.pattern = ""
        self._close_entry()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if self._jumping:
            self._entry.set_class(bool(event.value) and wanted(event.value) is None, "-bad")
        else:
            self.pattern = event.value

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        place = wanted(event.value) if self._jumping else None
        if self._jumping and event.value and place is None:
            return
        self._close_entry()
        if place is not None:
            self.run_worker(self._jump(place, event.value), group="seek", exclusive=True)

    async def _jump(self, place: Wanted, said: str) -> None:
        if not await self._view.go_to_place(place):
            self.notify(f"No line tells of {said}.", markup=False, timeout=3)

    def _close_entry(self) -> None:
        self._jumping = False
        self._entry.display = False
        self._view.focus()

    def watch_pattern(self) -> None:
        """Filter as it is typed; half a regular expression changes nothing yet."""
        self._filter()

    def _filter(self) -> None:
        try:
            self._view.let_through(self.pattern, inverted=self.inverted)
            self._entry.set_class(False, "-bad")
        except BadPattern:
            self._entry.set_class(True, "-bad")
        self._tell()

    def watch_inverted(self) -> None:
        """The same pattern the other way round."""
        self._filter()

    # Keys

    def on_toggle_follow(self) -> None:
        """Follow or freeze."""
        self._view.following = not self._view.following

    def on_toggle_wrap(self) -> None:
        """Wrap or cut."""
        self._view.wrap = not self._view.wrap

    def on_toggle_times(self) -> None:
        """Show or hide."""
        self._view.times = not self._view.times

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
        kinds: tuple[Literal["step", "epoch"], ...] = ("step", "epoch")
        told = ((kind, self._view.told(kind)) for kind in kinds)
        moment = next((Moment(kind, value) for kind, value in told if value is not None), None)
        if moment is not None:
            self.post_message(self.Chosen(moment).set_sender(self))

    def look_at(self, place: Place | None) -> None:
        """Show what was printed at a moment; None goes back to following, if that is where we were."""
        if place is not None:
            self._left_end = self._left_end or self._view.following
            self.run_worker(self._view.go_to_place(*_ways(place)), group="seek", exclusive=True)
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
        facts = [("counting lines …" if lines.counting else _lines(lines.lines), "$text-muted")]
        if self.pattern:
            sign = "!" if self.inverted else "/"
            going_on = ", given up: too slow" if lines.too_slow else " …" if lines.searching else ""
            facts = [
                (f"{sign}{self.pattern}", "bold $accent"),
                (f"{count(lines.rows)} of {_lines(lines.lines)}{going_on}", "$text-muted"),
            ]
        facts.append(("following", "$text-muted") if self._view.following else ("frozen", "$warning"))
        self._title.facts = Content("  ").join([Content.styled(text, style) for text, style in facts])


def _ways(place: Place) -> list[Wanted]:
    """What a log may tell of a moment, the surest first."""
    ways = [Wanted("step", place.step)] if place.step is not None else []
    if place.epoch is not None:
        ways.append(Wanted("epoch", place.epoch))
    if place.ts is not None:
        local = place.ts.astimezone()
        ways.append(Wanted("time", local.hour * 3600 + local.minute * 60 + local.second))
    return ways


def _lines(number: int) -> str:
    return "1 line" if number == 1 else f"{count(number)} lines"
