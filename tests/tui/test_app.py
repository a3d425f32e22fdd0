"""The shell: screens, keys, palette, help, wishes, and what happens when something goes wrong."""

from __future__ import annotations

import asyncio
import gc
import io
import sys
import threading
from dataclasses import replace

import pytest
from textual.command import CommandPalette
from textual.widgets import Input, OptionList

from engine.analysis.snapshot import Question, Snapshot
from engine.errors import PodiumError, StoreError
from tests.tui.fabricated import NOW, FakeDesk, empty, live
from tests.tui.steps import press, settled, until
from tui import quiet_start, themes, wishes
from tui.__main__ import main
from tui.app import PodiumApp
from tui.screens.dialogs import Confirm
from tui.screens.help import HelpScreen
from tui.themes import run_colour, run_style
from tui.widgets.trouble import TroubleLine


async def test_digits_change_the_screen(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        for key, name in (("2", "comparison"), ("3", "history"), ("1", "job")):
            await press(pilot, key)
            assert app.current_mode == name


async def test_tabs_change_the_screen(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        for column, name in ((38, "history"), (22, "comparison"), (11, "job")):
            await pilot.click("TopBar", offset=(column, 0))
            await until(pilot, lambda name=name: app.current_mode == name)


async def test_only_the_screen_in_front_is_given_snapshots(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        job_screen = app.screen
        await press(pilot, "3")
        before = job_screen.snapshot
        desk.answer = lambda question: replace(live(question), totals=replace(live(question).totals, live=5))
        desk.changed()
        await until(pilot, lambda: app.snapshot.totals.live == 5)
        assert app.screen.snapshot.totals.live == 5
        assert job_screen.snapshot is before
        await press(pilot, "1")
        assert job_screen.snapshot is app.snapshot


async def test_q_quits_and_lets_go_of_the_engine(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("q")
    assert app.return_code == 0
    assert desk.closed


async def test_help_shows_every_command_of_the_focused_pane(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 60)) as pilot:
        await settled(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        text = "\n".join(str(static.render()) for static in app.screen.query("Static"))
        for words in ("crosshair", "Smooth more", "stop", "Show all runs", "theme"):
            assert words in text
        await pilot.press("q")
        await until(pilot, lambda: not isinstance(app.screen, HelpScreen))


@pytest.mark.parametrize("key", ["colon", "ctrl+p"])
async def test_the_palette_finds_commands(app: PodiumApp, key: str) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"history")
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count)
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "history")


async def test_the_palette_finds_runs(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "3")
        await pilot.press("colon")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"qwen-05")
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count)
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "job")
        await settled(pilot)
        assert desk.questions[-1].job_id == "job-05"


async def test_a_changed_store_changes_the_screen(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        desk.answer = empty
        thread = threading.Thread(target=desk.changed)
        thread.start()
        thread.join()
        await until(pilot, lambda: app.screen.has_class("-nothing"))


async def test_a_flood_of_changes_is_few_snapshots(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        before = len(desk.questions)
        for _ in range(2000):
            desk.changed()
        await asyncio.sleep(0.05)
        await settled(pilot)
        assert 1 <= len(desk.questions) - before <= 5


async def test_stopping_a_run_asks_first_and_says_what_is_lost(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        text = "\n".join(str(static.render()) for static in app.screen.query("Static"))
        assert "support-qwen-07" in text
        assert "780 of 2 000 steps" in text
        assert "$2.31" in text
        await pilot.press("n")
        await until(pilot, lambda: not isinstance(app.screen, Confirm))
        assert desk.wishes == []
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: desk.wishes)
        [wish] = desk.wishes
        assert isinstance(wish, wishes.StopJob)
        assert wish.job_ids == ("job-07",)


async def test_enter_on_a_question_does_the_harmless_thing(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, Confirm))
        assert desk.wishes == []


class Refusing(FakeDesk):
    """A desk whose engine refuses."""

    async def carry_out(self, wish: object, told: object = None) -> str:
        raise PodiumError("pod [red]7[/red] is gone", "Look at podium pods.")


async def test_a_refused_wish_is_one_line_of_plain_text() -> None:
    app = PodiumApp(Refusing())
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: app._notifications)
        [notice] = app._notifications
        assert notice.message == "pod [red]7[/red] is gone. Look at podium pods."
        assert notice.markup is False


class Broken(FakeDesk):
    """A desk whose store can't be read."""

    def take(self, question: Question) -> Snapshot:
        raise StoreError("podium.db is damaged", "Move it away.")


async def test_a_store_that_cannot_be_read_is_told_and_the_app_stays() -> None:
    app = PodiumApp(Broken())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app._notifications)
        assert "podium.db is damaged" in next(iter(app._notifications)).message
        await pilot.press("3", "question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))


async def test_trouble_has_a_line_while_it_lasts(app: PodiumApp, desk: FakeDesk) -> None:
    desk.answer = lambda question: replace(live(question), trouble="The disk is full. Delete runs.")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        line = app.screen.query_one(TroubleLine)
        assert line.display
        assert "The disk is full" in str(line.render())
        desk.answer = live
        desk.changed()
        await until(pilot, lambda: not line.display)


async def test_the_theme_is_remembered(desk: FakeDesk) -> None:
    async with PodiumApp(desk).run_test() as pilot:
        await settled(pilot)
        pilot.app.theme = "podium-colour-blind"
        await until(pilot, lambda: desk.settings.get("theme") == "podium-colour-blind")
    async with PodiumApp(desk).run_test() as pilot:
        await settled(pilot)
        assert pilot.app.theme == "podium-colour-blind"


async def test_a_theme_that_is_no_more_does_not_stop_the_app(desk: FakeDesk) -> None:
    desk.settings["theme"] = "gone"
    app = PodiumApp(desk)
    async with app.run_test() as pilot:
        await settled(pilot)
        assert app.theme == "podium"


async def test_every_theme_draws_every_screen(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        ansi = [name for name in app.available_themes if "ansi" in name]
        for theme in ("podium-light", "podium-colour-blind", "textual-light", "nord", *ansi):
            app.theme = theme
            for key in "231":
                await press(pilot, key)


async def test_without_colour_nothing_is_coloured(desk: FakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = PodiumApp(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        [grey] = app._filters[:1]
        background = app.background_colors[1]
        drawn = [strip.apply_filter(grey, background) for strip in app.screen._compositor.render_strips()]
    styles = {segment.style for strip in drawn for segment in strip if segment.style}
    colours = [colour for style in styles for colour in (style.color, style.bgcolor) if colour]
    triplets = [colour.triplet for colour in colours if colour.triplet]
    assert triplets
    assert all(len(set(triplet)) == 1 for triplet in triplets)


def test_a_runs_colour_depends_on_its_number_alone() -> None:
    variables = themes.THEMES[0].variables
    assert len({run_colour(number, variables) for number in range(1, 9)}) == 8
    assert run_colour(3, variables) == run_colour(11, variables) == variables[run_style(3)[1:]]


@pytest.mark.parametrize("size", [(1, 1), (10, 3), (40, 10), (300, 100)])
async def test_no_size_of_terminal_breaks_the_app(app: PodiumApp, size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.idle)
        for key in "231":
            await pilot.press(key)
            await pilot.pause(0.05)


async def test_an_entry_takes_letters_that_are_keys_elsewhere(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "o", "slash", *"qs123?")
        assert app.screen.query_one(Input).value == "qs123?"
        assert app.current_mode == "job"


def test_now_is_frozen_in_tests() -> None:
    assert FakeDesk().now() == NOW


async def test_the_collector_works_again_once_the_app_has_started(app: PodiumApp) -> None:
    quiet_start.begin()
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, gc.isenabled)
    finally:
        gc.enable()
        gc.unfreeze()


def test_the_app_that_ends_badly_says_so_as_any_command_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing() -> int:
        raise StoreError("the database is not ours")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def reconfigure(self, **_: object) -> None:
            pass

    monkeypatch.setattr(sys, "argv", ["podium"])
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    monkeypatch.setattr("tui.app.run", failing)
    with pytest.raises(SystemExit) as ended:
        main()
    gc.enable()
    assert ended.value.code == 2
    assert "the database is not ours" in sys.stderr.getvalue()  # type: ignore[attr-defined]
