"""How commands end: an exit status, at most one line on stderr, and never a traceback."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Podium

WITH_A_FAULT = """
from tui.cli import podium
@podium.command()
def trip():
    print("before the fall")
    raise RuntimeError("the floor\\x1b[31m is\\nwet")
podium(["trip"])
"""
ENDLESS = """
from tui.cli import podium
import click, time
@podium.command()
def chatter():
    while True:
        click.echo("word")
        time.sleep(0.001)
podium(["chatter"])
"""


def one_line(stderr: str) -> str:
    """The only line on stderr."""
    (line,) = stderr.splitlines()
    assert line.startswith("podium: ")
    return line


@pytest.mark.parametrize("wrong", [["frobnicate"], ["doctor", "--frob"], ["--frob"], ["doctor", "extra"]])
def test_wrong_usage_is_one_line_that_tells_where_to_read_more(podium: Podium, wrong: list[str]) -> None:
    result = podium(*wrong)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "--help" in one_line(result.stderr)


def test_without_a_terminal_the_app_says_what_else_there_is(podium: Podium, home: Path) -> None:
    result = podium()
    assert result.returncode == 2
    assert "podium --help" in one_line(result.stderr)
    assert not home.exists()


def test_an_error_nobody_foresaw_is_one_line_and_its_details_are_logged(home: Path) -> None:
    home.mkdir()
    result = subprocess.run([sys.executable, "-c", WITH_A_FAULT], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    line = one_line(result.stderr)
    assert "RuntimeError: the floor is wet" in line
    assert str(home / "podium.log") in line
    assert "RuntimeError" in (home / "podium.log").read_text()


def test_output_that_finds_no_room_is_one_line(podium: Podium) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "tui", "doctor"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 2
    assert "No space left" in one_line(result.stderr)


def test_a_reader_that_leaves_ends_a_command_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == b"word\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_ctrl_c_ends_a_command_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == b"word\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1] == b""
        assert process.returncode == 130


def on_a_terminal(*args: str, env: dict[str, str]) -> bytes:
    """What a command prints on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tui", *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, **env},
    )
    os.close(theirs)
    told, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        told += piece
        if not piece:
            break
    process.wait(60)
    os.close(ours)
    return told


def test_colours_are_for_terminals() -> None:
    assert b"\x1b[3" in on_a_terminal("doctor", env={"TERM": "xterm-256color"})


@pytest.mark.parametrize("env", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}])
def test_no_colour_where_none_is_wanted(env: dict[str, str]) -> None:
    assert b"\x1b[3" not in on_a_terminal("doctor", env=env)


def test_an_encoding_without_our_characters_is_no_failure(podium: Podium) -> None:
    result = podium("doctor", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == "Podium works here."
