"""Going somewhere in a log: by step, epoch, time, line and share; and a pattern that would take for ever."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.fabricated import FakeDesk
from tests.tui.steps import press, settled, until
from tui.app import PodiumApp
from tui.widgets import log_file as log_file_module
from tui.widgets import log_filter
from tui.widgets.log_file import LogFile
from tui.widgets.log_filter import Filter
from tui.widgets.log_lines import LogLines
from tui.widgets.log_pane import LogPane
from tui.widgets.log_places import Wanted, wanted
from tui.widgets.log_view import LogView


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("1200", Wanted("step", 1200)),
        (" Step 7 ", Wanted("step", 7)),
        ("epoch 3", Wanted("epoch", 3)),
        ("e2.5", Wanted("epoch", 2.5)),
        ("12:41", Wanted("time", 12 * 3600 + 41 * 60)),
        ("3:02:01", Wanted("time", 3 * 3600 + 121)),
        ("line 88", Wanted("line", 88)),
        ("#88", Wanted("line", 88)),
        ("50 %", Wanted("share", 50)),
        ("", None),
        ("soon", None),
        ("12:4", None),
    ],
)
def test_a_place_is_read(text: str, place: Wanted | None) -> None:
    assert wanted(text) == place


def lines_of(path: Path, text: bytes) -> LogLines:
    path.write_bytes(text)
    lines = LogLines(str(path), lambda: None)
    for _ in lines.log.grow():
        pass
    return lines


async def test_a_time_is_found_over_midnight_and_around_the_end(tmp_path: Path) -> None:
    stamps = ["22:00:00", "23:00:00", "23:59:59", "00:30:00", "01:00:00", "23:30:00"]
    text = b"header\n" + b"".join(f"{stamp}  a line\n  a detail\n".encode() for stamp in stamps)
    lines = lines_of(tmp_path / "log", text)

    async def found(text: str, first: int = 0) -> int | None:
        place = wanted(text)
        assert place is not None
        return await lines.find_place(place, first)

    assert await found("22:30") == 3
    assert await found("00:15") == 7
    assert await found("23:10", 8) == 11
    assert await found("22:30", 12) == 3, "it goes on at the beginning"
    assert await found("23:00:00") == 3


async def test_dated_times_are_times_too(tmp_path: Path) -> None:
    text = b"[2026-11-21 10:00:00] a\n[2026-11-21T11:00:00Z] b\n2026-11-21 12:00:00,123 c\n"
    lines = lines_of(tmp_path / "log", text)
    assert await lines.find_place(Wanted("time", 11 * 3600)) == 1
    assert await lines.find_place(Wanted("time", 11 * 3600 + 1)) == 2


async def test_epochs_of_a_scripts_console_lines_are_found(tmp_path: Path) -> None:
    text = b"".join(b"Epoch %3d/100: train_loss=8.5, val_loss=17.6\n" % epoch for epoch in range(1, 101))
    lines = lines_of(tmp_path / "log", text)
    assert await lines.find_place(Wanted("epoch", 40)) == 39
    assert await lines.find_place(Wanted("step", 40)) is None
    assert await lines.find_place(Wanted("line", 40)) == 39
    assert await lines.find_place(Wanted("share", 50)) == 49
    assert await lines.find_place(Wanted("line", 10_000)) == 99


async def test_a_jump_is_asked_for_and_done(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        view = app.screen.query_one(LogView)
        await press(pilot, "o", "J", *"1000", "enter")
        await until(pilot, lambda: view.told("step") == 1000)
        assert view.has_focus
        assert not view.following
        await press(pilot, "J", *"12:40:00", "enter")
        await until(pilot, lambda: view.here.startswith("12:40:00"))
        await press(pilot, "J", *"nowhere", "enter")
        assert app.screen.query_one(LogPane)._entry.has_class("-bad")
        await press(pilot, "escape")
        assert view.here.startswith("12:40:00")


async def test_times_are_hidden_and_shown(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        view = app.screen.query_one(LogView)
        await press(pilot, "o", "t")
        assert view.render_line(0).text.startswith("step ")
        assert view.here.startswith("12:"), "what is copied is the whole line"
        await press(pilot, "t")
        assert view.render_line(0).text.startswith("12:")


# A pattern that would take for ever

EVIL = "(x+x+)+y"


def test_a_pattern_that_takes_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_filter, "PATIENCE", 0.05)
    path = tmp_path / "log"
    path.write_bytes(b"fine xxy\n" + b"x" * 4000 + b"\n")
    log = LogFile(str(path))
    for _ in log.grow():
        pass
    filter = Filter(log, EVIL)
    assert filter.behind
    for _ in filter.extend():
        pass
    assert filter.too_slow
    assert not filter.behind


async def test_the_screen_lives_on_under_such_a_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_filter, "PATIENCE", 0.2)
    path = tmp_path / "train.log"
    path.write_bytes(b"x" * 3000 + b"\n" + b"fine xxy\n")
    app = PodiumApp(FakeDesk(log=str(path)))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "o", "slash")
        pane = app.screen.query_one(LogPane)
        pane._entry.value = EVIL
        await until(pilot, lambda: "given up: too slow" in pane._title.facts.plain)
        await press(pilot, "escape")
        assert app.screen.query_one(LogView).rows == 2


# Hostile logs


def hostile(seed: int) -> Iterator[bytes]:
    """Lines that a terminal must not be shown as they are, the same for the same seed."""
    import random

    made = random.Random(seed)
    evil = [
        b"\x1b]0;owned\x07", b"\x1b[2J\x1b[H", b"\x9b31m", b"\x1bP+q\x1b\\", b"\x1bc",
        b"[red]markup[/red]", b"\xff\xfe\x00", b"\r", b"\t", b"\x08\x08", b"\x1b[38;2;1;2;300m", b"\x1b[",
        "e\u0301\u0301\u0301\u0301".encode(), "\U0001f9e8\u200d".encode(), b"step 99999999999999999999",
        "\u202e\u2066".encode(),
    ]  # fmt: skip
    for _ in range(300):
        yield b"".join(
            made.choice(evil) + bytes(made.randbytes(made.randrange(9))) for _ in range(made.randrange(12))
        )
    yield b"a" * (1 << 20)
    yield b"\r".join(b"%d%%|####" % percent for percent in range(100))
    yield b"\x1b[31m" * 50_000


@pytest.mark.parametrize("seed", range(3))
async def test_a_hostile_log_leaves_nothing_that_acts_on_the_screen(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"\n".join(hostile(seed)) + b"\n")
    app = PodiumApp(FakeDesk(log=str(path)))
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        view = app.screen.query_one(LogView)
        await press(pilot, "o")
        for keys in (
            ("G",),
            ("w",),
            ("g",),
            ("t",),
            ("e",),
            ("J", "9", "enter"),
            ("slash", "d", "enter"),
            ("exclamation_mark",),
        ):
            await press(pilot, *keys)
            for y in range(view.size.height):
                text = view.render_line(y).text
                acts = [letter for letter in text if unicodedata.category(letter) == "Cc"]
                assert not acts, repr(text)
                assert not set(text) & set("\u202e\u2066\u200d"), repr(text)
        assert view.rows > 0


# A long log


async def test_the_end_of_a_long_log_is_there_before_its_lines_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file_module, "SLICE", 1000)
    monkeypatch.setattr(log_file_module, "LONG", 2000)
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"line %04d\n" % number for number in range(5000)))
    near = LogFile.end_of(str(path))
    assert near is not None
    assert near.line(len(near) - 1) == b"line 4999"
    assert near.line(0) == b"line 4901"
    seen: list[tuple[bool, bytes]] = []
    moved: list[int] = []
    counted = asyncio.Event()

    def tell() -> None:
        seen.append((lines.counting, lines.line(lines.rows - 1)))
        if moved:
            counted.set()

    lines = LogLines(str(path), tell, moved.append)
    following = asyncio.create_task(lines.keep_up())
    async with asyncio.timeout(30):
        await counted.wait()
    following.cancel()
    assert seen[0] == (True, b"line 4999")
    assert moved == [4901]
    assert lines.rows == 5000
    assert lines.line(4901) == b"line 4901"


async def test_who_moves_up_in_a_long_log_stays_where_he_is(
    app: PodiumApp, log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file_module, "SLICE", 4000)
    monkeypatch.setattr(log_file_module, "LONG", 5000)
    lines_of(log_file, b"".join(b"line %05d\n" % number for number in range(30_000)))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        view = app.screen.query_one(LogView)
        assert view.rows == 30_000
        view.go(29_990)
        view._moved(0)
        assert view.here == "line 29990"
        await press(pilot, "o", "g")
        assert view.here == "line 00000"
