"""The figures of the machine, and of GPUs that may not be there, may not know, or may hang."""

from __future__ import annotations

import os
import time
from pathlib import Path

from engine.supervisor.host import Gpus, Host, parse_gpus
from tests.processes import gone, until


def tool(tmp_path: Path, script: str) -> str:
    path = tmp_path / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_drivers_rows_become_gpus_and_na_becomes_none() -> None:
    text = (
        "0, NVIDIA A100-SXM4-80GB, 97, 61200, 81920, 64, 288.12\n"
        "1, [N/A], [N/A], [N/A], [Not Supported], [N/A], [Unknown Error]\n"
        "No devices were found\n,,,,,,\n"
    )
    first, second = parse_gpus(text)
    assert first == {
        "index": 0,
        "name": "NVIDIA A100-SXM4-80GB",
        "utilization_percent": 97.0,
        "memory_used_gb": 64.17,
        "memory_total_gb": 85.9,
        "temperature_c": 64.0,
        "power_w": 288.12,
    }
    assert second == {**dict.fromkeys(first), "index": 1}


def test_zero_is_a_figure() -> None:
    (gpu,) = parse_gpus("0, X, 0, 0, 81920, 30, 0.0\n")
    assert (gpu["utilization_percent"], gpu["memory_used_gb"], gpu["power_w"]) == (0.0, 0.0, 0.0)


def test_a_run_of_the_tool_is_told_by_a_later_reading(tmp_path: Path) -> None:
    gpus = Gpus(tool(tmp_path, "echo '0, X, 5, 1000, 2000, 30, 50'"))
    assert gpus.read() == []
    (gpu,) = until(gpus.read)
    assert gpu["utilization_percent"] == 5
    gpus.close()


def test_no_tool_and_a_failing_tool_are_no_gpus(tmp_path: Path) -> None:
    none = Gpus("")
    failing = Gpus(tool(tmp_path, "echo '0, X, 5, 1, 2, 3, 4'; exit 9"))
    for gpus in (none, failing):
        for _ in range(5):
            assert gpus.read() == []
            time.sleep(0.05)
        gpus.close()


def test_a_hung_tool_hangs_nobody_and_only_one_runs(tmp_path: Path) -> None:
    gpus = Gpus(tool(tmp_path, f"echo $$ >> {tmp_path}/pids; exec sleep 600"))
    for _ in range(5):
        assert gpus.read() == []
    pids = until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().split())
    assert len(pids) == 1
    gpus.close()
    os.waitpid(int(pids[0]), 0)
    assert gone(int(pids[0]))


def test_what_is_not_to_be_had_is_none(tmp_path: Path) -> None:
    assert Host(tmp_path / "nowhere").read()["disk_free_gb"] is None
