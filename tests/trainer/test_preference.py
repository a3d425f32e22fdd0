"""DPO and ORPO learn which answer is preferred, and say so in figures that no batch size changes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from engine.errors import TrainingError
from engine.job.folder import JobFolder
from tests.trainer import jobs

pytestmark = pytest.mark.training

METHODS = ("dpo", "orpo")
FIGURES = {"rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins"}
OWN = {"dpo": {"entropy"}, "orpo": {"nll_loss", "log_odds_ratio", "log_odds_chosen"}}


def pairs(count: int = 34, chat: bool = False) -> list[dict[str, Any]]:
    """Polite answers over rude ones, of several lengths."""
    found = []
    for i in range(count):
        texts = (f"Is it {i}?", f" Yes, {i % 5} please.{' Thanks.' * (i % 3)}", f" No! {i}")
        if not chat:
            found.append(dict(zip(("prompt", "chosen", "rejected"), texts, strict=True)))
            continue
        question, chosen, rejected = texts
        found.append(
            {
                "prompt": [{"role": "user", "content": question}],
                "chosen": [{"role": "assistant", "content": chosen}],
                "rejected": [{"role": "assistant", "content": rejected}],
            }
        )
    return found


def make(path: Path, method: str, data: list[dict[str, Any]] | None = None, **training: Any) -> JobFolder:
    changes = {"method": method, "training": {"learning_rate": 2e-3, **training}}
    return jobs.make_job(path, changes, pairs() if data is None else data)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, JobFolder]:
    """A full fine-tune by each method."""
    base = tmp_path_factory.mktemp("preference")
    folders = {method: make(base / method, method) for method in METHODS}
    for folder in folders.values():
        jobs.run_here(folder)
    return folders


@pytest.mark.parametrize("method", METHODS)
def test_the_chosen_answers_become_the_likelier_ones(method: str, runs: dict[str, JobFolder]) -> None:
    names = ("eval_loss", "eval_rewards/accuracies", "eval_rewards/margins")
    evals = list(jobs.by_step(runs[method], "eval", *names).values())
    assert evals[-1][0] < evals[0][0]
    assert evals[-1][1] == 1.0
    assert evals[-1][2] > evals[0][2]


@pytest.mark.parametrize("method", METHODS)
def test_every_event_has_the_methods_own_figures(method: str, runs: dict[str, JobFolder]) -> None:
    for event in jobs.events(runs[method], "train"):
        assert event.data.keys() >= FIGURES | OWN[method]
        assert event.data["tokens"] > 0
    for event in jobs.events(runs[method], "eval"):
        assert event.data.keys() >= {f"eval_{name}" for name in FIGURES | OWN[method]}


def test_dpo_is_scored_by_how_often_the_chosen_answer_wins(runs: dict[str, JobFolder]) -> None:
    for event in jobs.events(runs["dpo"], "eval"):
        score = event.data["score"]
        assert score["formula"] == "multi-metric/1-dpo"
        assert score["validity"] == "valid"
        assert score["metrics"]["accuracy"] == event.data["eval_rewards/accuracies"]
        assert score["perplexity"] == pytest.approx(0.1 * (1 - event.data["eval_rewards/accuracies"]))
        assert "perplexity" not in event.data


def test_orpo_is_scored_by_its_loss_and_its_perplexity_is_of_the_chosen_texts(
    runs: dict[str, JobFolder],
) -> None:
    for event in jobs.events(runs["orpo"], "eval"):
        assert event.data["score"]["formula"] == "multi-metric/1"
        assert event.data["perplexity"] == pytest.approx(math.exp(event.data["eval_nll_loss"]))
        ratio = event.data["eval_log_odds_ratio"]
        assert event.data["eval_loss"] == pytest.approx(event.data["eval_nll_loss"] - 0.1 * ratio)


@pytest.mark.parametrize("method", METHODS)
def test_the_figures_do_not_depend_on_the_eval_batch(
    method: str, runs: dict[str, JobFolder], tmp_path: Path
) -> None:
    found = []
    for size in (1, 3, 100):
        changes = {
            "method": method,
            "model": {"name": str(runs[method].final), "build": None},
            "training": {"eval_batch_size": size},
        }
        folder = jobs.make_job(tmp_path / str(size), changes, pairs())
        trainer, attempt = jobs.built(folder)
        attempt.events = jobs.EventWriter(folder.events)
        trainer.evaluate()
        event = jobs.events(folder, "eval")[0].data
        found.append({name: value for name, value in event.items() if name.startswith(("eval_", "perpl"))})
        found[-1].pop("eval_seconds")
    assert found[1] == pytest.approx(found[0], rel=1e-4, abs=1e-6)
    assert found[2] == pytest.approx(found[0], rel=1e-4, abs=1e-6)


def test_dpo_starts_at_its_reference_with_adapters_and_without(tmp_path: Path) -> None:
    for name, lora in (("full", {"lora": None}), ("lora", jobs.LORA)):
        folder = jobs.make_job(tmp_path / name, {"method": "dpo", **lora}, pairs())
        trainer, attempt = jobs.built(folder)
        attempt.events = jobs.EventWriter(folder.events)
        metrics = trainer.evaluate()
        assert metrics["eval_loss"] == pytest.approx(math.log(2))
        assert metrics["eval_rewards/margins"] == 0


@pytest.mark.parametrize("method", METHODS)
def test_messages_and_adapters_train_too(method: str, tmp_path: Path) -> None:
    changes = {"method": method, "training": {"max_steps": 4}, **jobs.LORA}
    folder = jobs.make_job(tmp_path / "a", changes, pairs(chat=True))
    jobs.run_here(folder)
    last = jobs.events(folder, "checkpoint")[-1].data["path"]
    assert (folder.path / last / "adapter_model.safetensors").exists()
    assert jobs.events(folder, "result")


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_equals_one_that_never_stopped(
    method: str, runs: dict[str, JobFolder], tmp_path: Path
) -> None:
    from engine.trainer import checkpoints

    folder = make(tmp_path / "a", method, keep_checkpoints=None)
    jobs.run_here(folder)
    for step in (14, 12):
        checkpoints.remove(checkpoints.read(folder.checkpoint(step)))
    jobs.run_here(folder, 2)
    assert jobs.events(folder, "start")[-1].data["resumed_from"] == "checkpoint-8"
    for type, name in (("train", "loss"), ("eval", "eval_loss")):
        assert jobs.by_step(folder, type, name) == jobs.by_step(runs[method], type, name)


@pytest.mark.parametrize("method", METHODS)
def test_rows_without_room_for_an_answer_are_left_out_and_told(method: str, tmp_path: Path) -> None:
    data = pairs()
    for row in data[:4]:
        row["prompt"] = "x y " * 400
    folder = make(tmp_path / "a", method, data, max_length=64)
    trainer, _ = jobs.built(folder)
    assert len(trainer.train_dataset) + len(trainer.eval_dataset) == 30
    told = " ".join(event.data["message"] for event in jobs.events(folder, "alert"))
    assert "have no answer within max_length 64: left out" in told


@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_learnt_from_is_refused(method: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no answer is left within max_length 2"):
        jobs.built(make(tmp_path / "a", method, max_length=2))
    changes = {"method": method, "model": {"chat_template": ""}}
    with pytest.raises(TrainingError, match="no chat template"):
        jobs.built(jobs.make_job(tmp_path / "b", changes, pairs(chat=True)))


def test_the_price_of_leaving_the_reference_reaches_the_loss(tmp_path: Path) -> None:
    for method in METHODS:
        changes = {"method": method, "preference": {"beta": 0.37}}
        trainer, _ = jobs.built(jobs.make_job(tmp_path / method, changes, pairs()))
        assert trainer.beta == trainer.args.beta == 0.37
