"""The index of a log: every line of a growing file, whatever happens to the file meanwhile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.widgets import log_file
from tui.widgets.clean import CAP
from tui.widgets.log_file import LogFile
from tui.widgets.log_filter import BadPattern, Filter
from tui.widgets.log_lines import LogLines
from tui.widgets.log_places import Wanted


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.log"


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def grown(log: LogFile) -> list[bytes]:
    for _ in log.grow():
        pass
    return [log.line(number) for number in range(len(log))]


def found(filter: Filter) -> list[int]:
    for _ in filter.extend():
        pass
    return list(filter.lines)


def test_a_file_that_is_not_there_yet_has_no_lines_and_comes_later(path: Path) -> None:
    log = LogFile(str(path))
    assert grown(log) == []
    assert not log.stale()
    append(path, b"one\n")
    assert log.stale()
    assert grown(log) == [b"one"]


def test_a_torn_last_line_is_shown_and_then_completed(path: Path) -> None:
    log = LogFile(str(path))
    append(path, b"one\ntw")
    assert grown(log) == [b"one", b"tw"]
    append(path, b"o\nthree")
    assert grown(log) == [b"one", b"two", b"three"]


def test_a_file_that_was_cut_starts_again(path: Path) -> None:
    log = LogFile(str(path))
    append(path, b"one\ntwo\n")
    grown(log)
    path.write_bytes(b"new\n")
    assert grown(log) == [b"new"]
    assert log.generation == 1


def test_a_file_that_was_replaced_starts_again(path: Path) -> None:
    log = LogFile(str(path))
    append(path, b"one\ntwo\n")
    grown(log)
    other = path.with_name("other")
    other.write_bytes(b"1\n2\n3\n4\n5\n")
    other.replace(path)
    assert log.stale()
    assert grown(log) == [b"1", b"2", b"3", b"4", b"5"]
    assert log.generation == 1


def test_a_file_that_went_away_can_still_be_read(path: Path) -> None:
    log = LogFile(str(path))
    append(path, b"one\n")
    grown(log)
    path.unlink()
    assert grown(log) == [b"one"]


def test_a_huge_line_is_cut_and_a_huge_progress_bar_shows_its_end(path: Path) -> None:
    append(
        path, b"x" * 1_000_000 + b"\n" + b"\r".join(b"%6d%%" % step for step in range(200_000)) + b"\nlast\n"
    )
    lines = grown(LogFile(str(path)))
    assert lines == [b"x" * CAP, b"199999%", b"last"]


@given(st.lists(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\n\n", b"de\nf"]), max_size=8), max_size=6))
def test_lines_are_those_of_the_file_however_it_grew(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[bytes]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "train.log"
    log = LogFile(str(path))
    for part in parts:
        append(path, b"".join(part))
        grown(log)
    whole = path.read_bytes() if path.exists() else b""
    expected = whole.split(b"\n")
    assert grown(log) == (expected[:-1] if expected[-1] == b"" else expected)


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of a few lines, so that their edges are met."""
    monkeypatch.setattr(log_file, "SLICE", 64)


LINES = [b"step %d loss %s" % (step, b"nan" if step % 7 == 0 else b"0.5") for step in range(200)]


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize(
    "pattern", ["nan", "NAN", "step 1", r"\b1\d\b", "^step 2", "5$", "", r"loss\s+nan", "[^x]*", r"\s"]
)
@pytest.mark.parametrize("inverted", [False, True])
def test_a_filter_finds_what_a_search_of_each_line_finds(path: Path, pattern: str, inverted: bool) -> None:
    log = LogFile(str(path))
    append(path, b"\n".join(LINES) + b"\n")
    grown(log)
    flags = 0 if any(letter.isupper() for letter in pattern) else re.IGNORECASE
    expected = [
        number
        for number, line in enumerate(LINES)
        if bool(re.search(pattern.encode(), line, flags)) is not inverted
    ]
    assert found(Filter(log, pattern, inverted=inverted)) == expected


@pytest.mark.usefixtures("small_slices")
def test_a_filter_goes_on_where_it_was_and_waits_for_whole_lines(path: Path) -> None:
    log = LogFile(str(path))
    append(path, b"error 1\nfine\nerr")
    grown(log)
    filter = Filter(log, "error")
    assert found(filter) == [0]
    append(path, b"or 2\n" + b"fine\n" * 50 + b"error 3\n")
    grown(log)
    assert found(filter) == [0, 2, 53]


def test_case_counts_only_when_asked_for(path: Path) -> None:
    log = LogFile(str(path))
    append(path, b"ERROR\nerror\n")
    grown(log)
    assert found(Filter(log, "error")) == [0, 1]
    assert found(Filter(log, "ERROR")) == [0]


def test_no_regular_expression_is_refused(path: Path) -> None:
    with pytest.raises(BadPattern):
        Filter(LogFile(str(path)), "(")


async def test_a_step_is_found_among_many_lines(path: Path) -> None:
    append(
        path, b"header\n" * 50 + b"".join(b"step %d loss 1\n  detail\n" % step for step in range(0, 5000, 5))
    )
    lines = LogLines(str(path), lambda: None)
    for _ in lines.log.grow():
        pass
    for wanted, expected in ((0, 0), (1, 5), (2500, 2500), (4993, 4995)):
        number = await lines.find_place(Wanted("step", wanted))
        assert number is not None
        assert lines.told("step", number) == expected
    assert await lines.find_place(Wanted("step", 5000)) is None


async def test_the_next_match_is_found_with_and_without_a_filter(path: Path) -> None:
    append(path, b"".join(b"line %d%s\n" % (n, b" Error" if n % 300 == 299 else b"") for n in range(1000)))
    lines = LogLines(str(path), lambda: None)
    for _ in lines.log.grow():
        pass
    error = re.compile(b"Error")
    assert await lines.find(error, 0) == 299
    assert await lines.find(error, 300) == 599
    assert await lines.find(error, 900) is None
    lines.let_through("9$|Error")
    assert lines.filter is not None
    found(lines.filter)
    row = await lines.find(error, 0)
    assert row is not None
    assert lines.line(row) == b"line 299 Error"
