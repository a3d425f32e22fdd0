"""The wire: what is written comes back, and nothing that is read can hurt."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadWireLine
from engine.job.events import (
    MAX_LINE,
    Event,
    EventType,
    EventWriter,
    Status,
    decode,
    encode,
    last_event,
    number,
    parse_stamp,
    stamp,
)
from tests.processes import contiguous, events_of

NOW = datetime(2026, 11, 21, 10, 0, 0, 123000, UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


@given(st.integers(1, 2**62), st.integers(0, 2**31), st.none() | st.integers(0, 2**40), JSON)
def test_what_is_encoded_is_decoded(seq: int, attempt: int, step: int | None, value: object) -> None:
    event = Event(seq, NOW, attempt, EventType.TRAIN, step, {"value": value})
    line = encode(event)
    assert line.count(b"\n") == 1
    assert decode(line) == event


def test_numbers_that_json_has_no_word_for_travel_as_strings() -> None:
    line = encode(Event(1, NOW, 1, EventType.TRAIN, 1, {"a": math.nan, "b": [math.inf, -math.inf]}))
    assert json.loads(line)["data"] == {"a": "NaN", "b": ["Infinity", "-Infinity"]}
    assert math.isnan(number("NaN") or 0)
    assert number("-Infinity") == -math.inf
    assert number(True) is None
    assert number("none") is None


def test_a_lone_surrogate_is_no_reason_to_die() -> None:
    event = decode(encode(Event(1, NOW, 1, EventType.PREDICTION, 1, {"text": "a\udc80b", "\ud800": 1})))
    assert event.data["text"] == "a\udc80b"


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_bad_line(line: bytes) -> None:
    try:
        decode(line)
    except BadWireLine:
        pass


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"7",
        b"[]",
        b"null",
        b"{}",
        b'{"v":2,"seq":1,"ts":"2026-11-21T10:00:00Z","attempt":1,"type":"x"}',
        b'{"v":1,"seq":0,"ts":"2026-11-21T10:00:00Z","attempt":1,"type":"x"}',
        b'{"v":1,"seq":1e3,"ts":"2026-11-21T10:00:00Z","attempt":1,"type":"x"}',
        b'{"v":1,"seq":true,"ts":"2026-11-21T10:00:00Z","attempt":1,"type":"x"}',
        b'{"v":1,"seq":99999999999999999999,"ts":"2026-11-21T10:00:00Z","attempt":1,"type":"x"}',
        b'{"v":1,"seq":1,"ts":"yesterday","attempt":1,"type":"x"}',
        b'{"v":1,"seq":1,"ts":17,"attempt":1,"type":"x"}',
        b'{"v":1,"seq":1,"ts":"2026-11-21T10:00:00Z","attempt":1,"type":7}',
        b'{"v":1,"seq":1,"ts":"2026-11-21T10:00:00Z","attempt":1,"type":"x","data":[]}',
        b"[" * 100_000,
        b"9" * 5000,
        b" " * (MAX_LINE + 1),
    ],
)
def test_a_line_that_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(BadWireLine):
        decode(line)


def test_stamps_are_utc_milliseconds() -> None:
    assert stamp(NOW) == "2026-11-21T10:00:00.123Z"
    assert parse_stamp("2026-11-21T12:00:00.123+02:00") == NOW
    assert parse_stamp("2026-11-21T10:00:00.123") == NOW


def test_only_three_states_are_live_and_three_are_the_end() -> None:
    assert [status for status in Status if status.live] == ["queued", "pending", "running"]
    assert [status for status in Status if status.ended] == ["completed", "failed", "cancelled"]


def test_seq_rises_by_one_whoever_writes(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    code = (
        "import sys; from pathlib import Path; from engine.job.events import EventWriter, EventType\n"
        "with EventWriter(Path(sys.argv[1]), int(sys.argv[2])) as w:\n"
        "    for i in range(200): w.append(EventType.TRAIN, i, loss=i, pad='x' * (i * 7 % 300))\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, path, str(n)]) for n in range(1, 9)]
    assert [writer.wait(120) for writer in writers] == [0] * 8
    events = events_of(path)
    assert len(events) == 1600
    assert contiguous(events)
    for attempt in range(1, 9):
        assert [event.step for event in events if event.attempt == attempt] == list(range(200))


def test_threads_of_one_process_may_share_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:

        def write() -> None:
            for step in range(100):
                writer.append(EventType.TRAIN, step, pad="x" * step)

        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(events_of(path)) == 800
    assert contiguous(events_of(path))


def test_a_torn_tail_becomes_a_line_of_its_own_and_seq_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        writer.append(EventType.TRAIN, 1)
        writer.append(EventType.TRAIN, 2)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    with EventWriter(path) as writer:
        assert writer.append(EventType.TRAIN, 3).seq == 3
        assert writer.append(EventType.TRAIN, 4).seq == 4
    lines = path.read_bytes().splitlines()
    assert lines[2] == whole[:20]
    assert [decode(line).seq for line in lines[:2] + lines[3:]] == [1, 2, 3, 4]


def test_a_writer_sees_what_another_one_wrote_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path, 1) as one, EventWriter(path, 2) as two:
        seqs = [writer.append(EventType.TRAIN, 1).seq for writer in (one, two, two, one, two)]
    assert seqs == [1, 2, 3, 4, 5]


def test_the_last_event_is_found_behind_megabytes_of_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert last_event(path) is None
    with EventWriter(path, 3) as writer:
        writer.append(EventType.TRAIN, 1)
    with path.open("ab") as file:
        file.write(b"rubbish\n" * 300_000 + b"torn")
    found = last_event(path)
    assert found is not None
    assert (found.seq, found.attempt) == (1, 3)


def test_an_event_too_long_for_its_readers_is_cut_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        writer.append(EventType.PREDICTION, 1, prompt="x" * (2 * MAX_LINE), sample_index=3)
        writer.append(EventType.PREDICTION, 2, many=["y" * 100] * 50_000)
        writer.append(EventType.PREDICTION, 3, numbers=list(range(1_000_000)))
    first, second, third = events_of(path)
    assert first.data["sample_index"] == 3
    assert first.data["prompt"].startswith("xxx")
    assert first.data["clipped"] is second.data["clipped"] is third.data["clipped"] is True
    assert all(len(line) <= MAX_LINE for line in path.read_bytes().splitlines())


def test_a_disk_that_is_full_leaves_whole_lines_and_the_next_event_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from engine.job.events import EventWriter, EventType\n"
        "soft = lambda n: resource.setrlimit(resource.RLIMIT_FSIZE, (n, resource.RLIM_INFINITY))\n"
        "writer = EventWriter(Path(sys.argv[1])); soft(1000); failed = 0\n"
        "for i in range(50):\n"
        "    try: writer.append(EventType.TRAIN, i)\n"
        "    except OSError: failed += 1\n"
        "soft(resource.RLIM_INFINITY)\n"
        "writer.append(EventType.TRAIN, 50); print(failed)\n"
    )
    failed = int(subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True).stdout)
    events = events_of(path)
    assert 0 < failed < 50
    assert len(events) == 51 - failed
    assert contiguous(events)
    assert events[-1].step == 50
    assert path.read_bytes().endswith(b"\n")
