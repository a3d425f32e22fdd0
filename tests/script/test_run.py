"""A script as a job on this machine: it completes, fails, is started again, stopped; nothing else changes."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from engine.job.events import Status
from engine.snapshots import standing_of
from tests.processes import until
from tests.script.conftest import Laptop, spec


async def settled(laptop: Laptop, job_id: str) -> Status:
    async with asyncio.timeout(90):
        return (await laptop.opened[-1].settle([job_id]))[0].status


async def test_a_script_completes_with_curves_scores_criteria_and_its_log_as_it_is(
    laptop: Laptop, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN", "very-secret-value")
    controller = await laptop.open()
    job = await controller.launch(spec(code, 9, 0.02, environment=["A_TOKEN"]))
    (code / "train.py").write_text("what is edited later changes no run")
    assert await settled(laptop, job.id) == Status.COMPLETED
    store, folder = laptop.store, laptop.home.job(job.id)
    job = store.job(job.id)
    assert (job.current_step, job.total_steps, job.total_epochs, job.method) == (9, 9, 9, "script")
    for metric in ("loss", "eval_loss", "probability_stats/val/separation"):
        assert [point.x for point in store.curve(job.id, metric).points] == list(range(1, 10))
    assert [(row.step, row.is_best) for row in store.checkpoints(job.id)] == [(4, False), (8, True)]
    log = folder.log.read_text()
    assert log.startswith("from 0 secret 17 seed 7\nEpoch 1/9") and log.count("\n") == 10
    standing = standing_of(store, job)
    assert standing is not None and standing.reached == "strong"
    # The secret is nowhere; what must stay at home did.
    for path in folder.path.rglob("*"):
        assert not path.is_file() or b"very-secret-value" not in path.read_bytes(), path
    assert not (folder.work / ".env").exists() and (code / "artifacts" / "epoch_metrics.csv").exists()
    assert "999" not in (folder.work / "artifacts" / "epoch_metrics.csv").read_text()


async def test_a_crash_is_answered_by_a_start_from_its_last_checkpoint(laptop: Laptop, code: Path) -> None:
    controller = await laptop.open()
    job = await controller.launch(spec(code, 10, 0.02, 6))
    assert await settled(laptop, job.id) == Status.COMPLETED
    log = laptop.home.job(job.id).log.read_text()
    assert "out of luck" in log and "from 4 secret" in log
    assert laptop.store.job(job.id).attempt == 2
    assert [point.x for point in laptop.store.curve(job.id, "loss").points] == list(range(1, 11))


async def test_stop_lets_it_save_and_leave(laptop: Laptop, code: Path) -> None:
    controller = await laptop.open()
    job = await controller.launch(spec(code, 5000, 0.02))
    await asyncio.to_thread(until, lambda: (laptop.store.job(job.id).current_step or 0) > 2)
    await controller.stop(job.id)
    assert await settled(laptop, job.id) == Status.CANCELLED
    last = laptop.store.checkpoints(job.id)[-1]
    assert last.step == laptop.store.job(job.id).current_step and last.score is not None


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ({"command": ["no-such-program"]}, "no-such-program: can't be started"),
        ({"command": ["python", "-c", "import sys; sys.exit('bad luck')"]}, "exit status 1: bad luck"),
        ({"command": ["sh", "-c", "kill -SEGV $$"]}, "SIGSEGV"),
        ({"command": ["true"], "requirements": "missing.txt"}, "missing.txt can't be read"),
    ],
)
async def test_failures_are_one_line(laptop: Laptop, code: Path, script: dict[str, Any], told: str) -> None:
    controller = await laptop.open()
    wanted = spec(code, **script)
    wanted = wanted.model_copy(update={"limits": wanted.limits.model_copy(update={"max_restarts": 0})})
    job = await controller.launch(wanted)
    assert await settled(laptop, job.id) == Status.FAILED
    assert told in (laptop.store.job(job.id).error_message or "")


def a_wheel(folder: Path) -> Path:
    """A package that pip installs without asking anybody."""
    wheel = folder / "saidhello-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("saidhello.py", "word = 'hello from a requirement'\n")
        archive.writestr(
            "saidhello-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: saidhello\nVersion: 1.0\n"
        )
        archive.writestr(
            "saidhello-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("saidhello-1.0.dist-info/RECORD", "")
    return wheel


async def test_requirements_are_installed_beside_and_used(laptop: Laptop, code: Path) -> None:
    (code / "requirements.txt").write_text(f"./{a_wheel(code).name}\n")
    controller = await laptop.open()
    command = ["python", "-c", "import saidhello; print(saidhello.word)"]
    job = await controller.launch(spec(code, command=command, requirements="requirements.txt"))
    assert await settled(laptop, job.id) == Status.COMPLETED
    assert "hello from a requirement" in laptop.home.job(job.id).log.read_text()


async def test_what_is_missing_here_is_told_before_anything_is_written(laptop: Laptop, code: Path) -> None:
    controller = await laptop.open()
    for wanted in (
        spec(code, 1, 0, data=["no-such-folder"]),
        spec(code, 1, 0, environment=["PODIUM_TEST_UNSET"]),
    ):
        with pytest.raises(BadInput, match=r"no-such-folder|PODIUM_TEST_UNSET"):
            await controller.launch(wanted)
    assert not list(laptop.home.jobs.iterdir())
