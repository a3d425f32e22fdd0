"""The loss of each eval example is told, in the rows' order, however they are batched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.trainer import examples
from tests.trainer import jobs

pytestmark = pytest.mark.training

TEXTS = [{"text": f"Rain {i} falls. The river rises{' again' * (i % 5)}."} for i in range(30)]
CPT = {"method": "cpt", "training": {"max_length": 64}}


def losses(trainer: Any) -> tuple[float, ...]:
    trainer.evaluate()
    return tuple(trainer.example_losses)


def one_by_one(trainer: Any) -> list[float]:
    """The same, computed row by row by the model itself."""
    import torch

    trainer.model.eval()
    found = []
    for row in trainer.eval_dataset:
        tokens, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        with torch.no_grad():
            found.append(float(trainer.model(input_ids=tokens, labels=labels).loss))
    return found


@pytest.mark.parametrize("size", [1, 3])
def test_they_are_those_of_the_rows(size: int, tmp_path: Path) -> None:
    trainer, _ = jobs.built(jobs.make_job(tmp_path / "a", {"training": {"eval_batch_size": size}}))
    expected = one_by_one(trainer)
    trainer.attempt.events = jobs.attempt_at(jobs.make_job(tmp_path / "b")).events
    assert losses(trainer) == pytest.approx(expected, rel=1e-5)


def test_packed_rows_are_told_apart(tmp_path: Path) -> None:
    import torch

    alone, _ = jobs.built(jobs.make_job(tmp_path / "a", CPT, TEXTS))
    expected = one_by_one(alone)
    rows = [row["input_ids"] for row in alone.eval_dataset]
    packed = torch.tensor([[token for row in rows for token in row]])
    positions = torch.tensor([[at for row in rows for at in range(len(row))]])
    labels = packed.masked_fill(positions == 0, -100)
    inputs = {"input_ids": packed, "position_ids": positions}
    alone.model.eval()
    # Which row a place belongs to must be right: the losses are made to say so.
    with torch.no_grad():
        output = alone.model(**inputs, labels=labels, fused_lm_head=True)
    row_of = [at for at, row in enumerate(rows) for _ in row]
    output.log_probs = -torch.tensor([[float(expected[at]) for at in row_of[1:]]]) * output.label_mask
    assert examples.losses(output, inputs) == pytest.approx(expected, rel=1e-5)


def test_a_run_tells_them_with_each_evaluation(tmp_path: Path) -> None:
    folder = jobs.make_job(tmp_path / "a", {"training": {"max_steps": 4, "eval_steps": 2}})
    jobs.run_here(folder)
    told = jobs.events(folder, "examples")
    assert [event.step for event in told] == [2, 4]
    rows = jobs.events(folder, "start")[0].data["samples"]["eval"]
    for event in told:
        found = event.data["losses"]
        assert len(found) == rows and event.data["order"] == "rows"
        evaluated = jobs.by_step(folder, "eval", "eval_loss")[event.step or 0][0]
        assert min(found) < evaluated < max(found)


def test_no_more_are_kept_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "LIMIT", 4)
    folder = jobs.make_job(tmp_path / "a", {"training": {"max_steps": 2, "eval_steps": 2}})
    jobs.run_here(folder)
    assert len(jobs.events(folder, "examples")[0].data["losses"]) == 4
