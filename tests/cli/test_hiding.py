"""Archive, restore, delete and undo from the command line."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from engine.home import Home
from engine.records import Job
from tests.cli.recorded import GOOD, POOR, record, told
from tests.conftest import Podium


@pytest.fixture
def runs(home: Path) -> tuple[Job, Job]:
    return record(home, "good", GOOD), record(home, "poor", POOR)


def listed(podium: Podium) -> set[str]:
    return {job["name"] for job in told(podium("jobs", "--json").stdout)["jobs"]}


@pytest.mark.parametrize("command", [("archive", "poor"), ("delete", "--yes", "poor")])
@pytest.mark.parametrize("back", [("undo",), ("restore", "poor")])
def test_what_was_hidden_comes_back(
    podium: Podium, runs: tuple[Job, Job], command: tuple[str, ...], back: tuple[str, ...]
) -> None:
    assert podium(*command).returncode == 0
    assert listed(podium) == {"good"}
    assert podium(*back).returncode == 0
    assert listed(podium) == {"good", "poor"}


def test_several_runs_go_in_one_action_and_one_undo_brings_all_back(
    podium: Podium, runs: tuple[Job, Job]
) -> None:
    done = told(podium("archive", "good", "poor", "good-id", "--json").stdout)["done"]
    assert done == {"action": "archive", "job_ids": ["good-id", "poor-id"]}
    assert told(podium("undo", "--json").stdout)["undone"]["job_ids"] == ["good-id", "poor-id"]
    assert listed(podium) == {"good", "poor"}


def test_undo_takes_back_a_tag_and_then_the_action_before_it(podium: Podium, runs: tuple[Job, Job]) -> None:
    podium("archive", "poor")
    podium("tag", "good", "+final")
    assert podium("undo").stdout == "Took back: good tagged.\n"
    assert told(podium("undo", "--json").stdout)["undone"] == {"action": "archive", "job_ids": ["poor-id"]}
    assert listed(podium) == {"good", "poor"}


def test_one_unknown_name_among_several_hides_none(podium: Podium, runs: tuple[Job, Job]) -> None:
    assert podium("archive", "good", "nobody").returncode == 2
    assert listed(podium) == {"good", "poor"}


def test_with_nothing_to_undo_undo_says_so(podium: Podium) -> None:
    result = podium("undo")
    assert (result.returncode, result.stdout) == (0, "There is nothing to undo.\n")
    assert told(podium("undo", "--json").stdout)["undone"] is None


def test_deleted_folders_lie_in_the_trash_until_they_are_restored(
    podium: Podium, home: Path, runs: tuple[Job, Job]
) -> None:
    place = Home(home)
    podium("delete", "--yes", "poor")
    assert not place.job("poor-id").path.exists()
    assert (place.trashed("poor-id") / "events.jsonl").exists()
    podium("restore", "poor")
    assert place.job("poor-id").events.exists()


def test_delete_without_a_terminal_needs_yes(podium: Podium, runs: tuple[Job, Job]) -> None:
    result = podium("delete", "poor")
    assert result.returncode == 2
    assert "--yes" in result.stderr
    assert listed(podium) == {"good", "poor"}


@pytest.mark.parametrize("answer, left", [(b"n\n", {"good", "poor"}), (b"y\n", {"good"})])
def test_on_a_terminal_delete_asks_first(
    podium: Podium, runs: tuple[Job, Job], answer: bytes, left: set[str]
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tui", "delete", "poor"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        asked = b""
        while b"[y/N]" not in asked:
            asked += os.read(ours, 4096)
        assert b"Delete poor?" in asked and b"4 checkpoints" in asked
        os.write(ours, answer)
        process.wait(60)
    os.close(ours)
    assert listed(podium) == left


def test_a_live_run_is_not_deleted(podium: Podium, home: Path) -> None:
    record(home, "live", GOOD[:1], ends=False)
    result = podium("delete", "--yes", "live")
    assert result.returncode == 2
    assert "live is running and can't be deleted" in result.stderr
    assert listed(podium) == {"live"}
