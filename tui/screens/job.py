"""The Job screen: what is this run doing, and is it worth its money?"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from engine.analysis.snapshot import JobDetail, Moment, Pointed
from engine.job.events import Status
from tui import wishes
from tui.commands import Command
from tui.screens.base import PodiumScreen
from tui.widgets.checkpoints import CheckpointPane
from tui.widgets.clean import clean
from tui.widgets.curves_pane import CurvesPane
from tui.widgets.log_pane import LogPane
from tui.widgets.machine import MachinePane
from tui.widgets.notes import NotesPane
from tui.widgets.pane_tabs import NextPane, PaneTabs, PreviousPane
from tui.widgets.run_header import RunHeader, limits
from tui.widgets.show_step import ShowStep
from tui.widgets.ssh_words import ssh_command


class GoToCheckpoints(Command):
    """Go to the checkpoints."""

    KEYS = "c"
    LABEL = "checkpoints"
    FOOTER = True


class GoToPredictions(Command):
    """Go to what the model answers, epoch by epoch."""

    KEYS = "p"
    LABEL = "predictions"
    FOOTER = True


class GoToEvents(Command):
    """Go to what happened: phases, recoveries, alerts, checkpoints."""

    KEYS = "v"
    LABEL = "events"


class GoToLog(Command):
    """Go to the log."""

    KEYS = "o"
    LABEL = "log"


class CopyId(Command):
    """Copy this run's id, which every command of podium takes."""

    KEYS = "y"
    LABEL = "copy id"


class ChangeLearningRate(Command):
    """Give this run another peak learning rate, from its next step on."""

    KEYS = "R"
    LABEL = "learning rate"


class ChangeLimits(Command):
    """Give this run more hours or dollars, or fewer, after showing what it can cost then."""

    KEYS = "dollar_sign"
    SHOWN = "$"
    LABEL = "limits"


class NextRun(Command):
    """Show the next run of the list."""

    KEYS = "greater_than_sign"
    SHOWN = ">"
    LABEL = "next run"


class PreviousRun(Command):
    """Show the run before it in the list."""

    KEYS = "less_than_sign"
    SHOWN = "<"
    LABEL = "run before"


class CopySSH(Command):
    """Copy the command that opens a shell on this run's machine."""

    LABEL = "copy SSH command"


class FillScreen(Command):
    """Let the pane that has the keys fill the screen, or show all panes again."""

    KEYS = "F"
    LABEL = "fill screen"


class JobScreen(PodiumScreen):
    """One run, live or over."""

    NAME = "job"
    TITLE_IN_HELP = "This run"
    COMMANDS = (
        GoToCheckpoints,
        GoToPredictions,
        wishes.StopJob,
        wishes.PauseJob,
        wishes.ResumeJob,
        wishes.SaveNow,
        ChangeLearningRate,
        ChangeLimits,
        wishes.LaunchAgain,
        NextRun,
        PreviousRun,
        CopyId,
        CopySSH,
        GoToLog,
        GoToEvents,
        FillScreen,
        NextPane,
        PreviousPane,
    )
    AUTO_FOCUS = "Chart"
    TAKERS: Final = {
        "charts": "Chart",
        "checkpoints": "CheckpointList",
        "machine": "#machine",
        "verdict": "#verdict",
        "log": "LogView",
        "predictions": "PredictionsView",
        "events": "EventList",
    }
    """The panes by their ids, each with the widget in it that takes the keys."""
    PANES = TAKERS
    BELOW: Final = ("log", "predictions", "events")
    """Those that share the place below the others: one is shown at a time."""

    detail: reactive[JobDetail | None] = reactive(None)
    now: reactive[datetime | None] = reactive(None)
    front: reactive[str] = reactive("charts")
    """The pane that has the keys; on a small terminal, the only one that is shown."""
    below: reactive[str] = reactive("log")
    filled: reactive[bool] = reactive(False)

    def __init__(self) -> None:
        super().__init__("-front-charts", "-below-log")
        self._pointer = ""
        self._pointed: Pointed | None = None

    def compose_body(self) -> ComposeResult:
        """The header, the panes, and what stands there while there is no run."""
        yield Static(_nothing_yet(), id="nothing", classes="empty")
        with Vertical(id="run"):
            yield RunHeader().data_bind(JobScreen.detail, JobScreen.now)
            yield PaneTabs({name: name for name in self.TAKERS}).data_bind(JobScreen.front)
            with Horizontal(id="upper"):
                yield CurvesPane(id="charts").data_bind(JobScreen.detail)
                with Vertical(id="beside"):
                    yield MachinePane(id="machine").data_bind(JobScreen.detail)
                    yield CheckpointPane(id="checkpoints").data_bind(JobScreen.detail)
                    yield NotesPane(id="verdict").data_bind(JobScreen.detail)
            yield LogPane(id="log").data_bind(JobScreen.detail)

    def watch_snapshot(self) -> None:
        """Hand the run on to the panes."""
        snapshot = self.snapshot
        self.detail = snapshot.job if snapshot else None
        self.now = snapshot.taken_at if snapshot else None
        self.set_class(snapshot is not None and snapshot.job is None, "-nothing")

    async def drawn(self) -> None:
        """Wait for the chart that has the keys."""
        await self.query_one(CurvesPane).chart.drawn()

    def subject(self) -> tuple[str, ...]:
        """The run on the screen."""
        return (self.detail.job.id,) if self.detail else ()

    def offers(self, command: type[Command]) -> bool:
        """Without a run, nothing; of the wishes, those that its state allows."""
        if self.detail is None:
            return False
        if self.detail.job.attached and command in _OURS:
            return False
        if command is CopySSH:
            return bool(ssh_command(self.detail.job, self.detail.shell))
        if command in (ChangeLearningRate, ChangeLimits):
            return self.detail.job.status is Status.RUNNING
        allowed = wishes.WHEN.get(command)
        return allowed is None or self.detail.job.status in allowed

    def watch_detail(self, before: JobDetail | None, _: JobDetail | None) -> None:
        """Another state offers other commands; the first run brings the panes, and they take the keys."""
        self.refresh_bindings()
        if before is None and self.is_mounted and self.focused is None:
            self.go_to(self.front)
        if self.detail is not None and self.detail.pointed != self._pointed:
            self._pointed = self.detail.pointed
            self._show_pointed(self._pointed)

    # Panes

    def watch_front(self) -> None:
        """Show the pane where there is room for one only."""
        for name in self.TAKERS:
            self.set_class(name == self.front, f"-front-{name}")
        if self.front in self.BELOW:
            self.below = self.front

    def watch_below(self) -> None:
        """Show one of those that share a place, and read what it shows."""
        for name in self.BELOW:
            self.set_class(name == self.below, f"-below-{name}")
        self.post_message(wishes.Ask(extras=frozenset({self.below} - {"log"})))

    def watch_filled(self) -> None:
        """One pane, or all of them."""
        self.set_class(self.filled, "-filled")

    def go_to(self, pane: str) -> None:
        """Give a pane the keys."""
        if pane in LATER and not self.query(f"#{pane}"):
            self.query_one("#run").mount(LATER[pane](pane).data_bind(JobScreen.detail))
        self.front = pane
        if takers := self.query(self.TAKERS[pane]):
            self.set_focus(takers.first())  # at once: the next key may be there already
        else:
            self.call_after_refresh(self._focus_front)

    def _focus_front(self) -> None:
        self.query(self.TAKERS[self.front]).first().focus()

    def on_next_pane(self) -> None:
        """The next chart of a grid, else in the order of the tabs."""
        self._go_on(1)

    def on_previous_pane(self) -> None:
        """The other way round."""
        self._go_on(-1)

    def _go_on(self, by: int) -> None:
        if self.front != "charts" or not self.query_one(CurvesPane).go_on(by):
            self.go_to(self.query_one(PaneTabs).after(self.front, by))

    def on_go_to_checkpoints(self) -> None:
        """Checkpoints."""
        self.go_to("checkpoints")

    def on_go_to_predictions(self) -> None:
        """Predictions."""
        self.go_to("predictions")

    def on_go_to_events(self) -> None:
        """Events."""
        self.go_to("events")

    def on_go_to_log(self) -> None:
        """Log."""
        self.go_to("log")

    def on_fill_screen(self) -> None:
        """One or all."""
        self.filled = not self.filled

    def bring_to_front(self, pane: str) -> None:
        """A pane was clicked, or given the keys."""
        self.front = pane

    @on(PaneTabs.Chosen)
    def _choose(self, event: PaneTabs.Chosen) -> None:
        self.go_to(event.pane)

    # One cursor through charts, log, machine and money

    @on(CurvesPane.Viewed)
    def _look_elsewhere(self, event: CurvesPane.Viewed) -> None:
        self.post_message(wishes.Ask(view=event.view))

    @on(CurvesPane.Pointed)
    def _point_in_chart(self, event: CurvesPane.Pointed) -> None:
        self._point(event.moment, "charts")

    @on(LogPane.Chosen)
    def _point_in_log(self, event: LogPane.Chosen) -> None:
        self._point(event.moment, "log")

    @on(ShowStep)
    def _point_in_list(self, event: ShowStep) -> None:
        self._point(Moment("step", event.step), "")

    def _point(self, moment: Moment | None, pointer: str) -> None:
        """Ask what was at a moment; the panes go there when the answer comes."""
        self._pointer = pointer
        self.post_message(wishes.Ask(moment=moment))

    def _show_pointed(self, pointed: Pointed | None) -> None:
        """Let every pane but the one that pointed show the moment."""
        place = pointed.place if pointed else None
        if self._pointer != "log":
            self.query_one(LogPane).look_at(place)
        if self._pointer != "charts" and place is not None:
            self.query_one(CurvesPane).point_at(place)

    # Acting

    def on_change_learning_rate(self) -> None:
        """Ask which."""
        from tui.screens.entry import Entry, Field

        if self.detail is not None:
            rate = self.detail.job.learning_rate
            field = Field("a number from 0 on", "" if rate is None else f"{rate:g}", "1e-4")
            question = f"Peak learning rate of {clean(self.detail.job.name, 60)}"
            self.app.push_screen(Entry(question, [field]), self._set_rate)

    def _set_rate(self, told: tuple[str, ...] | None) -> None:
        if told is None or self.detail is None:
            return
        try:
            value = float(told[0])
        except ValueError:
            self.notify(f"{told[0]} is no number.", severity="error", markup=False, timeout=4)
            return
        self.post_message(wishes.SetLearningRate(self.detail.job.id, value))

    def on_change_limits(self) -> None:
        """Ask which."""
        from tui.screens.entry import Entry, Field

        if self.detail is None:
            return
        set_now = limits(self.detail.job)
        fields = [
            Field(
                label,
                f"{value:g}" if isinstance(value := set_now.get(name), (int, float)) else "",
                "no limit",
            )
            for name, label in _CAPS.items()
        ]
        question = f"Limits of {clean(self.detail.job.name, 60)}"
        self.app.push_screen(Entry(question, fields, needed=0), self._set_limits)

    def _set_limits(self, told: tuple[str, ...] | None) -> None:
        if told is None or self.detail is None:
            return
        changes = {}
        for name, text in zip(_CAPS, told, strict=True):
            try:
                value = float(text) if text else None
            except ValueError:
                value = math.nan
            if value is not None and not (math.isfinite(value) and value > 0):
                self.notify(f"{text} is no limit: it takes a number above 0.", severity="error", markup=False)
                return
            if value is not None and value != limits(self.detail.job).get(name):
                changes[name] = value
        if changes:
            self.post_message(wishes.SetLimits(self.detail.job.id, changes))

    def on_next_run(self) -> None:
        """Down the list."""
        self._open_run(1)

    def on_previous_run(self) -> None:
        """Up."""
        self._open_run(-1)

    def _open_run(self, by: int) -> None:
        ids = [job.id for job in self.snapshot.jobs] if self.snapshot else []
        if self.detail is not None and self.detail.job.id in ids:
            there = ids[(ids.index(self.detail.job.id) + by) % len(ids)]
            self.post_message(wishes.Ask(job_id=there, moment=None))

    def on_copy_ssh(self) -> None:
        """To the clipboard."""
        if self.detail is not None and (command := ssh_command(self.detail.job, self.detail.shell)):
            self.app.copy_to_clipboard(command)
            self.notify("SSH command copied.", timeout=2)

    def on_copy_id(self) -> None:
        """To the clipboard."""
        for job_id in self.subject():
            self.app.copy_to_clipboard(job_id)
            self.notify("Run's id copied.", timeout=2)


_OURS: Final = (
    wishes.SaveNow,
    wishes.LaunchAgain,
    ChangeLearningRate,
    ChangeLimits,
)
"""What can't be asked of a run that is only watched."""

_CAPS: Final = {
    "max_hours": "hours that it may run at most",
    "max_cost_usd": "dollars that it may cost at most",
}
"""The limits that can be changed while a run is under way, and what is asked."""


# Panes behind the log are loaded when somebody goes there.


def _predictions(id: str) -> Widget:
    from tui.widgets.predictions import PredictionsPane

    return PredictionsPane(id=id)


def _events(id: str) -> Widget:
    from tui.widgets.events_pane import EventsPane

    return EventsPane(id=id)


LATER: Final = {"predictions": _predictions, "events": _events}


def _nothing_yet() -> Content:
    """What stands there while there is no run."""
    return Content.assemble(
        ("No run yet.\n\n", "bold"),
        ("podium demo", "$accent"),
        " trains a tiny model on this machine\n",
        ("n", "bold $accent"),
        " launches your own\n\n",
        ("3", "bold $accent"),
        " shows all runs   ",
        ("?", "bold $accent"),
        " helps",
    )
