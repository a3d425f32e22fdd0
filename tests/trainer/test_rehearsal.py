"""Before step 1 the worst is tried, and training goes as if it had not been."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.job.folder import JobFolder
from tests.trainer import jobs
from tests.trainer.conftest import ByMethod, Trained
from tests.trainer.methods import METHODS, PROMPTS, job_of, rlhf
from tests.trainer.test_memory import room_for

pytestmark = pytest.mark.training

SFT = METHODS["sft"][0]


def rehearsed(folder: JobFolder) -> list[dict[str, Any]]:
    """What was told of rehearsals."""
    phases = jobs.events(folder, "phase", lambda event: "rehearsal" in event.data)
    return [dict(event.data["rehearsal"]) for event in phases]


@pytest.mark.parametrize("name", METHODS)
def test_losses_are_bit_equal_with_and_without_it(name: str, by_method: ByMethod, tmp_path: Path) -> None:
    """Adapters have dropout, so that the random state counts."""
    without, with_it = by_method(name), job_of(name, tmp_path / "a", {"training": {"rehearsal": True}})
    jobs.run_here(with_it)
    assert rehearsed(without) == []
    (tried,) = rehearsed(with_it)
    assert (tried["rows"], tried["eval_rows"]) == (4, 3)
    assert 0 < tried["longest_tokens"] <= 96
    timing = ("tokens_per_second", "samples_per_second", "step_time")
    for type in ("train", "eval"):
        told = [jobs.events(folder, type) for folder in (without, with_it)]
        names = sorted(set(told[0][0].data) - {*timing, "eval_seconds"})
        assert jobs.by_step(with_it, type, *names) == jobs.by_step(without, type, *names)
    best = jobs.events(with_it, "result")[0].data["best_checkpoint_path"]
    weights = f"{best}/adapter_model.safetensors"
    assert (with_it.path / weights).read_bytes() == (without.path / weights).read_bytes()


def test_a_small_model_is_not_rehearsed_with_unless_that_is_asked(trained: Trained) -> None:
    assert rehearsed(trained.folder) == []


@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_completions_of_the_longest_prompts_are_tried_at_their_full_length(
    algorithm: str, tmp_path: Path
) -> None:
    trainer, _ = jobs.built(jobs.make_job(tmp_path / "a", rlhf(algorithm), PROMPTS))
    trainer.model.train()
    worst = trainer.worst_batch()
    mask = worst.inputs["mask" if algorithm == "ppo" else "completion_mask"]
    assert mask.shape == (4, 8) and mask.all()
    longest = max(len(trainer.processing_class(row["prompt"])["input_ids"]) for row in PROMPTS)
    assert longest + 8 - 3 <= worst.tokens <= longest + 8


@pytest.fixture(scope="module")
def long_rows(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """A run with a row that is longer than the others."""
    data = jobs.rows()
    long = {"role": "assistant", "content": "It is " + "so " * 40}
    data[20] = {**data[20], "messages": [data[20]["messages"][0], long]}
    folder = jobs.make_job(tmp_path_factory.mktemp("long") / "job", SFT, data)
    jobs.run_here(folder)
    return folder


def test_the_longest_rows_are_tried_and_told(long_rows: JobFolder, tmp_path: Path) -> None:
    trainer, _ = jobs.built(jobs.at_step(long_rows, 6, tmp_path / "a"))
    lengths = sorted(len(row["input_ids"]) for row in trainer.train_dataset)
    (tried,) = rehearsed(long_rows)
    assert tried["longest_tokens"] == lengths[-1] > 1.5 * lengths[0]
    assert (tried["rows"], tried["eval_rows"]) == (4, 3)
    written = sum(entry["bytes"] for entry in jobs.manifest(long_rows.checkpoint(6))["files"].values())
    assert tried["checkpoint_bytes"] == pytest.approx(written, rel=0.1)
    assert all(path.name.startswith("checkpoint-") for path in long_rows.checkpoints.iterdir())


def test_a_batch_that_does_not_fit_is_made_smaller_before_step_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(monkeypatch, train_rows=2)
    folder = jobs.make_job(tmp_path / "a", SFT)
    jobs.run_here(folder)
    recovery = jobs.events(folder, "recovery")
    assert [event.data["action"] for event in recovery] == ["going on with batches of 2, 2 of them a step"]
    assert recovery[0].seq < jobs.events(folder, "train")[0].seq
    assert len(rehearsed(folder)) == 1


def test_a_run_that_goes_on_is_not_rehearsed_again(tmp_path: Path, long_rows: JobFolder) -> None:
    folder = jobs.at_step(long_rows, 3, tmp_path / "a")
    jobs.run_here(folder, 2)
    assert jobs.events(folder, "start")[-1].data["resumed_from"] == "checkpoint-3"
    assert len(rehearsed(folder)) == 1


def test_a_disk_too_small_for_the_run_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**5, 10**5))
    folder = jobs.make_job(tmp_path / "a", SFT)
    jobs.run_here(folder)
    told = [event for event in jobs.events(folder, "alert") if event.data["alert"] == "disk_warning"]
    assert len(told) == 1 and told[0].seq < jobs.events(folder, "train")[0].seq
