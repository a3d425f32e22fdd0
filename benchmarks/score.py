"""How long `podium score` takes on ten thousand checkpoints: a run folder, one state file, a CSV.

    python benchmarks/score.py [--checkpoints 10000] [--json]

The command is a process of its own, its start included; the best of three, seconds of wall clock and of CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.installed import compiled


def write_inputs(folder: Path, count: int) -> dict[str, Path]:
    """The same losses in each form; every checkpoint is complete, the newest state has the whole log."""
    log: list[dict[str, Any]] = []
    for step in range(1, count + 1):
        log.append(
            {"epoch": step / 100, "grad_norm": 1.0, "learning_rate": 1e-4, "loss": 1 + 1 / step, "step": step}
        )
        log.append({"epoch": step / 100, "eval_loss": 1.1 + 1 / step, "eval_runtime": 1.0, "step": step})
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    for step in range(1, count + 1):
        checkpoint = folder / "run" / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
        (checkpoint / "config.json").write_text("{}")
        history = log if step == count else log[:2]
        (checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    rows = "".join(f"{step},{1 + 1 / step},{1.1 + 1 / step}\n" for step in range(1, count + 1))
    (folder / "losses.csv").write_text("step,loss,eval_loss\n" + rows)
    return {
        "run folder": folder / "run",
        "state file": folder / "trainer_state.json",
        "CSV": folder / "losses.csv",
    }


def measure(path: Path, count: int) -> dict[str, float]:
    """The best of three runs of the command."""
    found = []
    for _ in range(3):
        before, start = os.times(), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "tui", "score", str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        wall, after = time.perf_counter() - start, os.times()
        if len(done.stdout.splitlines()) < count:
            raise SystemExit(f"{path}: not all checkpoints were shown")
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        found.append((wall, spent))
    return {"seconds": min(wall for wall, _ in found), "cpu_seconds": min(spent for _, spent in found)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoints", type=int, default=10_000)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    compiled()
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_inputs(Path(folder), options.checkpoints)
        result = {name: measure(path, options.checkpoints) for name, path in inputs.items()}
    if options.json:
        print(json.dumps({"schema": 1, "checkpoints": options.checkpoints, "score": result}, indent=2))
        return
    for name, figures in result.items():
        print(f"{name:12} {figures['seconds']:.2f} s, {figures['cpu_seconds']:.2f} s of CPU")


if __name__ == "__main__":
    main()
