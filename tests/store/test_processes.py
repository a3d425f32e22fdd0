"""Several processes at one database, and processes that are killed in the middle."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.job.events import Status
from engine.store.sqlite import SQLiteStore
from tests.store.wire import Wire, a_job

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120

Process = subprocess.Popen[str]


class Ingesters:
    """Starts processes that take in one file, and ends those that are left."""

    def __init__(self, database: Path, file: Path) -> None:
        self._paths = database, file
        self._started: list[Process] = []

    def start(self, lines: int) -> Process:
        """One that waits for a line of input before it begins."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.ingester", *map(str, self._paths), str(lines)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate(timeout=PATIENCE)


def go(process: Process) -> None:
    """Let it begin."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.fixture
def wire() -> Wire:
    wire = Wire().state(Status.RUNNING).start(total_steps=2000)
    for step in range(1, 2001):
        wire.train(step, 1 + 1 / step, epoch=step / 1000)
        if step % 500 == 0:
            wire.evaluate(step, 2 + 1 / step)
    return wire.state(Status.COMPLETED)


@pytest.fixture
def ingesters(tmp_path: Path, wire: Wire) -> Iterator[Ingesters]:
    database = tmp_path / "podium.db"
    store = SQLiteStore(database)
    store.add(a_job())
    store.close()
    file = tmp_path / "events.jsonl"
    file.write_bytes(wire.bytes)
    found = Ingesters(database, file)
    yield found
    found.end()


def check(database: Path, wire: Wire) -> None:
    """Everything is there, once."""
    store = SQLiteStore(database)
    try:
        assert store.offset("job-1", "events.jsonl") == len(wire.bytes)
        assert [event.seq for event in store.events("job-1")] == list(range(1, len(wire.lines) + 1))
        assert [row["step"] for row in store.metric_rows("job-1") if row["kind"] == "train"] == list(
            range(1, 2001)
        )
        curve = store.curve("job-1", "loss", columns=100)
        assert curve.total == sum(point.count for point in curve.points) == 2000
        assert sum(point.mean * point.count for point in curve.points) == pytest.approx(
            sum(1 + 1 / step for step in range(1, 2001))
        )
        assert len(store.checkpoints("job-1")) == 4
        assert store.job("job-1").status is Status.COMPLETED
    finally:
        store.close()


def test_processes_that_take_in_the_same_bytes_at_once_store_them_once(
    tmp_path: Path, wire: Wire, ingesters: Ingesters
) -> None:
    started = [ingesters.start(lines) for lines in (7, 31, 50)]
    for process in started:
        go(process)
    for process in started:
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    check(tmp_path / "podium.db", wire)


def test_a_process_killed_while_it_takes_in_loses_and_doubles_nothing(
    tmp_path: Path, wire: Wire, ingesters: Ingesters
) -> None:
    reached = 0
    for _ in range(4):
        process = ingesters.start(13)
        go(process)
        assert process.stdout is not None
        for _ in range(20):
            if line := process.stdout.readline().strip():
                reached = int(line)
        process.kill()
        process.wait(timeout=PATIENCE)
        store = SQLiteStore(tmp_path / "podium.db")
        stored = store.offset("job-1", "events.jsonl")
        assert stored >= reached
        newest = store.events("job-1", limit=1)[0].seq
        assert stored == sum(map(len, wire.lines[:newest]))
        assert store.curve("job-1", "loss").total == sum(b'"train"' in line for line in wire.lines[:newest])
        store.close()
    assert 0 < reached < len(wire.bytes)
    last = ingesters.start(1000)
    go(last)
    last.communicate(timeout=PATIENCE)
    check(tmp_path / "podium.db", wire)


def test_processes_that_open_a_new_database_at_once_all_find_it_whole(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from engine.store.sqlite import SQLiteStore\n"
        "from tests.store.wire import a_job\n"
        "sys.stdin.readline()\n"
        "store = SQLiteStore(Path(sys.argv[1]) / 'podium.db')\n"
        "print(store.add(a_job(sys.argv[2])).number)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), f"job-{at}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for at in range(4)
    ]
    for process in processes:
        go(process)
    numbers = sorted(process.communicate(timeout=PATIENCE)[0].strip() for process in processes)
    assert numbers == ["1", "2", "3", "4"]
