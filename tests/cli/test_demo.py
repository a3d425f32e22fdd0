"""`podium demo --headless`: two real runs, and everything that the other commands then say of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.recorded import told
from tests.processes import events_of

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


def run(place: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tui", *args],
        cwd=place,
        env={**os.environ, "PODIUM_HOME": str(place / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )


@pytest.fixture(scope="module")
def demo(place: Path) -> subprocess.CompletedProcess[str]:
    return run(place, "demo", "--headless", "--json")


@pytest.fixture(scope="module")
def jobs(demo: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert demo.returncode == 0, demo.stderr
    found: list[dict[str, Any]] = told(demo.stdout)["jobs"]
    return found


def test_it_prints_one_object_on_stdout_and_tells_of_its_progress_on_stderr(
    demo: subprocess.CompletedProcess[str], jobs: list[dict[str, Any]]
) -> None:
    assert json.loads(demo.stdout)["replay"] is False
    assert len(demo.stdout.splitlines()) == 1
    for job in jobs:
        assert f"{job['name']} · step {job['best_step']} / {job['total_steps']}" in demo.stderr


def test_both_runs_complete_and_differ_in_their_learning_rate(jobs: list[dict[str, Any]]) -> None:
    assert [job["status"] for job in jobs] == ["completed", "completed"]
    assert len({job["name"] for job in jobs}) == 2
    assert len({job["base_model"] for job in jobs}) == 1


def test_they_learn_and_then_overfit_so_that_the_best_checkpoint_is_not_the_last(
    place: Path, jobs: list[dict[str, Any]]
) -> None:
    for job in jobs:
        assert 0 < job["best_step"] < job["total_steps"]
        assert job["best_eval_loss"] < job["final_eval_loss"]
        told_there = events_of(place / "home" / "jobs" / job["id"] / "events.jsonl")
        losses = [event.data["eval_loss"] for event in told_there if event.type == "eval"]
        assert len(losses) == 18
        assert losses[0] > 5.5 and min(losses) < 4.7
    assert jobs[0]["best_step"] >= 100


def test_the_score_of_the_best_checkpoint_comes_with_its_parts(jobs: list[dict[str, Any]]) -> None:
    for job in jobs:
        score = job["score"]
        parts = score["eval_loss"] + score["gap"] + score["perplexity"] + score["bonus"]
        assert score["total"] == pytest.approx(parts)


def test_the_other_commands_agree_with_it(place: Path, jobs: list[dict[str, Any]]) -> None:
    for job in jobs:
        checkpoints = told(run(place, "checkpoints", job["id"], "--json").stdout)["checkpoints"]
        (best,) = [checkpoint for checkpoint in checkpoints if checkpoint["is_best"]]
        assert best["step"] == job["best_step"]
        assert best["score"] == job["score"]
        assert best["verified"] is True
        assert (place / "home" / "jobs" / job["id"] / best["path"]).is_dir()


def test_the_runs_can_be_compared_and_one_is_recommended(place: Path, jobs: list[dict[str, Any]]) -> None:
    value = told(run(place, "compare", *(job["id"] for job in jobs), "--json").stdout)["comparison"]
    assert value["recommendation"]["comparable"] is True
    assert value["recommendation"]["job_id"] in {job["id"] for job in jobs}
    assert "learning_rate" in value["differences"]
