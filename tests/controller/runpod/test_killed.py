"""The laptop is killed at each stage of a launch, and started again: the pod is found, or there is none."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from engine.controller.phases import marks_of
from engine.home import Home
from engine.job.events import Status
from engine.pods.placements import Placements
from engine.store.sqlite import SQLiteStore
from tests.controller.runpod.conftest import asked, billing, brisk, spec
from tests.emulators.runpod import Emulator, Fault
from tests.emulators.runpod.machines import Machines
from tests.processes import until

LAUNCHER = Path(__file__).with_name("launcher.py")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def job_file(data: Path, tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(spec(data).to_json()))
    return path


def run(stage: str, *arguments: str | Path, steps: int = 10) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, LAUNCHER, stage, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "STANDIN_STEPS": str(steps)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("stage", ["asked", "uploading", "training", "fetching", "ended"])
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
    # What the laptop did is timed up to the job's start, and from its end.
    phases = [mark.phase for mark in marks_of(store, job.id)]
    assert phases[phases.index("fetch") - 1] == phases[-1] == ""
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


def test_a_launch_that_is_interrupted_by_hand_ends_what_it_rented(
    runpod: Emulator, machines: Machines, home: Path, job_file: Path
) -> None:
    runpod.account.stages = lambda: brisk(ports=math.inf)
    launching = subprocess.Popen(
        [sys.executable, LAUNCHER, "-", "launch", job_file, "--yes"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    until(lambda: asked(runpod, r"GET /v2/pods/\w+$") > 2)
    launching.send_signal(signal.SIGINT)
    assert launching.wait(60) == 130
    assert launching.stderr is not None and b"Traceback" not in launching.stderr.read()
    assert (len(runpod.account.pods), billing(runpod)) == (1, [])
    store = SQLiteStore(Home(home).database)
    assert [job.status for job in store.jobs()] == [Status.CANCELLED]
    store.close()


def test_a_request_whose_answer_was_lost_is_looked_for_until_no_pod_can_come_any_more(
    runpod: Emulator, machines: Machines, home: Path, job_file: Path
) -> None:
    """The pod comes into being after everybody has stopped looking."""
    runpod.fault(r"POST /v2/pods$", Fault(drop=True), 9)
    assert run("-", "launch", job_file, "--yes").returncode == 1
    (placement,) = Placements(Home(home)).open()
    with runpod.account.lock:
        late = runpod.account.rent({"name": placement.name, "image": "x", "gpu": {"id": "NVIDIA L40S"}})
    assert run("-", "wait").returncode == 1
    assert runpod.account.status(late) == "TERMINATED"
    assert list(Placements(Home(home)).open()) == []


def test_a_run_that_is_stopped_or_paused_from_the_command_line_says_whether_its_pod_bills_on(
    runpod: Emulator, machines: Machines, home: Path, job_file: Path
) -> None:
    assert run("-", "launch", job_file, "--yes", steps=5000).returncode == 0
    (pod,) = runpod.account.pods
    paused = run("-", "pause", "rented")
    assert paused.returncode == 0, paused.stderr
    assert f"bills on: podium pods stop {pod}" in paused.stderr
    assert billing(runpod) == [pod]
    assert run("-", "resume", "rented", steps=5000).returncode == 0
    stopped = run("-", "stop", "rented")
    assert stopped.returncode == 0, stopped.stderr
    # It was waited for, so it was fetched, and its pod is gone.
    assert "bills on" not in stopped.stderr
    assert billing(runpod) == []
