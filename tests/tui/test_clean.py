"""Whatever bytes a pod sends: nothing of them acts on the terminal, and what can be read stays readable."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style

from tui.widgets.clean import CAP, clean, segments, shown_part

HOSTILE = {
    "title": b"a\x1b]0;owned\x07b",
    "title, ended by ST": b"a\x1b]0;owned\x1b\\b",
    "title, never ended": b"ab\x1b]0;owned",
    "clipboard": b"a\x1b]52;c;ZXZpbA==\x07b",
    "hyperlink": b"a\x1b]8;;http://evil\x07b\x1b]8;;\x07",
    "reset": b"a\x1bcb",
    "clear": b"a\x1b[2Jb",
    "cursor": b"a\x1b[10;10Hb",
    "alternate screen": b"a\x1b[?1049hb",
    "device query": b"a\x1b[6nb",
    "device control": b"a\x1bPq#0;2;0;0;0\x1b\\b",
    "application command": b"a\x1b_evil\x1b\\b",
    "private message": b"a\x1b^evil\x1b\\b",
    "8-bit CSI": "a\x9b2Jb".encode(),
    "8-bit OSC": "a\x9d0;owned\x9cb".encode(),
    "8-bit DCS": "a\x90evil\x9cb".encode(),
    "character set": b"a\x1b(0b",
    "cut off": b"ab\x1b[",
    "right to left": "a\u202eb".encode(),
    "isolate": "a\u2066b".encode(),
    "zero width": "a\u200bb".encode(),
    "tag": "a\U000e0041b".encode(),
    "variation": "a\ufe0fb".encode(),
}

ACTING = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\u061c\U000e0000-\U000e0fff]"
)


def shown(line: bytes) -> str:
    return "".join(segment.text for segment in segments(line))


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_what_acts_is_dropped_from_log_lines_and_the_rest_stays(line: bytes) -> None:
    assert shown(line) == "ab"


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_what_acts_is_dropped_from_names_and_the_rest_stays(line: bytes) -> None:
    assert clean(line.decode()) == "ab"


@given(st.binary(max_size=300))
def test_no_bytes_whatsoever_act_through_a_log_line(line: bytes) -> None:
    assert not ACTING.search(shown(line))


@given(st.text(max_size=300))
def test_no_text_whatsoever_acts_through_a_name(text: str) -> None:
    assert not ACTING.search(clean(text))


@given(st.text(st.sampled_from("ab\x1b[]0;m?\x07\x9b\x9d\\P 19\r\n\t"), max_size=60))
def test_no_mixture_of_sequences_acts(text: str) -> None:
    assert not ACTING.search(shown(text.encode()))
    assert not ACTING.search(clean(text))


@given(st.text(st.characters(exclude_categories=["C", "M", "Z"]), max_size=100))
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    # What has no width of its own counts as invisible, whatever its category says.
    if not any(
        unicodedata.category(letter) == "Cf" or letter in "\u115f\u1160\u3164\uffa0" for letter in text
    ):
        assert shown(text.encode()) == text
        assert clean(text) == text


def test_colours_are_kept() -> None:
    parts = segments(b"\x1b[1;31mred\x1b[0m \x1b[38;5;208morange\x1b[39m \x1b[38;2;1;2;3mrgb\x1b[m plain")
    styles = {part.text.strip(): part.style for part in parts}
    assert styles["red"] == Style(bold=True, color="color(1)")
    assert styles["orange"] == Style(color="color(208)")
    assert styles["rgb"].color.triplet == (1, 2, 3)
    assert styles["plain"] == Style.null()


@pytest.mark.parametrize("code", [b"5", b"6", b"8"])
def test_text_can_neither_blink_nor_hide(code: bytes) -> None:
    [part] = segments(b"\x1b[" + code + b"mx")
    assert part.style == Style.null()


@pytest.mark.parametrize("codes", [b"38;5;999", b"38;2;300;0;0", b"38", b"48;9", b"999;" * 50, b"1" * 4000])
def test_colours_that_are_none_are_ignored(codes: bytes) -> None:
    assert shown(b"\x1b[" + codes + b"mx") == "x"


def test_markup_is_text() -> None:
    assert shown(b"[red]loss[/red] [@click=app.quit]x[/]") == "[red]loss[/red] [@click=app.quit]x[/]"
    assert clean("[bold]run") == "[bold]run"


def test_other_controls_are_shown_as_pictures_and_tabs_as_space() -> None:
    assert shown(b"a\x00b\x08c") == "a␀b␈c"
    assert shown(b"ab\tc") == "ab      c"


def test_broken_utf8_is_shown_as_such() -> None:
    assert shown(b"a\xff\xfeb") == "a\ufffd\ufffdb"


def test_letters_bear_three_marks_at_most() -> None:
    assert len(shown(("e" + "\u0301" * 500).encode())) == 4


def test_a_progress_bar_leaves_what_it_drew_last() -> None:
    assert shown_part(b" 10%\r 50%\r100% done\n") == b"100% done"
    assert shown_part(b" 10%\r 50%\r") == b" 50%"
    assert shown_part(b"windows\r\n") == b"windows"


def test_names_become_one_line() -> None:
    assert clean("two\nlines\tof") == "two lines of"
    assert clean(None) == ""
    assert len(clean("x" * 10_000)) == CAP
