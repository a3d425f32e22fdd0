"""The laptop is killed at each stage of a launch, and started again: the pod is found, or there is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from engine.home import Home
from engine.job.events import Status
from engine.pods.placements import Placements
from engine.store.sqlite import SQLiteStore
from tests.controller.runpod.conftest import billing, spec
from tests.emulators.runpod import Emulator
from tests.emulators.runpod.machines import Machines

LAUNCHER = Path(__file__).with_name("launcher.py")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def job_file(data: Path, tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(spec(data).to_json()))
    return path


def run(stage: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, LAUNCHER, stage, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("stage", ["asked", "uploading", "starting", "training", "fetching", "ended"])
def test_the_pod_is_found_again_used_and_terminated(
    runpod: Emulator, machines: Machines, home: Path, job_file: Path, stage: str
) -> None:
    killed = run(stage, "launch", job_file, "--yes", "--wait")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(runpod.account.pods) == 1
    again = run("-", "wait")
    assert again.returncode == 0, again.stderr
    store = SQLiteStore(Home(home).database)
    (job,) = store.jobs()
    assert (job.status, job.pod_status) == (Status.COMPLETED, "terminated"), job.error_message
    assert [pod.id for pod in runpod.account.pods.values()] == [job.pod_id]
    assert billing(runpod) == []
    assert (Home(home).job(job.id).checkpoint(10) / "adapter" / "weights.bin").exists()
    assert list(Placements(Home(home)).open()) == []
    store.close()


def test_killed_before_a_machine_was_asked_for_nothing_is_rented_without_being_confirmed_again(
    runpod: Emulator, machines: Machines, home: Path, job_file: Path
) -> None:
    assert run("asking", "launch", job_file, "--yes").returncode == -signal.SIGKILL
    run("-", "wait")
    store = SQLiteStore(Home(home).database)
    (job,) = store.jobs()
    assert (job.status, "nothing bills" in (job.error_message or "")) == (Status.FAILED, True)
    assert runpod.account.pods == {}
    store.close()
