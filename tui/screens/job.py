"""The Job screen: what is this run doing, and is it worth its money?"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import DescendantFocus
from textual.reactive import reactive
from textual.widgets import Static

from engine.analysis.snapshot import JobDetail
from tui import wishes
from tui.commands import Command
from tui.screens.base import PodiumScreen
from tui.widgets.chart import Chart
from tui.widgets.checkpoints import CheckpointPane
from tui.widgets.log_pane import LogPane
from tui.widgets.loss_pane import LossPane
from tui.widgets.machine import MachinePane
from tui.widgets.notes import NotesPane
from tui.widgets.pane_tabs import PaneTabs
from tui.widgets.run_header import RunHeader


class NextPane(Command):
    """Go to the next pane."""

    KEYS = "tab"
    LABEL = "next pane"


class PreviousPane(Command):
    """Go to the pane before."""

    KEYS = "shift+tab"
    LABEL = "previous pane"


class GoToCheckpoints(Command):
    """Go to the checkpoints."""

    KEYS = "c"
    LABEL = "checkpoints"
    FOOTER = True


class CopyId(Command):
    """Copy this run's id, which every command of podium takes."""

    KEYS = "y"
    LABEL = "copy id"


class GoToLog(Command):
    """Go to the log."""

    KEYS = "o"
    LABEL = "log"


class JobScreen(PodiumScreen):
    """One run, live or over."""

    NAME = "job"
    TITLE_IN_HELP = "This run"
    COMMANDS = (
        GoToCheckpoints,
        wishes.StopJob,
        wishes.PauseJob,
        wishes.ResumeJob,
        wishes.SaveNow,
        CopyId,
        GoToLog,
        NextPane,
        PreviousPane,
    )
    AUTO_FOCUS = "Chart"
    TAKERS: Final = {
        "loss": "Chart",
        "checkpoints": "CheckpointList",
        "machine": "#machine",
        "verdict": "#verdict",
        "log": "LogView",
    }
    """The panes by their ids, each with the widget in it that takes the keys."""

    detail: reactive[JobDetail | None] = reactive(None)
    now: reactive[datetime | None] = reactive(None)
    front: reactive[str] = reactive("loss")
    """The pane that has the keys; on a small terminal, the only one that is shown."""

    def compose_body(self) -> ComposeResult:
        """The header, the panes, and what stands there while there is no run."""
        yield Static(_nothing_yet(), id="nothing", classes="empty")
        with Vertical(id="run"):
            yield RunHeader().data_bind(JobScreen.detail, JobScreen.now)
            yield PaneTabs({name: name for name in self.TAKERS}).data_bind(JobScreen.front)
            with Horizontal(id="upper"):
                yield LossPane(id="loss").data_bind(JobScreen.detail)
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

    def subject(self) -> tuple[str, ...]:
        """The run on the screen."""
        return (self.detail.job.id,) if self.detail else ()

    def offers(self, command: type[Command]) -> bool:
        """Without a run, nothing; of the wishes, those that its state allows."""
        if self.detail is None:
            return False
        allowed = wishes.WHEN.get(command)
        return allowed is None or self.detail.job.status in allowed

    def watch_detail(self, before: JobDetail | None) -> None:
        """Another state offers other commands; the first run brings the panes, and they take the keys."""
        self.refresh_bindings()
        if before is None and self.is_mounted and self.focused is None:
            self.go_to(self.front)

    # Panes

    def watch_front(self) -> None:
        """Show the pane where there is room for one only."""
        for name in self.TAKERS:
            self.set_class(name == self.front, f"-front-{name}")

    def go_to(self, pane: str) -> None:
        """Give a pane the keys."""
        self.front = pane
        # It can't have the focus before it is displayed.
        self.call_after_refresh(self.query_one(self.TAKERS[pane]).focus)

    def on_next_pane(self) -> None:
        """In the order of the tabs."""
        self.go_to(self.query_one(PaneTabs).after(self.front, 1))

    def on_previous_pane(self) -> None:
        """The other way round."""
        self.go_to(self.query_one(PaneTabs).after(self.front, -1))

    def on_go_to_checkpoints(self) -> None:
        """Checkpoints."""
        self.go_to("checkpoints")

    def on_go_to_log(self) -> None:
        """Log."""
        self.go_to("log")

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """A pane was clicked: it is the one in front."""
        for node in event.widget.ancestors_with_self:
            if node.id in self.TAKERS:
                self.front = node.id

    @on(PaneTabs.Chosen)
    def _choose(self, event: PaneTabs.Chosen) -> None:
        self.go_to(event.pane)

    @on(Chart.Viewed)
    def _look_elsewhere(self, event: Chart.Viewed) -> None:
        self.post_message(wishes.Ask(view=event.view))

    @on(LossPane.Pointed)
    def _show_in_log(self, event: LossPane.Pointed) -> None:
        self.query_one(LogPane).look_at_step(event.step)

    @on(LogPane.Chosen)
    def _show_line_in_chart(self, event: LogPane.Chosen) -> None:
        self.query_one(LossPane).point_at(event.step)

    @on(CheckpointPane.Chosen)
    def _show_checkpoint(self, event: CheckpointPane.Chosen) -> None:
        self.query_one(LossPane).point_at(event.step)
        self.query_one(LogPane).look_at_step(event.step)

    def on_copy_id(self) -> None:
        """To the clipboard."""
        for job_id in self.subject():
            self.app.copy_to_clipboard(job_id)
            self.notify("Run's id copied.", timeout=2)


def _nothing_yet() -> Content:
    """What stands there while there is no run."""
    return Content.assemble(
        ("No run yet.\n\n", "bold"),
        ("podium demo", "$accent"),
        " trains a tiny model on this machine\n",
        ("podium launch sft_standard --set dataset.path=…", "$accent"),
        " starts your own\n\n",
        ("3", "bold $accent"),
        " shows all runs   ",
        ("?", "bold $accent"),
        " helps",
    )
