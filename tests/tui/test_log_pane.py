"""The log pane under its keys, over a file that grows while it is looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from textual.events import MouseScrollUp
from textual.pilot import Pilot
from textual.widgets import Input

from engine.analysis.snapshot import Question, Snapshot
from tests.tui.fabricated import FakeDesk, live
from tests.tui.steps import press, settled, until
from tui.app import PodiumApp
from tui.widgets.log_pane import LogPane
from tui.widgets.log_view import LogView


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def replace_text(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    """A hundred lines, an error at 40 and one at 60."""
    path = tmp_path / "train.log"
    append(path, *(f"line {n}" + (" ValueError: bad" if n in (40, 60) else "") for n in range(100)))
    return path


@asynccontextmanager
async def looking_at_the_log(app: PodiumApp, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Pilot[None]]:
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await press(pilot, "o")
        await until(pilot, lambda: app.screen.query_one(LogView).has_focus)
        yield pilot


def view(pilot: Pilot[None]) -> LogView:
    return pilot.app.screen.query_one(LogView)


def visible(pilot: Pilot[None]) -> list[str]:
    window = view(pilot)
    return [window.render_line(y).text.rstrip() for y in range(window.size.height)]


def facts(pilot: Pilot[None]) -> str:
    return pilot.app.screen.query_one(LogPane)._title.facts.plain


async def test_it_begins_at_the_end_and_follows(app: PodiumApp, log_file: Path) -> None:
    async with looking_at_the_log(app) as pilot:
        await press(pilot, "m")  # there is one machine
        assert app.screen.query_one(LogPane)._title.title.plain == "log"
        assert visible(pilot)[-1] == "line 99"
        append(log_file, "line 100", "line 101")
        await until(pilot, lambda: view(pilot).rows == 102)
        assert visible(pilot)[-1] == "line 101"
        assert "102 lines" in facts(pilot)
        assert "following" in facts(pilot)


async def test_frozen_it_stays_where_it_is_while_lines_come(app: PodiumApp, log_file: Path) -> None:
    async with looking_at_the_log(app) as pilot:
        await press(pilot, "f")
        before = visible(pilot)
        append(log_file, *(f"more {n}" for n in range(500)))
        await until(pilot, lambda: view(pilot).rows == 600)
        assert visible(pilot) == before
        assert "frozen" in facts(pilot)
        await press(pilot, "f")
        assert visible(pilot)[-1] == "more 499"


async def test_moving_up_freezes_and_the_end_follows_again(app: PodiumApp, log_file: Path) -> None:
    async with looking_at_the_log(app) as pilot:
        await press(pilot, "k", "k", "up")
        assert view(pilot).here == "line 96"
        append(log_file, "line 100")
        await until(pilot, lambda: view(pilot).rows == 101)
        assert view(pilot).here == "line 96"
        await press(pilot, "g")
        assert (visible(pilot)[0], view(pilot).here) == ("line 0", "line 0")
        await press(pilot, "j", "pagedown")
        assert view(pilot).here == f"line {1 + view(pilot).size.height - 1}"
        await press(pilot, "G")
        assert visible(pilot)[-1] == "line 100"
        assert view(pilot).following


async def test_the_wheel_freezes_and_lines_that_come_move_nothing(app: PodiumApp, log_file: Path) -> None:
    async with looking_at_the_log(app) as pilot:
        for _ in range(12):  # far from where the cursor stays
            await pilot._post_mouse_events([MouseScrollUp], view(pilot), button=0)
        await settled(pilot)
        there = visible(pilot)
        assert there[0] != "line 0"
        assert "frozen" in facts(pilot)
        append(log_file, *(f"later {n}" for n in range(50)))
        await until(pilot, lambda: view(pilot).rows == 150)
        await settled(pilot)
        assert visible(pilot) == there


async def test_a_filter_shows_what_matches_or_the_others_and_escape_shows_all(app: PodiumApp) -> None:
    async with looking_at_the_log(app) as pilot:
        await press(pilot, "slash", *"error")
        assert visible(pilot)[:3] == ["line 40 ValueError: bad", "line 60 ValueError: bad", ""]
        assert "/error  2 of 100 lines" in facts(pilot)
        await press(pilot, "enter")
        assert view(pilot).has_focus
        assert view(pilot).rows == 2
        await press(pilot, "exclamation_mark")
        assert view(pilot).rows == 98
        assert "!error" in facts(pilot)
        await press(pilot, "exclamation_mark")
        assert view(pilot).rows == 2
        await press(pilot, "escape")
        assert view(pilot).rows == 100


async def test_the_filter_goes_on_with_lines_that_come(app: PodiumApp, log_file: Path) -> None:
    async with looking_at_the_log(app) as pilot:
        await press(pilot, "slash", *"error", "enter")
        append(log_file, "line 100", "KeyError: late")
        await until(pilot, lambda: view(pilot).rows == 3)
        assert visible(pilot)[2] == "KeyError: late"


async def test_half_a_regular_expression_changes_nothing(app: PodiumApp) -> None:
    async with looking_at_the_log(app) as pilot:
        await press(pilot, "slash", *"line 4(")
        assert view(pilot).rows == 11, "what was typed before the bracket still counts"
        assert pilot.app.screen.query_one(Input).has_class("-bad")
        await press(pilot, *"0|1)")
        assert view(pilot).rows == 2
        assert not pilot.app.screen.query_one(Input).has_class("-bad")


async def test_clearing_a_filter_keeps_the_line_that_one_was_on(app: PodiumApp) -> None:
    async with looking_at_the_log(app) as pilot:
        await press(pilot, "slash", *"error", "enter", "g")
        assert view(pilot).here.startswith("line 40")
        await press(pilot, "escape")
        assert view(pilot).here.startswith("line 40")
        assert any(line.startswith("line 40") for line in visible(pilot))


async def test_the_next_error_is_found_and_then_there_is_none(app: PodiumApp) -> None:
    async with looking_at_the_log(app) as pilot:
        await press(pilot, "g", "e")
        await until(pilot, lambda: view(pilot).here.startswith("line 40"))
        await press(pilot, "e")
        await until(pilot, lambda: view(pilot).here.startswith("line 60"))
        await press(pilot, "e")
        await until(pilot, lambda: pilot.app._notifications)
        assert view(pilot).here.startswith("line 60")


async def test_a_line_is_copied_clean(app: PodiumApp, log_file: Path) -> None:
    async with looking_at_the_log(app) as pilot:
        append(log_file, "\x1b[31mred\x1b[0m \x1b]52;c;ZXZpbA==\x07done")
        await until(pilot, lambda: view(pilot).rows == 101)
        await press(pilot, "y")
        assert pilot.app.clipboard == "red done"


async def test_long_lines_are_wrapped_or_cut(app: PodiumApp, log_file: Path) -> None:
    async with looking_at_the_log(app) as pilot:
        width = view(pilot).scrollable_content_region.width
        append(log_file, "a" * width + "b" * 10)
        await until(pilot, lambda: view(pilot).rows == 101)
        assert visible(pilot)[-1] == "a" * width
        await press(pilot, "right")
        assert visible(pilot)[-1].endswith("b" * 10)
        await press(pilot, "w")
        assert visible(pilot)[-2:] == ["a" * width, "b" * 10]
        await press(pilot, "g")
        assert visible(pilot)[0] == "line 0"


async def test_nothing_hostile_reaches_the_terminal(app: PodiumApp, log_file: Path) -> None:
    async with looking_at_the_log(app) as pilot:
        with log_file.open("ab") as file:
            file.write(
                b"\x1b]0;owned\x07[bold]\x1b[2J\xc2\x9b2J\xe2\x80\xaename\x1bc\n" + b"x" * 3_000_000 + b"\n"
            )
        await until(pilot, lambda: view(pilot).rows == 102)
        assert visible(pilot)[-2] == "[bold]name"
        assert visible(pilot)[-1] == "x" * view(pilot).scrollable_content_region.width


async def test_a_restarted_file_is_shown_from_its_beginning(app: PodiumApp, log_file: Path) -> None:
    async with looking_at_the_log(app) as pilot:
        await press(pilot, "slash", *"line", "enter")
        replace_text(log_file, "line A\nother\nline B\n")
        await until(pilot, lambda: view(pilot).rows == 2)
        assert visible(pilot)[:2] == ["line A", "line B"]


async def test_another_run_brings_another_log(log_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.log"
    append(other, "other run")
    desk = FakeDesk(log=str(log_file))
    app = PodiumApp(desk)
    async with looking_at_the_log(app) as pilot:
        desk.log = str(other)
        desk.changed()
        await until(pilot, lambda: view(pilot).rows == 1)
        assert visible(pilot)[0] == "other run"


async def test_a_log_that_is_not_there_is_an_empty_pane() -> None:
    app = PodiumApp(FakeDesk(log="/nowhere/train.log"))
    async with looking_at_the_log(app) as pilot:
        await press(pilot, "g", "G", "e", "y", "w", "f", "j", "k", "slash", "x", "enter")
        assert "".join(visible(pilot)) == ""


async def test_each_machine_of_a_job_has_its_log_and_the_filter_stays(
    app: PodiumApp, desk: FakeDesk, log_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "of-node-1.log"
    append(other, "rank 4 is up", "RuntimeError: NCCL", "rank 5 is up")

    def of_several(question: Question) -> Snapshot:
        snapshot = live(question)
        logs = (str(log_file), str(other), str(tmp_path / "not-there-yet.log"))
        return replace(snapshot, job=replace(snapshot.job, node_logs=logs))

    desk.answer = of_several
    async with looking_at_the_log(app) as pilot:
        pane = app.screen.query_one(LogPane)
        assert pane._title.title.plain == "log of node 0 of 3"
        await press(pilot, "slash", *"error", "enter", "m")
        await until(pilot, lambda: view(pilot).rows == 1)
        assert visible(pilot)[0] == "RuntimeError: NCCL"
        assert pane._title.title.plain == "log of node 1 of 3"
        assert "/error  1 of 3 lines" in facts(pilot)
        await press(pilot, "m")
        await until(pilot, lambda: view(pilot).rows == 0)
        await press(pilot, "m")
        await until(pilot, lambda: view(pilot).rows == 2)
