"""`podium launch --on` and `podium pull`: the whole way with the real trainer, from the command line."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.home import Home
from engine.supervisor.process import end_leftovers
from tests.conftest import Podium
from tests.controller.conftest import kill_supervisor
from tests.emulators.sshd import Server, sshd

ROOT = Path(__file__).parents[2]
on_loopback = pytest.mark.skipif(
    getpass.getuser() != "root", reason="sshd on loopback lets only root in here"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = sshd(tmp_path / "server", {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})
    yield server
    server.stop()
    there = Home(server.root)
    for folder in there.jobs.iterdir() if there.jobs.exists() else ():
        kill_supervisor(there, folder.name)
        end_leftovers(there.job(folder.name), None, None, grace=0)


@on_loopback
@pytest.mark.training
def test_the_tiny_model_is_trained_watched_fetched_and_verified(podium: Podium, server: Server) -> None:
    place = [
        "--on", f"ssh://root@127.0.0.1:{server.port}",
        "--set", f"pod.key={server.key}",
        "--set", f"pod.python={sys.executable}",
        "--set", f"pod.folder={server.root}",
        "--set", "training.epochs=2",
    ]  # fmt: skip
    done = podium("launch", ROOT / "examples" / "tiny.yaml", *place, "--wait", timeout=400)
    assert done.returncode == 0, done.stderr + done.stdout
    assert f"root@127.0.0.1:{server.port}: first contact, its host key is SHA256:" in done.stderr
    assert "★ best so far" in done.stdout
    pulled = podium("pull", "capitals-tiny", "--json")
    assert pulled.returncode == 0, pulled.stderr
    found = json.loads(pulled.stdout)["pulled"]
    far = server.root / "jobs" / found["job_id"] / "checkpoints" / f"checkpoint-{found['step']}"
    near = Path(found["path"])
    assert {path.name for path in near.iterdir()} == {path.name for path in far.iterdir()}
    assert (near / "model.safetensors").read_bytes() == (far / "model.safetensors").read_bytes()
    # The machine's own torch was used: nothing was installed.
    assert not (server.root / "envs").exists()


@pytest.mark.parametrize("machine", ["-oProxyCommand=id", "http://x", "a b"])
def test_what_is_no_machine_is_refused_before_anything_is_written(
    podium: Podium, home: Path, machine: str
) -> None:
    done = podium("launch", ROOT / "examples" / "tiny.yaml", f"--on={machine}")
    assert done.returncode == 2
    assert "is no SSH address" in done.stderr
    assert not home.exists()


def test_on_says_where_and_local_takes_it_back(podium: Podium, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    text = (
        (ROOT / "examples" / "tiny.yaml").read_text().replace("provider: local", "provider: ssh\n  host: gpu")
    )
    spec.write_text(text.replace("capitals.jsonl", str(ROOT / "examples" / "capitals.jsonl")))
    there = json.loads(podium("launch", spec, "--on", "me@other:2222", "--dry-run", "--json").stdout)["spec"]
    assert (there["pod"]["host"], there["pod"]["user"], there["pod"]["port"]) == ("other", "me", 2222)
    here = json.loads(podium("launch", spec, "--on", "local", "--dry-run", "--json").stdout)["spec"]
    assert (here["pod"]["provider"], here["pod"]["host"]) == ("local", None)


def test_a_machine_that_is_not_there_is_said_in_one_line(podium: Podium, server: Server) -> None:
    server.stop()
    place = ["--on", f"root@127.0.0.1:{server.port}", "--set", f"pod.key={server.key}"]
    done = podium("launch", ROOT / "examples" / "tiny.yaml", *place)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "can't be reached" in done.stderr
