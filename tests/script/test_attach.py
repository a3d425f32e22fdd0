"""Watching what already runs: nothing there is touched or left, nothing is lost with the connection."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.controller.preparation import Attachment
from engine.errors import PodError
from engine.job.events import Status
from engine.job.folder import JobFolder, write_json
from engine.pods.attached import Watcher
from engine.pods.base import Chunk
from engine.pods.ssh_address import SSHAddress
from tests.emulators.sshd import Server
from tests.processes import until
from tests.script.conftest import Laptop


class Theirs:
    """A script that somebody else started, in a folder of theirs."""

    def __init__(self, code: Path, *arguments: object) -> None:
        self.folder = code
        (code / "artifacts" / "epoch_metrics.csv").unlink()
        with (code / "run.log").open("wb") as log:
            argv = [sys.executable, "train.py", *map(str, arguments)]
            self.process = subprocess.Popen(argv, cwd=code, stdout=log, stderr=log)

    @property
    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


OURS = {
    "run.log",
    "train.py",
    ".env",
    "artifacts",
    "artifacts/epoch_metrics.csv",
    "artifacts/probability_stats.csv",
}


@pytest.fixture
def theirs(code: Path) -> Iterator[Theirs]:
    theirs = Theirs(code, 40, 0.1)
    yield theirs
    theirs.end()


def wanted(theirs: Theirs, server: Server | None, **changes: Any) -> Attachment:
    address = SSHAddress("127.0.0.1", "root", server.port, str(server.key)) if server else None
    globs = ("artifacts/**/*.csv", "artifacts/**/*.jsonl")
    return Attachment(
        "theirs", address, str(theirs.folder), "run.log", globs, python=sys.executable, **changes
    )


async def comes(question: object, what: str = "") -> None:
    await asyncio.to_thread(until, question, what)


@pytest.mark.skipif(getpass.getuser() != "root", reason="sshd on loopback lets only root in here")
async def test_a_running_script_is_watched_through_lost_connections_and_left_as_it_was(
    laptop: Laptop, server: Server, theirs: Theirs
) -> None:
    controller = await laptop.open()
    job = await controller.attach(wanted(theirs, server, over_seconds=5))
    assert job.attached and job.provider == "ssh"
    store, mirror = laptop.store, laptop.home.job(job.id)
    for epoch in (4, 12):
        await comes(lambda least=epoch: (store.job(job.id).current_step or 0) >= least)
        server.cut()
    # A file that appears later is found, torn lines and all.
    late = theirs.folder / "artifacts" / "late_stats.jsonl"
    late.write_text('{"epoch": 1, "mean": 0.5}\n{"epoch": 2, "me')
    await comes(lambda: "late_stats/mean" in store.metrics(job.id))
    await comes(lambda: store.job(job.id).status == Status.COMPLETED, "its last epoch is over")
    await controller.settle([job.id])
    assert theirs.process.wait(10) == 0
    for metric in ("loss", "eval_loss", "probability_stats/val/separation"):
        assert [point.x for point in store.curve(job.id, metric).points] == list(range(1, 41))
    assert mirror.log.read_bytes() == (theirs.folder / "run.log").read_bytes()
    # Nothing of ours is there: no file, no process, no folder of Podium's.
    late.unlink()
    theirs_alone = {name for name in theirs.files if "checkpoint_epoch" not in name}
    assert theirs_alone == OURS and not server.root.exists()
    await comes(lambda: not server.started())


async def test_leaving_and_coming_back_loses_nothing(laptop: Laptop, theirs: Theirs) -> None:
    controller = await laptop.open()
    job = await controller.attach(wanted(theirs, None))
    store = laptop.store
    await comes(lambda: (store.job(job.id).current_step or 0) >= 2)
    await controller.pause(job.id)
    await controller.settle([job.id])
    paused = store.job(job.id)
    assert paused.status == Status.PAUSED and theirs.process.poll() is None
    await controller.resume(job.id)
    await comes(lambda: (store.job(job.id).current_step or 0) > (paused.current_step or 0) + 2)
    # The app is closed and opened again: it goes on by itself.
    await controller.close()
    seen = store.job(job.id).current_step or 0
    again = await laptop.open()
    await comes(lambda: (store.job(job.id).current_step or 0) > seen + 2)
    with pytest.raises(PodError, match="only watched"):
        await again.learning_rate(job.id, 1e-4)
    await again.stop(job.id)
    await again.settle([job.id])
    assert store.job(job.id).status == Status.CANCELLED and theirs.process.poll() is None
    steps = [point.x for point in store.curve(job.id, "loss").points]
    assert steps == [float(step) for step in range(1, len(steps) + 1)]


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd.csv", "/etc/../../x.csv", "a\nb.csv", "..", "x" * 600, "a/\x1b[31m.csv"]
)
def test_names_from_there_lead_nowhere_else(tmp_path: Path, name: str) -> None:
    folder = JobFolder(tmp_path / "job")
    folder.create()
    write_json(folder.spec, {"attach": {"log": "run.log", "globs": ["*"]}})
    watcher = Watcher(folder, None)
    watcher._ask()
    try:
        watcher._take(Chunk(name, 0, b"epoch,loss\n1,2\n"))
    except PodError:
        pass
    outside = {path for path in tmp_path.rglob("*") if not path.is_relative_to(folder.path)}
    assert not outside and not Path("/etc/passwd.csv").exists()


def podium(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PODIUM_HOME": str(home), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "tui", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_headless_prints_what_comes_and_json_for_programs(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "run.log").write_bytes(b"\x1b]0;evil\x07loading\nT1 nll 3.5\nT2 nll 2.5\n\xff\xfe\n")
    (folder / "m.jsonl").write_text('{"step": 1, "lr": 0.1}\n')
    arguments = ["attach", str(folder), "--log", "run.log", "--metrics", "*.jsonl", "--idle", "3", "--json"]
    arguments += ["--pattern", r"T(?P<step>\d+) nll (?P<val_loss>[\d.]+)", "--name", "evil"]
    done = podium(tmp_path / "home", *arguments)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["job"]["status"] == "paused" and told["job"]["eval_loss"] == 2.5
    assert {row["step"]: row["eval_loss"] for row in told["metrics"] if row["kind"] == "eval"} == {
        1: 3.5,
        2: 2.5,
    }
    assert "step 2 · eval · eval_loss 2.5" in done.stderr and "\x1b" not in done.stderr
    # A report can be written on it as on any run.
    report = json.loads(podium(tmp_path / "home", "export", "evil", "--json").stdout)["report"]
    assert report["lowest"]["low"] == 2.5 and report["lowest"]["low_at"] == 2
    assert podium(tmp_path / "home", "export", "evil", "--out", str(tmp_path / "r.md")).returncode == 0
    assert "| `eval_loss` | 3.5 | 2.5 | 2 |" in (tmp_path / "r.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["attach"], "nothing to watch"),
        (["attach", "no-such-folder", "--log", "x"], "no such folder"),
        (["attach", "ssh://a b/c", "--log", "x"], "is no SSH address"),
        (["attach", "--log", "x", "--pattern", "("], "no regular expression"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    done = podium(tmp_path / "home", *arguments, "--headless")
    assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "home").exists()
