"""The command line with a stand-in trainer, killed by SIGKILL at a stage: `launcher.py STAGE ARGUMENTS…`.

A stage is a function and whether it dies before or after it; `-` lets it live.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from engine import stream
from engine.controller import controller, renting
from engine.controller.pods import Pods
from engine.home import Home
from engine.pods.runpod_pod import RunPodPod
from engine.pods.runpod_rest import RunPodREST
from engine.pods.ssh_start import Starter
from tests import standin
from tests.controller.runpod.conftest import PATIENCE
from tui.cli import podium

STAGES: dict[str, tuple[Any, str, str]] = {
    "asking": (RunPodREST, "_create_pod", "before"),
    "asked": (RunPodREST, "_create_pod", "after"),
    "clustered": (RunPodREST, "create_cluster", "after"),
    "known": (RunPodPod, "_check_rate", "before"),
    "reached": (RunPodPod, "_with_gpus", "before"),
    "uploading": (Starter, "_data", "before"),
    "installing": (Starter, "_python", "before"),
    "starting": (Starter, "_supervise", "before"),
    "training": (Starter, "_supervise", "after"),
    "fetching": (controller, "pull", "before"),
    "ending": (RunPodREST, "terminate", "before"),
    "ended": (RunPodREST, "terminate", "after"),
    "gone": (renting.Renting, "_settle", "before"),
}


def die_at(stage: str) -> None:
    where, name, when = STAGES[stage]
    whole = getattr(where, name)

    async def deadly(*arguments: Any) -> Any:
        if when == "after":
            await whole(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(where, name, deadly)


def pods(home: Home) -> Pods:
    argv = standin.argv(steps=int(os.environ.get("STANDIN_STEPS", "10")), weights=1000)
    return Pods(home, argv, ssh_config=[], keepalive=0.5, patience=PATIENCE)


if __name__ == "__main__":
    stream._QUIET = 0.5  # type: ignore[misc]
    controller.Pods = pods  # type: ignore[assignment, misc]
    if sys.argv[1] != "-":
        die_at(sys.argv[1])
    podium.main(sys.argv[2:])
