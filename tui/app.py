"""The app: three screens, one snapshot on its way down, commands on their way up.

It holds no logic of its own. A change in the store marks the snapshot as stale; at most four times a
second a thread takes a new one, and the screen in front binds its widgets to it. Commands bubble up to
here: those about the screen are done here, a `Wish` goes to the desk, which asks the controller.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from textual import on
from textual.app import App
from textual.reactive import reactive
from textual.screen import ModalScreen

from engine.analysis.snapshot import Alarm, Question, Snapshot
from engine.errors import PodiumError
from engine.home import Home
from tui import quiet_start, themes, wishes
from tui.commands import Commanding, offered
from tui.desk import Desk, EngineDesk
from tui.memory import recalled, remembered
from tui.palette import show_palette
from tui.pulse import Pulse
from tui.run_wishes import CarriedOut
from tui.screens.base import PodiumScreen
from tui.screens.dialogs import Confirm
from tui.screens.help import HelpScreen
from tui.screens.job import JobScreen

if TYPE_CHECKING:
    from engine.controller import Controller
    from tui.draft import Draft
    from tui.screens.launch import Agreed

PERIOD: Final = 0.25
"""The least time between two snapshots, seconds."""

HELD: Final = 0.4
"""How long the first picture waits for the first snapshot, seconds: an empty one before it costs time."""

DRAWN: Final = 0.25
"""How long it then waits for the curves, seconds."""

COMPARED: Final = "compared_runs"
"""The setting with the ids of the runs that were seen beside another; `engine.snapshots` reads it."""

T = TypeVar("T")


# The screens behind the first are loaded when somebody goes there.


def _comparison_screen() -> PodiumScreen:
    from tui.screens.comparison import ComparisonScreen

    return ComparisonScreen()


def _history_screen() -> PodiumScreen:
    from tui.screens.history import HistoryScreen

    return HistoryScreen()


def _load_screens() -> None:
    """Load what the screens behind the first need, while nobody waits for them."""
    import tui.screens.comparison
    import tui.screens.history  # noqa: F401


class PodiumApp(Commanding, App[None]):
    """The terminal user interface.

    Args:
        desk: Where snapshots come from and wishes go to.
        first: The screen to begin with.
        job_id: The run to begin with; None for the newest live one.
    """

    TITLE = "podium"
    CSS_PATH = Path(__file__).resolve().parent.parent / "screens.css"
    ENABLE_COMMAND_PALETTE = False  # its key is a command of ours
    MODES = {"job": JobScreen, "comparison": _comparison_screen, "history": _history_screen}
    DEFAULT_MODE = "job"
    TITLE_IN_HELP = "Everywhere"
    COMMANDS: ClassVar[Any] = (
        wishes.NewRun,
        wishes.ShowHelp,
        wishes.ShowPalette,
        wishes.ShowJobScreen,
        wishes.ShowComparisonScreen,
        wishes.ShowHistoryScreen,
        wishes.ChangeTheme,
        wishes.Back,
        wishes.QuitNow,
    )

    snapshot: reactive[Snapshot | None] = reactive(None, init=False)

    def __init__(self, desk: Desk, first: wishes.ScreenName = "job", job_id: str | None = None) -> None:
        super().__init__()
        self.desk = desk
        self.question = Question(job_id=job_id)
        self._first = first
        self._recalled = False
        self._draft: Draft | None = None
        self._compared: set[str] = set()
        self._pulse = Pulse(self._take, PERIOD)
        self._held = contextlib.ExitStack()
        for theme in themes.THEMES:
            self.register_theme(theme)
        # Chosen before the stylesheet is read, which would otherwise be read twice.
        self.set_reactive(PodiumApp.theme, themes.THEMES[0].name)
        self.stylesheet.set_variables(self.get_css_variables())

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The run colours, for themes that are not ours."""
        return themes.defaults()

    # The way down: store -> snapshot -> the screen in front.

    def on_mount(self) -> None:
        """Show the first screen; the engine is opened once that is laid out."""
        self._held.enter_context(self.batch_update())
        self.set_timer(HELD, self._paint)
        if self._first != self.DEFAULT_MODE:
            self.switch_mode(self._first)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """Answer changes with snapshots until the app ends, and open what the changes come from."""
        self.run_worker(self._pulse.run(), group="desk")
        self.run_worker(self._open(), group="desk")
        self.set_interval(1, self._tick)

    async def _open(self) -> None:
        try:
            await self._told(self.desk.open(self._pulse.mark_from_thread))
        finally:
            quiet_start.end()
        theme = self.desk.recall("theme")
        if theme in self.available_themes:
            self.theme = theme
        self.theme_changed_signal.subscribe(self, lambda theme: self.desk.remember("theme", theme.name))
        self._pulse.mark()
        await asyncio.to_thread(_load_screens)

    @property
    def idle(self) -> bool:
        """Is the last snapshot the newest that there can be?"""
        return self.snapshot is not None and self._pulse.idle

    async def _take(self) -> None:
        if not self._recalled:
            self._recalled = True
            await self._recall()
        question = self.question
        taken = await self._told(asyncio.to_thread(self.desk.take, question))
        if taken is not None and taken.alarms:
            self._ring(taken.alarms)
        if taken is not None and question is self.question:
            first, self.snapshot = self.snapshot is None, taken
            if first:
                await self._show_first()
            await self._remember_compared(taken)

    async def _show_first(self) -> None:
        """The first picture has all that the first snapshot brings, the curves included."""
        front = self.screen_stack[0]
        if isinstance(front, PodiumScreen):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAWN):
                    await front.drawn()
        self._paint()

    def _paint(self) -> None:
        """Hold the first picture back no longer."""
        self._held.close()
        for screen in self.screen_stack[-1:]:  # there is none once the app has gone
            screen.refresh()

    def _ring(self, alarms: Sequence[Alarm]) -> None:
        """Let the user hear what happened, as alerts.yaml wants it."""
        from tui.bell import on_desktop, sequence, texts

        if any(alarm.bell for alarm in alarms):
            self.bell()
        for title, text in texts([alarm for alarm in alarms if alarm.notify]):
            if (asked := sequence(title, text)) and self._driver is not None:
                self._driver.write(asked)
            else:
                on_desktop(title, text)

    async def _remember_compared(self, snapshot: Snapshot) -> None:
        """Keep which runs were seen side by side: they are not suggested again."""
        if self.current_mode != "comparison" or snapshot.compared is None:
            return
        if new := {job.id for job in snapshot.compared.jobs} - self._compared:
            self._compared |= new
            await self._told(asyncio.to_thread(self.desk.remember, COMPARED, sorted(self._compared)))

    async def _recall(self) -> None:
        """Ask for the comparison that the last session ended with."""
        kept = await self._told(asyncio.to_thread(self.desk.recall, "comparison"))
        compared = await self._told(asyncio.to_thread(self.desk.recall, COMPARED))
        self._compared |= {job_id for job_id in compared or () if isinstance(job_id, str)}
        if not self.question.compared:
            self.question = replace(self.question, **recalled(kept))

    def _tick(self) -> None:
        """Let ages grow while a run is live."""
        if self.snapshot and any(job.status.live for job in self.snapshot.jobs):
            self.snapshot = replace(self.snapshot, taken_at=self.desk.now())

    def watch_snapshot(self) -> None:
        """Hand a new snapshot to the screen in front; the others get theirs when they come there."""
        front = self.screen_stack[0]
        if isinstance(front, PodiumScreen):
            front.snapshot = self.snapshot

    # The way up: questions, commands about the screen, wishes.

    @on(wishes.Ask)
    def _ask(self, ask: wishes.Ask) -> None:
        changed = replace(self.question, **ask.changes)
        if remembered(changed) != remembered(self.question):
            self.run_worker(
                self._told(asyncio.to_thread(self.desk.remember, "comparison", remembered(changed))),
                group="remember",
            )
        if changed != self.question:
            self.question = changed
            if self.snapshot is not None:  # else the first one is about to be taken, and answers this
                self._pulse.mark(hurry=True)

    @on(wishes.Suggest)
    def _suggest(self, suggestion: wishes.Suggest) -> None:
        # The screen may not have seen yet what was chosen: a snapshot is on its way.
        if not self.question.compared:
            self._ask(wishes.Ask(compared=suggestion.compared))

    def show(self, screen: wishes.ScreenName) -> None:
        """Bring one of the three screens to the front."""
        self.switch_mode(screen)
        self.watch_snapshot()

    def on_show_job_screen(self) -> None:
        """The Job screen."""
        self.show("job")

    def on_show_comparison_screen(self) -> None:
        """The Comparison screen."""
        self.show("comparison")

    def on_show_history_screen(self) -> None:
        """The History screen."""
        self.show("history")

    def on_open_job(self, command: wishes.OpenJob) -> None:
        """Show a run on the Job screen."""
        if command.job_ids:
            self.post_message(wishes.Ask(job_id=command.job_ids[0]))
            self.show("job")

    def on_compare_jobs(self, command: wishes.CompareJobs) -> None:
        """Show runs side by side."""
        self.post_message(wishes.Ask(compared=command.job_ids))
        self.show("comparison")

    def on_show_ledger(self) -> None:
        """Where the money went."""
        from tui.screens.ledger import Ledger

        self.push_screen(Ledger(self.desk.ledger))

    def on_show_pods(self) -> None:
        """What is rented."""
        from tui.screens.pods import PodsPanel

        self.push_screen(PodsPanel(self.desk.account))

    # Launching

    def on_new_run(self) -> None:
        """The dialog, as it was left."""
        self._begin_draft(self._draft)

    def on_launch_again(self, command: wishes.LaunchAgain) -> None:
        """The dialog, filled with a run's spec."""
        from tui.draft import of_run

        known = {job.id: job for job in self.snapshot.jobs} if self.snapshot else {}
        if self.snapshot and self.snapshot.job:
            known.setdefault(self.snapshot.job.job.id, self.snapshot.job.job)
        if job := next((known[job_id] for job_id in command.job_ids if job_id in known), None):
            if job.attached or not job.config:
                self.notify(f"{job.name} is only watched: there is no spec of it.", markup=False)
            else:
                self._begin_draft(of_run(job.name, job.config, str(Path.cwd())))

    def _begin_draft(self, draft: Draft | None) -> None:
        from tui.screens.launch import LaunchDialog

        if any(isinstance(screen, ModalScreen) for screen in self.screen_stack):
            return
        dialog = LaunchDialog(self.desk.launching, draft)

        def left(agreed: Agreed | None) -> None:
            self._draft = dialog.draft
            if agreed is not None:
                self.run_worker(self._launch(agreed), group="launch")

        self.push_screen(dialog, left)

    async def _launch(self, agreed: Agreed) -> None:
        """Start a run, and show it as soon as there is one; a draft that was launched is done with."""

        def begun(job_id: str) -> None:
            self._draft = None
            self.post_message(wishes.OpenJob((job_id,)))

        if done := await self._told(self.desk.launching.launch(agreed.draft, agreed.offered, begun)):
            self.notify(done, markup=False, timeout=4)
        self._pulse.mark(hurry=True)

    def on_show_help(self) -> None:
        """Help for the focused pane."""
        self.push_screen(HelpScreen(offered(self.screen.focused or self.screen)))

    def on_show_palette(self) -> None:
        """The palette."""
        show_palette(self)

    def on_change_theme(self) -> None:
        """The list of themes."""
        self.search_themes()

    def on_back(self) -> None:
        """Close the top layer, or quit."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.exit()

    def on_quit_now(self) -> None:
        """Quit."""
        self.exit()

    @on(wishes.Wish)
    def _wish(self, wish: wishes.Wish) -> None:
        self.run_worker(self._carry_out(wish), group="wishes")

    async def _carry_out(self, wish: wishes.Wish) -> None:
        """Ask first where something is lost; then do it and say so."""
        if self.snapshot is None:
            return
        price = await self._told(self.desk.price(wish))
        if price is None:  # it could not be told, and why was said
            return
        warning = price or wish.warning(self.snapshot)
        if warning and not await self.push_screen_wait(Confirm(warning, wish.label())):
            return
        loop = asyncio.get_running_loop()

        def told(text: str) -> None:
            loop.call_soon_threadsafe(self._show_work, text)

        if done := await self._told(self.desk.carry_out(wish, told)):
            self.notify(done, markup=False, timeout=4)
        loop.call_soon(self._show_work, "")
        self._pulse.mark(hurry=True)
        self.screen.post_message(CarriedOut(wish))

    def _show_work(self, text: str) -> None:
        """Say on the screen in front how far a wish is."""
        front = self.screen_stack[0]
        if isinstance(front, PodiumScreen):
            front.working = text

    async def _told(self, doing: Awaitable[T]) -> T | None:
        """The result; of an error, None and one line for the user."""
        try:
            return await doing
        except PodiumError as error:
            self.notify(str(error), severity="error", markup=False, timeout=8)
            return None

    async def on_unmount(self) -> None:
        """Let go of the engine."""
        await self.desk.close()


def run(
    first: wishes.ScreenName = "job",
    job_id: str | None = None,
    begin: Callable[[Controller], Awaitable[object]] | None = None,
) -> int:
    """Open the app on the state of this machine; returns the exit status.

    Args:
        first: The screen to begin with.
        job_id: The run to begin with; None for the newest live one.
        begin: What to do once the controller has started, such as launching the demo.
    """
    app = PodiumApp(EngineDesk(Home.default(), begin), first, job_id)
    app.run()
    return app.return_code or 0
