"""The baseline example from end to end on a machine over SSH, and what is sent there."""

from __future__ import annotations

import asyncio
import getpass
import hashlib
from pathlib import Path

import pytest

from engine.analysis.snapshot import Question
from engine.errors import PodError
from engine.job.events import Status
from engine.job.folder import JobFolder
from engine.job.spec import JobSpec
from engine.pods.ssh_start import Starter
from engine.snapshots import standing_of, take
from tests.controller.conftest import pod_section
from tests.emulators.sshd import Server
from tests.processes import until
from tests.script.conftest import Laptop, spec

pytestmark = pytest.mark.skipif(getpass.getuser() != "root", reason="sshd on loopback lets only root in here")

EXAMPLE = Path(__file__).parents[2] / "examples" / "baseline_100ep" / "baseline.yaml"
FILES = (
    "epoch_metrics", "loss_components", "uncertainty_params", "probability_stats", "feature_stats",
    "gradient_stats",
)  # fmt: skip


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def settled(laptop: Laptop, job_id: str) -> Status:
    async with asyncio.timeout(180):
        return (await laptop.opened[-1].settle([job_id]))[0].status


@pytest.mark.training
async def test_the_baseline_goes_the_whole_way_through_a_lost_connection(
    laptop: Laptop, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    command = [
        "python",
        "train.py",
        "--tiny",
        "--epochs",
        "12",
        "--save-every",
        "4",
        "--epoch-seconds",
        "0.1",
    ]
    changes = {"script": {"command": command}, "pod": pod_section(server)}
    wanted = JobSpec.load(EXAMPLE, changes)
    controller = await laptop.open()
    job = await controller.launch(wanted)
    await asyncio.to_thread(until, lambda: (laptop.store.job(job.id).current_step or 0) > 2, patience=120.0)
    server.cut()
    assert await settled(laptop, job.id) == Status.COMPLETED
    store, far = laptop.store, JobFolder(server.root / "jobs" / job.id)
    job, mirror = store.job(job.id), laptop.home.job(job.id)
    assert (job.current_step, job.total_epochs) == (12, 12)
    for name in ("events.jsonl", "train.log", "exit.json"):
        assert sha(far.path / name) == sha(mirror.path / name)
    # All six files are charted, each row once.
    made = far.work / "artifacts"
    assert {path.stem for path in made.glob("*.csv")} == set(FILES) and (made / "metadata.json").exists()
    assert len(store.curve(job.id, "eval_loss").points) == len(store.curve(job.id, "span_f1").points) == 12
    names = set(store.metrics(job.id))
    assert {name.partition("/")[0] for name in names if "/" in name} == {*FILES} - {"epoch_metrics"}
    assert {
        "loss",
        "eval_loss",
        "span_f1",
        "span_precision",
        "span_recall",
        "epoch_time",
        "grad_norm",
    } <= names
    # Checkpoints are scored, and the best is here after a pull, verified.
    checkpoints = store.checkpoints(job.id)
    assert [row.step for row in checkpoints] == [4, 8, 12] and all(row.score for row in checkpoints)
    best, path = await controller.pull(job.id, "best", lambda done, total: None)
    saved = path / f"checkpoint_epoch_{best.step}.pt"
    assert sha(saved) == sha(made / saved.name)
    # What it was to reach is on the screen's snapshot.
    assert standing_of(store, job) is not None
    detail = take(store, laptop.home, Question(job_id=job.id), {}).job
    assert detail is not None and detail.standing is not None
    assert [tier.name for tier in detail.standing.tiers] == ["minimum", "strong", "exceptional"]
    assert all(check.value is not None for tier in detail.standing.tiers for check in tier.checks)
    assert all(panel.metrics for panel in detail.panels) and len(detail.panels) == 5


async def test_only_what_changed_is_sent(laptop: Laptop, server: Server, code: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.bin"
    corpus.write_bytes(bytes(range(256)) * 8192)  # large enough to be sent by itself
    for at in range(30):
        (code / f"module_{at}.py").write_text(f"value = {at}\n")
    controller = await laptop.open()
    wanted = spec(code, 4, 0, pod=pod_section(server), data=[str(corpus)])
    first = await controller.launch(wanted)
    assert await settled(laptop, first.id) == Status.COMPLETED
    far = JobFolder(server.root / "jobs" / first.id)
    assert (far.work / "corpus.bin").is_symlink() and sha(far.work / "corpus.bin") == sha(corpus)
    kept = {path.name for path in (server.root / "data").iterdir()}
    (code / "module_7.py").write_text("value = 700\n")
    second = await controller.launch(wanted)
    assert await settled(laptop, second.id) == Status.COMPLETED
    new = {path.name for path in (server.root / "data").iterdir()} - kept
    assert new == {sha(code / "module_7.py")}  # job.json is the same, too
    far = JobFolder(server.root / "jobs" / second.id)
    assert (far.work / "module_7.py").read_text() == "value = 700\n"
    assert not (far.work / ".env").exists()


async def test_what_changed_between_launch_and_sending_is_refused(
    laptop: Laptop, server: Server, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Starter._check_python

    async def late(self: Starter) -> None:
        (code / "train.py").write_text("print('another one')")
        await check(self)

    monkeypatch.setattr(Starter, "_check_python", late)
    controller = await laptop.open()
    with pytest.raises(PodError, match=r"train\.py: is not what it was at the launch"):
        await controller.launch(spec(code, 4, 0, pod=pod_section(server)))
    assert laptop.store.jobs()[0].status == Status.FAILED
