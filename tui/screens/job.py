"""The Job screen: what is this run doing, and is it worth its money?"""

from __future__ import annotations

from datetime import datetime

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
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
from tui.widgets.run_header import RunHeader


class FocusChart(Command):
    """Go to the curves."""

    LABEL = "curves"


class JobScreen(PodiumScreen):
    """One run, live or over."""

    NAME = "job"
    TITLE_IN_HELP = "This run"
    COMMANDS = (wishes.StopJob, wishes.PauseJob, wishes.ResumeJob, wishes.SaveNow)

    detail: reactive[JobDetail | None] = reactive(None)
    now: reactive[datetime | None] = reactive(None)

    def compose_body(self) -> ComposeResult:
        """The header, the panes, and what stands there while there is no run."""
        yield Static(_nothing_yet(), id="nothing", classes="empty")
        with Vertical(id="run"):
            yield RunHeader().data_bind(JobScreen.detail, JobScreen.now)
            with Horizontal(id="upper"):
                yield LossPane(id="loss").data_bind(JobScreen.detail)
                with Vertical(id="beside"):
                    yield MachinePane().data_bind(JobScreen.detail)
                    yield CheckpointPane().data_bind(JobScreen.detail)
                    yield NotesPane().data_bind(JobScreen.detail)
            yield LogPane(id="log").data_bind(JobScreen.detail)

    def watch_snapshot(self) -> None:
        """Hand the run on to the panes."""
        snapshot = self.snapshot
        self.detail = snapshot.job if snapshot else None
        self.now = snapshot.taken_at if snapshot else None
        self.set_class(snapshot is not None and snapshot.job is None, "-nothing")
        self.set_class(snapshot is None, "-waiting")

    def subject(self) -> tuple[str, ...]:
        """The run on the screen."""
        return (self.detail.job.id,) if self.detail else ()

    @on(Chart.Viewed)
    def _look_elsewhere(self, event: Chart.Viewed) -> None:
        self.post_message(wishes.Ask(view=event.view))


def _nothing_yet() -> Content:
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
