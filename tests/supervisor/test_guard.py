"""The guard: what the supervisor does about money, time, disk and silence with nobody connected."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from engine.job.events import EventType
from engine.supervisor.host import Gpus
from engine.supervisor.limits import Limits
from engine.supervisor.process import allocator
from tests import standin
from tests.processes import until
from tests.supervisor.conftest import Bench, end

ROW = "0, NVIDIA H100 80GB HBM3, {busy}, 40536, 81559, 61, 512.33"
"""As the driver prints it: index, name, utilization, memory used and in all (MiB), temperature, watts."""


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """A tool that the supervisor, a process of its own, finds on its PATH."""
    folder.mkdir()
    path = folder / "nvidia-smi"
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_checkpoint_is_saved_before_the_cap_and_another_at_the_end(bench: Bench) -> None:
    """The end may fail to save; what the cap paid for is safe before."""
    bench.spec(limits={"max_cost_usd": 1.0}, pod={"cost_per_hour": 600.0})
    bench.run(standin.argv(steps=100_000, delay=0.01, every=100_000))
    steps = [event.step or 0 for event in bench.events(EventType.CHECKPOINT)]
    last = bench.events(EventType.TRAIN)[-1].step
    assert len(steps) == 2
    assert steps[0] < steps[1] == last
    assert bench.alerts() == ["cost_cap", "save_limit"]
    assert bench.exit()["status"] == "cancelled"


def test_a_stubborn_trainer_does_not_outlive_the_cap(bench: Bench) -> None:
    bench.spec(limits={"max_cost_usd": 1.0}, pod={"cost_per_hour": 7200.0})
    bench.run(standin.argv(steps=100_000, stubborn=1), stop_grace=0.2)
    assert bench.exit()["status"] == "cancelled"
    assert "not_saved" in bench.alerts()


def test_heartbeats_prove_the_guard_and_say_what_is_used(bench: Bench) -> None:
    bench.spec(limits={"max_cost_usd": 50.0, "max_hours": 2}, pod={"cost_per_hour": 36.0})
    bench.run(standin.argv(steps=60))
    guards = [event.data["guard"] for event in bench.events(EventType.HEARTBEAT)]
    assert all((guard["max_hours"], guard["max_cost_usd"]) == (2, 50) for guard in guards)
    assert 0 < guards[-1]["hours"] < 1 and 0 < guards[-1]["cost_usd"] < 36


def test_without_limits_there_is_no_guard_to_prove(bench: Bench) -> None:
    bench.run(standin.argv(steps=30))
    assert not [event for event in bench.events(EventType.HEARTBEAT) if "guard" in event.data]


@pytest.mark.parametrize(("spent", "due"), [(94.0, False), (95.5, True), (101.0, True)])
def test_saving_is_due_at_95_percent(spent: float, due: bool) -> None:
    limits = Limits(max_cost_usd=100, cost_per_hour=1)
    assert (limits.save_due(spent * 3600) is not None) is due
    assert Limits(max_cost_usd=100).save_due(1e9) is None


RENTED = {"provider": "runpod", "cost_per_hour": 2.0}


@pytest.mark.parametrize(
    ("limits", "pod", "hours", "last"),
    [
        # An hour of fetching is $ 2: the run has $ 8 of the 10, which is four hours.
        ({"max_cost_usd": 10.0, "retrieve_minutes": 60}, RENTED, 4.0, 5.0),
        # Half the cap at most is kept for fetching.
        ({"max_cost_usd": 2.0, "retrieve_minutes": 600}, RENTED, 0.5, 1.0),
        ({"max_hours": 3, "retrieve_minutes": 30}, RENTED, 3.0, 3.5),
        ({"max_hours": 3, "max_cost_usd": 5.0, "retrieve_minutes": 0}, RENTED, 2.5, 2.5),
        # Where nobody rents, nothing is kept back.
        ({"max_cost_usd": 10.0, "retrieve_minutes": 60}, {**RENTED, "provider": "ssh"}, 5.0, 5.0),
    ],
)
def test_the_minutes_for_fetching_are_paid_from_the_cap(
    limits: dict[str, float], pod: dict[str, object], hours: float, last: float
) -> None:
    found = Limits.of({"limits": limits, "pod": pod})
    assert found.reached(3600 * hours - 1) is None
    assert found.reached(3600 * hours + 1)
    assert found.pod_seconds == 3600 * last


def test_the_dearer_rate_counts_and_an_unknown_one_changes_nothing() -> None:
    limits = Limits.of({"limits": {"max_cost_usd": 4.0}, "pod": RENTED})
    assert limits.at(4.0).pod_seconds == 3600
    assert limits.at(None) == limits


def test_a_disk_that_fills_up_is_saved_ahead_of(small_disk: Path) -> None:
    bench = Bench(small_disk / "job")
    try:
        # With the room that the supervisor reserves, that is more than 92 %.
        (small_disk / "ballast").write_bytes(bytes(900_000))
        bench.start(standin.argv(steps=400, delay=0.02, every=100_000))
        until(lambda: bench.events(EventType.CHECKPOINT), "a checkpoint")
        assert "save_disk" in bench.alerts()
        bench.folder.request("stop")
        until(bench.folder.exit.exists, "the end")
    finally:
        end(bench)


def test_a_silent_trainer_whose_gpu_works_is_given_more_time(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(tmp_path / "bin", monkeypatch, f"echo '{ROW.format(busy=98)}'")
    bench.spec(limits={"stall_minutes": 1 / 60, "max_restarts": 0})
    bench.run(standin.argv(steps=10, silent_at=5), stall_grace=0.2)
    beats = [event for event in bench.events(EventType.HEARTBEAT) if event.data["gpus"]]
    silent = bench.events(EventType.ALERT)[0].ts - bench.events(EventType.TRAIN)[-1].ts
    assert bench.alerts() == ["stall"]
    assert silent.total_seconds() > 3.5  # four times the limit, less a heartbeat
    assert beats[0].data["gpus"][0]["utilization_percent"] == 98


def test_an_idle_gpu_buys_no_time(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path / "bin", monkeypatch, f"echo '{ROW.format(busy=0)}'")
    bench.spec(limits={"stall_minutes": 1 / 60, "max_restarts": 0})
    bench.run(standin.argv(steps=10, silent_at=5), stall_grace=0.2)
    assert bench.exit()["error"].startswith("no event")


def test_every_gpu_and_what_the_driver_does_not_know_reach_the_wire(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(
        tmp_path / "bin",
        monkeypatch,
        f"echo '{ROW.format(busy=98)}'",
        "echo '1, NVIDIA H100 80GB HBM3, [N/A], 0, 81559, [N/A], [Unknown Error]'",
    )
    bench.run(standin.argv(steps=100))
    (first, second) = next(e.data["gpus"] for e in bench.events(EventType.HEARTBEAT) if e.data["gpus"])
    assert (first["index"], first["power_w"]) == (0, 512.33)
    assert (second["index"], second["utilization_percent"], second["memory_used_gb"]) == (1, None, 0.0)


def test_a_hung_tool_is_told_once_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.supervisor.host._GPU_TIMEOUT", 0.1)
    tool = tmp_path / "hung"
    tool.write_text(f"#!/bin/sh\necho $$ >>{tmp_path}/pids\nexec sleep 600\n")
    tool.chmod(0o755)
    gpus = Gpus(str(tool))
    gpus.read()
    until(lambda: (tmp_path / "pids").exists(), "the tool")
    time.sleep(0.15)
    gpus.read()
    assert gpus.hangs
    gpus.close()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "expandable_segments:True"),
        ({"PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}, "max_split_size_mb:64"),
        ({"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}, "None"),
    ],
)
def test_gpu_memory_is_kept_whole_unless_the_user_says_how(
    given: dict[str, str], expected: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    nvidia_smi(tmp_path / "bin", monkeypatch, f"echo '{ROW.format(busy=50)}'")
    bench.run([sys.executable, "-c", "import os; print(os.environ.get('PYTORCH_ALLOC_CONF'))"])
    assert bench.folder.log.read_text().splitlines()[-1] == expected


def test_without_a_gpu_its_allocator_is_left_alone() -> None:
    assert allocator({}, gpu=False) == {}
