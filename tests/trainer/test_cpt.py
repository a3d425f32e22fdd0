"""Continued pre-training learns every token of its texts, packed or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.job.folder import JobFolder
from tests.trainer import jobs

pytestmark = pytest.mark.training

END = "<|im_end|>"


def texts(count: int = 30) -> list[dict[str, Any]]:
    """Texts of one length or another, one of them longer than any block."""
    short = [{"text": f"Rain {i} falls on the town.{' The river rises.' * (i % 4)}"} for i in range(count)]
    return [*short, {"text": " ".join(f"word{i}" for i in range(120))}]


def make(path: Path, **training: Any) -> JobFolder:
    return jobs.make_job(path, {"method": "cpt", "training": {"max_length": 64, **training}}, texts())


def learnt(trainer: Any) -> str:
    """All that is learnt, as text."""
    tokens = [token for row in trainer.train_dataset for token in row["input_ids"]]
    return str(trainer.processing_class.decode(tokens))


def test_packed_blocks_are_full_and_lose_no_text(tmp_path: Path) -> None:
    """A text that is longer than a block goes on in another one."""
    trainer, attempt = jobs.built(make(tmp_path / "a", packing=True))
    from engine.trainer import setup

    given = setup.read_data(attempt).train
    assert any(len(row["text"]) > 500 for row in given), "the long text must be among the train rows"
    tokenizer = trainer.processing_class
    expected = sorted(token for row in given for token in tokenizer(row["text"] + END)["input_ids"])
    found = [row["input_ids"] for row in trainer.train_dataset]
    assert sorted(token for row in found for token in row) == expected
    assert max(map(len, found)) == 64
    assert len(found) < len(given)


def test_unpacked_texts_are_learnt_from_their_first_token_to_their_end(tmp_path: Path) -> None:
    trainer, attempt = jobs.built(make(tmp_path / "a", packing=False, max_length=128))
    batch = next(iter(trainer.get_train_dataloader()))
    real = batch["attention_mask"].bool()
    assert (batch["labels"][real] == batch["input_ids"][real]).all()
    assert (batch["labels"][~real] == -100).all()
    assert learnt(trainer).count(END) >= len(trainer.train_dataset) - 1
    del attempt


def test_a_packed_run_learns_and_is_scored_by_its_loss(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", packing=True, batch_size=2, eval_batch_size=1)
    jobs.run_here(folder)
    evals = jobs.events(folder, "eval")
    assert evals[-1].data["eval_loss"] < evals[0].data["eval_loss"]
    assert {event.data["score"]["formula"] for event in evals} == {"multi-metric/1"}
    assert all(0 <= event.data["eval_mean_token_accuracy"] <= 1 for event in evals)
    assert all(event.data["perplexity"] > 1 for event in evals)
    train = jobs.events(folder, "train")
    assert all(event.data["tokens_per_second"] > 0 for event in train)
    assert jobs.events(folder, "result")
