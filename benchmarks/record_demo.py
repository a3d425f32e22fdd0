"""Run the demo headless and keep its two runs as `engine/demo/recording`, for machines that can't train."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOME = Path("/tmp/podium-demo")  # stands in the recorded spec as the data's folder
TARGET = ROOT / "engine" / "demo" / "recording"


def main() -> int:
    shutil.rmtree(HOME, ignore_errors=True)
    command = [sys.executable, "-m", "tui", "demo", "--headless", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PODIUM_HOME": str(HOME)}, stdout=subprocess.PIPE, check=True
    )
    shutil.rmtree(TARGET, ignore_errors=True)
    for at, job in enumerate(json.loads(done.stdout)["jobs"], 1):
        keep(HOME / "jobs" / job["id"], TARGET / str(at))
    return 0


def keep(folder: Path, target: Path) -> None:
    """Keep what a replay reads: the spec, the events and the log."""
    target.mkdir(parents=True)
    shutil.copy(folder / "job.json", target)
    for name in ("events.jsonl", "train.log"):
        # Without name and time, so that the same run gives the same bytes.
        (target / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes(), mtime=0))


if __name__ == "__main__":
    sys.exit(main())
