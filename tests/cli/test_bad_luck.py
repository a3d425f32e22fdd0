"""No room, no permission, a damaged store: one line, exit 2, nothing lost, no traceback."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from engine.home import Home
from tests.cli.recorded import GOOD, record
from tests.conftest import Podium

COMMANDS = [
    ("jobs",), ("jobs", "--json"), ("show", "good"), ("logs", "good"), ("checkpoints", "good"),
    ("archive", "good"), ("delete", "--yes", "good"), ("undo",), ("stop", "good"),
]  # fmt: skip


def assert_one_line(result: object, *words: str) -> None:
    assert result.returncode == 2, result  # type: ignore[attr-defined]
    assert result.stdout == ""  # type: ignore[attr-defined]
    (line,) = result.stderr.splitlines()  # type: ignore[attr-defined]
    for word in words:
        assert word in line


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": f"{at}?", "completion": f"{at}!"}) + "\n" for at in range(20))
    )
    return path


@pytest.mark.parametrize("command", [*COMMANDS, ("demo", "--headless")])
def test_without_write_permission_a_command_says_where_and_what_to_do(
    podium: Podium, command: tuple[str, ...]
) -> None:
    assert_one_line(podium(*command, env={"PODIUM_HOME": "/proc/podium"}), "/proc/podium", "PODIUM_HOME")


def test_a_home_that_is_a_file_is_bad_input(podium: Podium, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert_one_line(podium("jobs", env={"PODIUM_HOME": str(tmp_path / "file")}), str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_that_is_none_is_told_and_left_as_it_is(
    podium: Podium, home: Path, command: tuple[str, ...]
) -> None:
    home.mkdir()
    rubbish = b"this is no database\n" * 1000
    (home / "podium.db").write_bytes(rubbish)
    assert_one_line(podium(*command), "podium.db")
    assert (home / "podium.db").read_bytes() == rubbish


def test_a_damaged_store_is_told_and_the_jobs_folders_stay(podium: Podium, home: Path) -> None:
    record(home, "good", GOOD)
    database = sqlite3.connect(home / "podium.db")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    pages = bytearray((home / "podium.db").read_bytes())
    pages[4096:] = b"\xff" * (len(pages) - 4096)
    (home / "podium.db").write_bytes(pages)
    assert_one_line(podium("jobs"), "podium.db")
    assert Home(home).job("good-id").events.exists()


@pytest.mark.parametrize("command", [("demo", "--headless"), ("demo", "--json")])
def test_a_demo_without_room_says_so_and_writes_nothing(
    podium: Podium, small_disk: Path, command: tuple[str, ...]
) -> None:
    assert_one_line(podium(*command, env={"PODIUM_HOME": str(small_disk / "home")}), "free", str(small_disk))
    assert list(small_disk.iterdir()) == []


def test_a_launch_without_room_says_so_and_writes_nothing(
    podium: Podium, small_disk: Path, data: Path
) -> None:
    change = ["--set", f"dataset.path={data}"]
    env = {"PODIUM_HOME": str(small_disk / "home")}
    assert_one_line(podium("launch", "sft_standard", *change, env=env), "free", str(small_disk))
    assert list(small_disk.iterdir()) == []


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(b"x" * 4096)


def test_on_a_full_disk_the_store_cannot_be_made_and_says_so(podium: Podium, small_disk: Path) -> None:
    fill(small_disk)
    assert_one_line(podium("jobs", env={"PODIUM_HOME": str(small_disk)}), str(small_disk))


def test_on_a_full_disk_nothing_of_a_run_is_lost(podium: Podium, home: Path, small_disk: Path) -> None:
    record(home, "good", GOOD)
    shutil.copytree(home, small_disk / "home")
    fill(small_disk)
    env = {"PODIUM_HOME": str(small_disk / "home")}
    result = podium("show", "good", env=env)
    assert result.returncode in (0, 2)
    assert len(result.stderr.splitlines()) == (result.returncode == 2)
    (small_disk / "filler").unlink()
    assert "step 40" in podium("show", "good", env=env).stdout
