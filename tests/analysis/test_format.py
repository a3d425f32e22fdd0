"""Numbers in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from engine.analysis import format as words
from tests.analysis.made import NAN, START


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (words.duration, 8280, "2 h 18 min"),
        (words.duration, 59.4, "59 s"),
        (words.duration, 59.6, "1 min 00 s"),
        (words.duration, 3599.9, "1 h 00 min"),
        (words.duration, 200_000, "2 d 7 h"),
        (words.duration, -3, "0 s"),
        (words.duration, NAN, "—"),
        (words.dollars, 2.314, "$2.31"),
        (words.dollars, 0, "$0.00"),
        (words.dollars, 12345.6, "$12 345.60"),
        (words.size, 14.2e9, "14.2 GB"),
        (words.size, 0, "0 B"),
        (words.size, 999, "999 B"),
        (words.loss, 0.66857, "0.6686"),
        (words.loss, NAN, "NaN"),
        (words.loss, float("inf"), "∞"),
        (words.percent, 61.4, "61 %"),
        (words.change, 0.35, "+35 %"),
        (words.change, -0.004, "-0 %"),
        (words.count, 18204, "18 204"),
        (words.short, 1.4e-4, "1.4e-4"),
        (words.short, 3412, "3412"),
        (words.short, 0, "0"),
    ],
)
def test_numbers_are_written_for_people(write: Callable[[float], str], value: float, text: str) -> None:
    assert write(value).replace(words.THIN, " ") == text


@pytest.mark.parametrize(
    "write",
    [
        words.duration,
        words.dollars,
        words.size,
        words.loss,
        words.percent,
        words.change,
        words.count,
        words.short,
    ],
)
def test_unknown_is_a_dash_and_never_zero(write: Callable[[float | None], str]) -> None:
    assert write(None) == "—"


def test_ages_and_days_are_relative_to_now() -> None:
    assert words.age(START - timedelta(seconds=2), START) == "2 s ago"
    assert words.age(START + timedelta(hours=2), START) == "0 s ago"
    assert words.age(None, START) == "—"
    assert words.day(None, START) == "—"
    assert words.day(START - timedelta(days=400), START).endswith("2025")


def test_lists_are_cut_with_their_rest_counted() -> None:
    assert words.listed([]) == ""
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.listed("abcdef") == "a, b, c and 3 more"
