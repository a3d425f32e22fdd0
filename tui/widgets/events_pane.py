"""What happened to a run: phases, states, recoveries, alerts, evals, checkpoints, verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.reactive import reactive

from engine.analysis.format import count, loss
from engine.analysis.snapshot import JobDetail
from engine.job.events import Event, EventType, number
from tui.commands import Command, Commanding
from tui.widgets.clean import clean
from tui.widgets.line_list import LineList
from tui.widgets.show_step import ShowStep
from tui.widgets.title_line import TitleLine

QUIET: Final = "$text-muted"
SAID: Final = (
    "phase", "status", "alert", "channel", "failure", "action", "verdict", "evidence", "message", "error",
    "advice", "path", "final_path",
)  # fmt: skip
"""What of an event is said in words, in this order."""
LOSSES: Final = ("eval_loss", "train_loss", "score")
STYLES: Final = {"alert": "$warning", "recovery": "$warning"}


class ShowEvent(Command):
    """Put the crosshair on this event's step."""

    KEYS = "enter"
    LABEL = "show in chart"


class CopyEvent(Command):
    """Copy this event in words."""

    KEYS = "y"
    LABEL = "copy event"


class EventList(LineList):
    """One event a line, the newest last; it follows them until somebody moves away."""

    rows: reactive[tuple[Event, ...]] = reactive(())

    def watch_rows(self, before: tuple[Event, ...], _: tuple[Event, ...]) -> None:
        """More events."""
        at_end = not before or self.row >= len(before) - 1
        self.show([event.seq for event in self.rows])
        if at_end and self.rows:
            self.move_to(len(self.rows) - 1)

    @property
    def here(self) -> Event | None:
        """The event under the cursor."""
        return self.rows[self.row] if self.rows else None

    def draw(self, row: int, width: int) -> Content:
        """Time, step, type, words."""
        event = self.rows[row]
        step = f"step {count(event.step)}" if event.step is not None else ""
        type = clean(event.type, 12)
        line = Content.assemble(
            (f"{event.ts.astimezone():%H:%M:%S}  ", QUIET),
            (f"{type:<11}", f"bold {style_of(event)}"),
            (f"{step:>12}  ", QUIET),
            in_words(event.data),
        )
        return line.truncate(width, ellipsis=True)


def style_of(event: Event) -> str:
    """Red for what costs money or quality."""
    if event.type == EventType.DELIVERY and event.data.get("ok") is not True:
        return "$warning"
    if event.data.get("severity") == "error" or event.data.get("status") == "failed":
        return "$error"
    return STYLES.get(event.type, "")


def in_words(data: Mapping[str, Any]) -> str:
    """An event's payload as a sentence, as far as it is made for reading."""
    words = [clean(str(data[name]), 300) for name in SAID if data.get(name) not in (None, "", False, True)]
    for name in LOSSES:
        value = data.get(name)
        figure = number(value.get("total") if isinstance(value, Mapping) else value)
        if figure is not None:
            words.append(f"{name.replace('_', ' ')} {loss(figure)}")
    if data.get("removed") is True:
        words.append("removed")
    if "channel" in data:
        words.append("delivered" if data.get("ok") is True else "not delivered")
    return " · ".join(words)


class EventsPane(Commanding, Vertical):
    """What happened, as the pod wrote it down."""

    TITLE_IN_HELP = "Events"
    COMMANDS = (ShowEvent, CopyEvent)

    detail: reactive[JobDetail | None] = reactive(None)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = TitleLine("events")
        self._list = EventList()

    def compose(self) -> ComposeResult:
        """Title, list."""
        yield self._title
        yield self._list

    def watch_detail(self) -> None:
        """More events."""
        rows = self.detail.events if self.detail else ()
        if [event.seq for event in rows] != [event.seq for event in self._list.rows]:
            self._list.rows = rows
        self._title.facts = Content.styled(f"the last {count(len(rows))}" if rows else "none", QUIET)

    def on_show_event(self) -> None:
        """Ask for the crosshair."""
        here = self._list.here
        if here is not None and here.step is not None:
            self.post_message(ShowStep(here.step).set_sender(self))

    def on_copy_event(self) -> None:
        """To the clipboard."""
        if (here := self._list.here) is not None:
            self.app.copy_to_clipboard(f"{here.ts:%Y-%m-%dT%H:%M:%SZ} {here.type} {in_words(here.data)}")
            self.notify("Event copied.", timeout=2)
