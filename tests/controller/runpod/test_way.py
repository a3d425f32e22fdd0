"""The whole way on a rented machine, from the command line: price, create, train, fetch, verify, gone."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from pathlib import Path

import pytest

from engine.home import Home
from engine.store.sqlite import SQLiteStore
from tests.conftest import Podium
from tests.emulators.runpod import Emulator
from tests.emulators.runpod.machines import Machines

ROOT = Path(__file__).parents[3]
ON = [
    "--on", "runpod",
    "--set", "pod.folder=~/.podium",
    "--set", f"pod.python={sys.executable}",
    "--max-hours", "2",
    "--max-cost", "3",
]  # fmt: skip
SECRETS = {"HF_TOKEN": "hf_plantedplantedplanted"}


@pytest.mark.training
def test_the_tiny_model_goes_the_whole_way(
    podium: Podium, runpod: Emulator, machines: Machines, home: Path, tmp_path: Path
) -> None:
    # Arguments of processes are for all the machine to read.
    with Arguments() as arguments:
        done = podium(
            "launch", ROOT / "examples" / "tiny.yaml", *ON, "--set", "training.epochs=2", "--yes", "--wait",
            env=SECRETS, timeout=400,
        )  # fmt: skip
    logs = [path.read_text() for path in (tmp_path / "machines").glob("*/boot.log")]
    assert done.returncode == 0, (done.stderr, done.stdout, logs)
    print(done.stdout, done.stderr)
    # The cheapest that fits was confirmed, with its worst cost.
    assert "1 × $0.17 = $0.17 an hour" in done.stdout
    assert "★ best so far" in done.stdout
    (pod,) = runpod.account.pods.values()
    assert pod.spec["name"].startswith("podium-")
    assert runpod.account.status(pod) == "TERMINATED"
    store = SQLiteStore(Home(home).database)
    (job,) = store.jobs()
    assert (job.pod_id, job.pod_status, job.cost_per_hour) == (pod.id, "terminated", 0.17)
    # What was to be kept is here, and what it cost is known by phase.
    best = next(item for item in store.checkpoints(job.id) if item.is_best)
    assert (Home(home).job(job.id).checkpoint(best.step) / "model.safetensors").exists()
    store.close()
    shown = json.loads(podium("show", job.id, "--json").stdout)
    phases = {item["phase"]: item for item in shown["spending"]}
    assert {"provision", "upload", "install", "load", "train", "eval", "fetch"} <= set(phases)
    assert shown["job"]["cost_total"] == pytest.approx(sum(item["dollars"] for item in phases.values()))
    secret_free([home, tmp_path / "machines"], runpod, done.stdout + done.stderr)
    assert any(b"engine.supervisor" in line for line in arguments.seen)
    secrets = [secret.encode() for secret in (*SECRETS.values(), runpod.account.key, pod.key)]
    assert not [line for line in arguments.seen if any(secret in line for secret in secrets)]
    assert not list(Home(home).machines.glob("*/id_*"))


class Arguments:
    """The arguments of all processes that live meanwhile, looked at again and again."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Arguments:
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.seen.add(path.read_bytes())


def secret_free(places: list[Path], runpod: Emulator, said: str) -> None:
    """No secret of the laptop's stands in any file, nor in what was said; no key in what was sent."""
    secrets = [*SECRETS.values(), runpod.account.key]
    assert not [secret for secret in secrets if secret in said]
    for path in (path for place in places for path in place.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], path
        if path.name == "job.json":
            assert b"id_ed25519" not in content
    sent = json.dumps([request.body for request in runpod.requests])
    assert not [secret for secret in secrets if secret in sent]
