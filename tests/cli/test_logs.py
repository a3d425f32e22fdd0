"""`podium logs`: whole, the last lines, and as it grows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from engine.home import Home
from engine.job.events import EventType, EventWriter, Status
from tests.cli.recorded import GOOD, record, told
from tests.conftest import Podium


def test_into_a_pipe_the_log_goes_byte_by_byte(home: Path) -> None:
    record(home, "run", GOOD[:1])
    data = b"progress 1\rprogress 2\n\x1b[31mred\xff\nno newline at the end"
    Home(home).job("run-id").log.write_bytes(data)
    printed = subprocess.run([sys.executable, "-m", "tui", "logs", "run"], capture_output=True, check=False)
    assert printed.stdout == data


def test_the_last_lines_alone(podium: Podium, home: Path) -> None:
    record(home, "run", GOOD)
    assert podium("logs", "run", "-n", "2").stdout == "step 60  loss 3.2\nstep 80  loss 2.0\n"
    assert told(podium("logs", "run", "-n", "1", "--json").stdout)["logs"]["lines"] == ["step 80  loss 2.0"]


def test_a_run_without_a_log_has_an_empty_one(podium: Podium, home: Path) -> None:
    record(home, "run", GOOD[:1])
    Home(home).job("run-id").log.unlink()
    result = podium("logs", "run")
    assert (result.returncode, result.stdout) == (0, "")


def test_following_ends_with_the_run_and_misses_nothing(home: Path) -> None:
    record(home, "run", GOOD[:1], ends=False)
    folder = Home(home).job("run-id")
    command = [sys.executable, "-m", "tui", "logs", "--follow", "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout
        assert following.stdout.readline() == "step 20  loss 6.1\n"
        with folder.log.open("a") as log:
            log.write("grown by this\n")
        assert following.stdout.readline() == "grown by this\n"
        with folder.log.open("a") as log, EventWriter(folder.events) as events:
            log.write("the last words\n")
            log.flush()
            events.append(EventType.STATE, 20, status=Status.COMPLETED)
        rest, _ = following.communicate(timeout=60)
        assert rest == "the last words\n"
        assert following.returncode == 0


def test_json_and_following_exclude_each_other(podium: Podium) -> None:
    result = podium("logs", "run", "--follow", "--json")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
