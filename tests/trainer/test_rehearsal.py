"""Before step 1 the worst is tried, and training goes as if it had not been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.job.folder import JobFolder
from engine.job.spec import merged
from engine.trainer import checkpoints
from tests.trainer import jobs
from tests.trainer.test_memory import room_for

pytestmark = pytest.mark.training

PAIRS = [
    {"prompt": f"Name {n}: ", "chosen": f"it is {n}{' so' * (n % 5)}", "rejected": f"not {n}"}
    for n in range(24)
]
DPO = {"method": "dpo", "training": {"max_steps": 4, "eval_steps": 2, "log_steps": 1}}
ORPO = {**DPO, "method": "orpo"}
PROMPTS = [{"prompt": f"Say {'it ' * (n % 7)}{n}:", "ground_truth": n} for n in range(24)]
SFT = {"training": {"rehearsal": True, "max_steps": 6, "eval_steps": 3, "log_steps": 1}}


def rehearsed(folder: JobFolder) -> list[dict[str, Any]]:
    """What was told of rehearsals."""
    phases = jobs.events(folder, "phase", lambda event: "rehearsal" in event.data)
    return [dict(event.data["rehearsal"]) for event in phases]


def rlhf(algorithm: str) -> dict[str, Any]:
    """Completions of at most 8 tokens, each rollout used twice."""
    groups = {} if algorithm == "ppo" else {"num_generations": 4}
    reward = {"name": "contains", "text": "e"}
    given = {"algorithm": algorithm, "rewards": [reward], "max_completion_length": 8, "ppo_epochs": 2}
    training = {**DPO["training"], "gradient_accumulation_steps": 2, "learning_rate": 1e-3}
    return {"method": "rlhf", "rlhf": {**given, **groups}, "training": training}


METHODS: dict[str, tuple[Any, Any]] = {
    "sft": (SFT, None),
    "dpo": (DPO, PAIRS),
    "orpo": (ORPO, PAIRS),
    **{algorithm: (rlhf(algorithm), PROMPTS) for algorithm in ("grpo", "rloo", "ppo")},
}


@pytest.mark.parametrize(("changes", "data"), METHODS.values(), ids=METHODS)
def test_losses_are_bit_equal_with_and_without_it(changes: Any, data: Any, tmp_path: Path) -> None:
    """Adapters have dropout, so that the random state counts."""
    folders = []
    for rehearsal in (False, True):
        wanted = merged(merged(changes, jobs.LORA), {"training": {"rehearsal": rehearsal}})
        folders.append(jobs.make_job(tmp_path / str(rehearsal), wanted, data))
        jobs.run_here(folders[-1])
    without, with_it = folders
    assert rehearsed(without) == []
    (tried,) = rehearsed(with_it)
    assert (tried["rows"], tried["eval_rows"]) == (4, 3)
    assert 0 < tried["longest_tokens"] <= 96
    timing = ("tokens_per_second", "samples_per_second", "step_time")
    for type in ("train", "eval"):
        told = [jobs.events(folder, type) for folder in folders]
        names = sorted(set(told[0][0].data) - {*timing, "eval_seconds"})
        assert jobs.by_step(with_it, type, *names) == jobs.by_step(without, type, *names)
    best = jobs.events(with_it, "result")[0].data["best_checkpoint_path"]
    weights = f"{best}/adapter_model.safetensors"
    assert (with_it.path / weights).read_bytes() == (without.path / weights).read_bytes()


def test_a_small_model_is_not_rehearsed_with_unless_that_is_asked(job: JobFolder) -> None:
    jobs.run_here(job)
    assert rehearsed(job) == []


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


def test_the_longest_rows_are_tried_and_told(tmp_path: Path) -> None:
    data = jobs.rows()
    long = {"role": "assistant", "content": "It is " + "so " * 40}
    data[20] = {**data[20], "messages": [data[20]["messages"][0], long]}
    folder = jobs.make_job(tmp_path / "a", SFT, data)
    trainer, _ = jobs.built(folder)
    lengths = sorted(len(row["input_ids"]) for row in trainer.train_dataset)
    folder = jobs.make_job(tmp_path / "b", SFT, data)
    jobs.run_here(folder)
    (tried,) = rehearsed(folder)
    assert tried["longest_tokens"] == lengths[-1] > 1.5 * lengths[0]
    assert (tried["rows"], tried["eval_rows"]) == (4, 3)
    written = sum(entry["bytes"] for entry in jobs.manifest(folder.checkpoint(6))["files"].values())
    assert tried["checkpoint_bytes"] == pytest.approx(written, rel=0.1)
    assert all(path.name.startswith("checkpoint-") for path in folder.checkpoints.iterdir())


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


def test_a_run_that_goes_on_is_not_rehearsed_again(tmp_path: Path) -> None:
    folder = jobs.make_job(tmp_path / "a", SFT)
    jobs.run_here(folder)
    checkpoints.remove(checkpoints.read(folder.checkpoint(6)))
    jobs.run_here(folder, 2)
    assert jobs.events(folder, "start")[-1].data["resumed_from"] == "checkpoint-3"
    assert len(rehearsed(folder)) == 1


def test_a_disk_too_small_for_the_run_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**5, 10**5))
    folder = jobs.make_job(tmp_path / "a", SFT)
    jobs.run_here(folder)
    told = [event for event in jobs.events(folder, "alert") if event.data["alert"] == "disk_warning"]
    assert len(told) == 1 and told[0].seq < jobs.events(folder, "train")[0].seq
