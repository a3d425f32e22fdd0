"""A run that was interrupted goes on as if it never had been: same losses, same weights, to the bit.

SIGKILL in every phase, of real processes under a real supervisor, is in test_sweep.py.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.job.folder import JobFolder
from engine.trainer import checkpoints
from engine.trainer.stop import StopRequest
from tests.trainer import jobs

pytestmark = pytest.mark.training

FIGURES = ("loss", "grad_norm", "learning_rate", "tokens", "epoch")
ACCUMULATED: dict[str, Any] = {"training": {"gradient_accumulation_steps": 2, "batch_size": 3}}
KINDS = {"full": ACCUMULATED, "lora": jobs.LORA}
"""What the fixture `whole` trains."""


def assert_same(interrupted: JobFolder, whole: JobFolder) -> None:
    """The later attempts' figures where a step came twice, and the final weights, to the bit."""
    for type, names in (("train", FIGURES), ("eval", ("eval_loss", "train_loss", "score"))):
        assert jobs.by_step(interrupted, type, *names) == jobs.by_step(whole, type, *names)
    results = [jobs.events(folder, "result")[-1].data for folder in (interrupted, whole)]
    assert results[0]["best_step"] == results[1]["best_step"]
    assert checkpoints.steps(interrupted) == checkpoints.steps(whole)
    for path in whole.final.rglob("*.safetensors"):
        assert (interrupted.final / path.relative_to(whole.final)).read_bytes() == path.read_bytes()
    assert [event.seq for event in jobs.events(interrupted)] == [
        number + 1 for number in range(len(jobs.events(interrupted)))
    ]


@pytest.mark.parametrize(
    ("whole", "step"), [("full", 5), ("full", 8), ("full", 14), ("lora", 5)], indirect=["whole"]
)
def test_sigterm_saves_and_the_resumed_run_equals_the_whole_one(
    step: int,
    whole: tuple[JobFolder, dict[str, Any]],
    tmp_path: Path,
    sigterm: StopRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the middle of a logging window, of an evaluation, and of the last evaluation."""
    reference, kind = whole
    folder = jobs.make_job(tmp_path / "job", kind)
    jobs.signal_at(step, monkeypatch)
    jobs.run_here(folder, 1, sigterm)
    assert max(checkpoints.steps(folder)) == step
    assert not jobs.events(folder, "result")
    jobs.run_here(folder, 2)
    start = jobs.events(folder, "start")[-1]
    assert (start.attempt, start.data["resumed_from"]) == (2, f"checkpoint-{step}")
    if step == 5:
        # Nothing was evaluated there, and so it has no score.
        assert jobs.by_step(folder, "checkpoint", "removed", "score")[step] == (True, None)
    assert_same(folder, reference)


@pytest.mark.parametrize("whole", ["full"], indirect=True)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_taken(
    whole: tuple[JobFolder, dict[str, Any]], tmp_path: Path
) -> None:
    reference, _ = whole
    folder = JobFolder(tmp_path / "job")
    shutil.copytree(reference.path, folder.path)
    shutil.rmtree(folder.final)
    newest, before = checkpoints.steps(folder)[:2]
    weights = next(folder.checkpoint(newest).glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-8] ^= 1
    weights.write_bytes(data)
    jobs.run_here(folder, 2)
    recovery = jobs.events(folder, "recovery")[0].data
    assert (
        recovery["failure"]
        == f"checkpoint-{newest} is damaged ({weights.name} has other bytes than when it was saved)"
    )
    assert jobs.events(folder, "start")[-1].data["resumed_from"] == f"checkpoint-{before}"
    assert jobs.by_step(folder, "train", *FIGURES) == jobs.by_step(reference, "train", *FIGURES)
    assert not list(folder.checkpoints.glob("damaged-*"))


@pytest.mark.parametrize("whole", ["full"], indirect=True)
def test_a_run_that_ended_before_its_result_only_finishes(
    whole: tuple[JobFolder, dict[str, Any]], tmp_path: Path
) -> None:
    reference, _ = whole
    folder = JobFolder(tmp_path / "job")
    shutil.copytree(reference.path, folder.path)
    shutil.rmtree(folder.final)
    jobs.run_here(folder, 2)
    assert not jobs.events(folder, "train", lambda event: event.attempt == 2)
    assert len(jobs.events(folder, "result")) == 2
    assert folder.final.is_dir()
