"""The tiny model on two machines over SSH, from the command line: two ranks that meet, one job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.home import Home
from engine.job.folder import read_json
from engine.store.sqlite import SQLiteStore
from tests.conftest import Podium
from tests.controller.nodes.conftest import Hosts

ROOT = Path(__file__).parents[3]


@pytest.mark.training
def test_two_machines_train_the_tiny_model_together(podium: Podium, hosts: Hosts, home: Path) -> None:
    pod = hosts.pod()
    done = podium(
        "launch", ROOT / "examples" / "tiny.yaml",
        "--on", ",".join(f"ssh://{host}" for host in pod["hosts"]),
        "--set", f"pod.key={pod['key']}",
        "--set", f"pod.python={pod['python']}",
        "--set", "distributed.processes=1",
        "--set", "training.max_steps=8",
        "--set", "training.eval_steps=8",
        "--set", "predictions.enabled=false",
        "--wait",
        timeout=400,
    )  # fmt: skip
    store = SQLiteStore(Home(home).database)
    (job,) = store.jobs()
    there = [hosts.job(node, job.id) for node in range(2)]
    assert done.returncode == 0, (done.stderr, done.stdout, [folder.log.read_text() for folder in there])
    (start,) = store.events(job.id, ["start"])
    assert start.data["ranks"] == {"world": 2, "nodes": 2}
    assert store.job(job.id).current_step == 8
    store.close()
    # Node 0 has what training makes; the other one has done its part, and its log is here.
    assert [read_json(folder.exit)["status"] for folder in there] == ["completed", "completed"]
    assert any(there[0].checkpoints.glob("checkpoint-*"))
    assert not any(there[1].checkpoints.glob("checkpoint-*"))
    assert Home(home).job(job.id).of_node(1).log.read_bytes() == there[1].log.read_bytes()
    # Both logs can be read, and what stands in the first place is fetched.
    told = podium("logs", job.id, "--node", "1", "--json")
    assert json.loads(told.stdout)["logs"]["path"].endswith("nodes/1/train.log")
    assert podium("pull", job.id, "--checkpoint", "last").returncode == 0
