"""One run from beginning to end: what it tells, what it keeps, and that its numbers are true."""

from __future__ import annotations

import hashlib
import json
import math
import re

import pytest

from engine.job import dataset
from engine.job.sections import DatasetSpec
from engine.job.spec import JobSpec
from engine.trainer import checkpoints
from scorer import Score, order_key
from tests.trainer import jobs
from tests.trainer.conftest import Trained

pytestmark = pytest.mark.training


def test_a_finished_run_exits_0_with_one_result(trained: Trained) -> None:
    assert trained.status == 0
    result = jobs.events(trained.folder, "result")
    assert len(result) == 1
    assert result[0] == jobs.events(trained.folder)[-1]
    assert result[0].data["total_steps"] == 14
    assert (trained.folder.path / result[0].data["final_path"]).is_dir()
    assert (trained.folder.path / result[0].data["best_checkpoint_path"]).is_dir()


def test_the_start_tells_what_will_be_trained(trained: Trained) -> None:
    start = jobs.events(trained.folder, "start")[0].data
    assert start["config"] == json.loads(trained.folder.spec.read_text())
    assert start["total_steps"] == 14
    assert start["total_epochs"] == 2
    assert start["samples"] == {"train": 27, "eval": 7}
    read = dataset.read(trained.folder.dataset)
    assert start["data_sha256"] == read.sha256
    spec = JobSpec.from_json(trained.folder.spec)
    held_out = dataset.split(read, spec.dataset, spec.training.seed)[1]
    assert start["eval_sha256"] == dataset.sha256_of(held_out)


def test_the_start_names_the_tokenizer_whatever_it_did_last(trained: Trained) -> None:
    from transformers import AutoTokenizer

    from engine.trainer.model import tokenizer_sha256

    tokenizer = AutoTokenizer.from_pretrained(trained.folder.path / "base")
    tokenizer(["a", "b b b"], padding=True, truncation=True, max_length=2)
    start = jobs.events(trained.folder, "start")[0].data
    assert start["tokenizer_sha256"] == tokenizer_sha256(tokenizer)
    tokenizer.chat_template += " "
    assert start["tokenizer_sha256"] != tokenizer_sha256(tokenizer)


def test_the_start_names_the_code_that_trains(trained: Trained) -> None:
    from engine.trainer.code import code_sha256

    sha = jobs.events(trained.folder, "start")[0].data["code_sha256"]
    assert len(sha) == 64 and sha == code_sha256()


def test_the_start_tells_the_versions(trained: Trained) -> None:
    start = jobs.events(trained.folder, "start")[0].data
    assert {"torch", "transformers", "trl", "python"} <= set(start["versions"])


def test_every_window_is_logged_with_true_figures(trained: Trained) -> None:
    logged = jobs.events(trained.folder, "train")
    assert [event.step for event in logged] == [2, 4, 6, 8, 10, 12, 14]
    for event in logged:
        assert event.data["grad_norm"] > 0
        assert event.data["samples_per_second"] > 0
    losses = [event.data["loss"] for event in logged]
    assert losses[-1] < losses[0] - 1
    # Linear warm-up over 3 steps to the peak of 5e-3, then linearly to 0 at step 14.
    peak = 5e-3
    expected = [peak * 1 / 3, peak, *(peak * (14 - (step - 1)) / 11 for step in (6, 8, 10, 12, 14))]
    assert [event.data["learning_rate"] for event in logged] == pytest.approx(expected)


def test_tokens_are_counted_without_padding(trained: Trained) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained.folder.path / "base")
    read = dataset.read(trained.folder.dataset)
    train, _ = dataset.split(read, DatasetSpec(path="x", train_split=0.8), 7)
    epoch = sum(len(tokenizer.apply_chat_template(row["messages"])["input_ids"]) for row in train)
    tokens = jobs.by_step(trained.folder, "train", "tokens")
    assert tokens[14] == (2 * epoch,)


def test_samples_a_second_are_rows_and_not_steps(trained: Trained) -> None:
    logged = jobs.events(trained.folder, "train")
    tokens = 0
    samples = 0.0
    for event in logged:
        seconds = (event.data["tokens"] - tokens) / event.data["tokens_per_second"]
        samples += event.data["samples_per_second"] * seconds
        tokens = event.data["tokens"]
    assert samples == pytest.approx(2 * 27)


def test_each_evaluation_is_scored_from_its_own_numbers(trained: Trained) -> None:
    evals = jobs.events(trained.folder, "eval")
    assert [event.step for event in evals] == [4, 8, 12, 14]
    train_loss = jobs.by_step(trained.folder, "train", "loss")
    before = math.inf
    for event in evals:
        loss, score = event.data["eval_loss"], Score.from_json(event.data["score"])
        assert event.data["train_loss"] == train_loss[event.step][0]
        assert event.data["perplexity"] == pytest.approx(math.exp(loss))
        improved = loss < before
        gap = abs(event.data["train_loss"] - loss) / loss
        expected = 0.5 * loss + 0.3 * gap + 0.1 * min(math.exp(loss) / 20, 1) - 0.1 * improved
        assert score.total == pytest.approx(expected)
        before = loss


def test_the_eval_loss_is_the_mean_over_the_answers_tokens(trained: Trained) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    final = trained.folder.final
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(final).eval(),
        AutoTokenizer.from_pretrained(final),
    )
    _, held_out = dataset.split(
        dataset.read(trained.folder.dataset), DatasetSpec(path="x", train_split=0.8), 7
    )
    total, count = 0.0, 0
    for row in held_out:
        question = tokenizer.apply_chat_template(row["messages"][:1], add_generation_prompt=True)["input_ids"]
        answer = tokenizer(row["messages"][1]["content"] + "<|im_end|>")["input_ids"]
        with torch.no_grad():
            scores = model(torch.tensor([question + answer])).logits[0].log_softmax(-1)
        total -= sum(float(scores[len(question) - 1 + i, token]) for i, token in enumerate(answer))
        count += len(answer)
    best = jobs.events(trained.folder, "result")[0].data["best_step"]
    assert jobs.by_step(trained.folder, "eval", "eval_loss")[best][0] == pytest.approx(
        total / count, rel=1e-5
    )


def test_every_checkpoint_is_announced_as_it_is(trained: Trained) -> None:
    folder = trained.folder
    saved = jobs.events(folder, "checkpoint", lambda event: not event.data.get("removed"))
    removed = {
        event.step for event in jobs.events(folder, "checkpoint", lambda event: event.data.get("removed"))
    }
    assert [event.step for event in saved] == [4, 8, 12, 14]
    assert {event.step for event in saved} - removed == set(checkpoints.steps(folder))
    scores = jobs.by_step(folder, "eval", "score")
    for event in saved:
        assert event.data["verified"] is True
        assert event.data["score"] == scores[event.step][0]
        if event.step not in removed:
            path = folder.path / event.data["path"]
            files = [file for file in path.iterdir() if file.name != "manifest.json"]
            assert event.data["bytes"] == sum(file.stat().st_size for file in files)
            digest = hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()
            assert event.data["sha256"] == digest
            assert set(jobs.manifest(path)["files"]) == {file.name for file in files}


def test_the_best_checkpoints_weights_are_what_training_ends_with(trained: Trained) -> None:
    folder = trained.folder
    scored = [
        (order_key(Score.from_json(event.data["score"])), event.step) for event in jobs.events(folder, "eval")
    ]
    best = jobs.events(folder, "result")[0].data["best_step"]
    assert best == min(scored)[1]
    weights = (folder.final / "model.safetensors").read_bytes()
    assert weights == (folder.checkpoint(best) / "model.safetensors").read_bytes()
    assert {file.name for file in folder.final.iterdir()} == {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "README.md",
        "made.json",
    }


def test_phases_tell_what_the_job_is_busy_with(trained: Trained) -> None:
    phases = [event.data["phase"] for event in jobs.events(trained.folder, "phase")]
    assert phases[:2] == ["load", "train"]
    assert phases.count("eval") == 4
    assert phases[-1] == "save"


def test_the_log_is_readable_lines_and_nothing_else(trained: Trained) -> None:
    lines = trained.log.splitlines()
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d  \S.*", line) for line in lines), trained.log
    assert any(re.search(r"  step 2  loss \d\.\d{4}  grad_norm \d\.\d{4}  lr \S+$", line) for line in lines)


def test_each_score_stands_in_the_log_with_its_parts(trained: Trained) -> None:
    for event in jobs.events(trained.folder, "eval"):
        score = event.data["score"]
        (line,) = [text for text in trained.log.splitlines() if f"step {event.step}  eval_loss" in text]
        told = dict(re.findall(r"(\w+) (-?[\d.]+(?:e[-+]\d+)?)", line))
        assert float(told["score"]) == pytest.approx(score["total"], abs=1e-4)
        assert [float(told[name]) for name in ("loss", "gap", "perplexity", "bonus")] == pytest.approx(
            [score[name] for name in ("eval_loss", "gap", "perplexity", "bonus")], abs=1e-4
        )


def test_nothing_is_left_but_the_jobs_own_files(trained: Trained) -> None:
    names = {path.name for path in trained.folder.path.iterdir()}
    assert names == {"job.json", "dataset.jsonl", "events.jsonl", "base", "checkpoints", "control", "final"}
    assert all(path.name.startswith("checkpoint-") for path in trained.folder.checkpoints.iterdir())
