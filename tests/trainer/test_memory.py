"""Running out of memory costs time, not the run: smaller micro-batches learn the same."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from engine.errors import TrainingError
from engine.job.folder import JobFolder
from engine.trainer import checkpoints, loading, memory, model
from tests.trainer import jobs
from tests.trainer.conftest import Trained

pytestmark = pytest.mark.training


def room_for(
    monkeypatch: pytest.MonkeyPatch, train_rows: int = 100, eval_rows: int = 100, from_step: int = 0
) -> None:
    """Let the model raise torch's own error when a batch has more rows than there is room for."""
    import torch

    original = model.load
    earlier: list[weakref.ref[Any]] = []

    def load(*arguments: Any) -> Any:
        assert not any(reference() for reference in earlier), "the model that did not fit is still there"
        loaded, tokenizer = original(*arguments)
        earlier.append(weakref.ref(loaded))
        calls = [0]

        def refuse(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            calls[0] += module.training
            rows = kwargs["input_ids"].shape[0]
            if rows > (train_rows if module.training else eval_rows) and calls[0] > from_step:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

        loaded.register_forward_pre_hook(refuse, with_kwargs=True)
        return loaded, tokenizer

    monkeypatch.setattr(model, "load", load)


def losses(folder: JobFolder) -> dict[tuple[str, int], float]:
    trained = {("train", step): loss for step, (loss,) in jobs.by_step(folder, "train", "loss").items()}
    evaluated = {("eval", step): loss for step, (loss,) in jobs.by_step(folder, "eval", "eval_loss").items()}
    return {**trained, **evaluated}


def recoveries(folder: JobFolder) -> list[str]:
    return [event.data["action"] for event in jobs.events(folder, "recovery")]


@pytest.fixture
def whole(trained: Trained) -> JobFolder:
    """The same job with room enough."""
    return trained.folder


def test_training_goes_on_with_smaller_batches_and_learns_the_same(
    whole: JobFolder, job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(monkeypatch, train_rows=1)
    jobs.run_here(job)
    assert recoveries(job) == [
        "going on with batches of 2, 2 of them a step",
        "going on with batches of 1, 4 of them a step",
    ]
    assert losses(job) == pytest.approx(losses(whole), rel=1e-4)
    config = jobs.events(job, "start")[-1].data["config"]["training"]
    assert (config["batch_size"], config["gradient_accumulation_steps"]) == (1, 4)
    assert jobs.events(job, "result")


def test_training_goes_on_from_the_last_checkpoint(
    whole: JobFolder, job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(monkeypatch, train_rows=3, from_step=9)
    jobs.run_here(job)
    assert jobs.events(job, "start")[-1].data["resumed_from"] == "checkpoint-8"
    assert losses(job) == pytest.approx(losses(whole), rel=1e-4)


def test_an_evaluation_takes_smaller_batches_and_training_does_not_notice(
    whole: JobFolder, job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(monkeypatch, eval_rows=1)
    jobs.run_here(job)
    assert recoveries(job) == ["evaluating with batches of 1"]
    assert len(jobs.events(job, "start")) == 1
    assert losses(job) == pytest.approx(losses(whole), rel=1e-6)


def test_a_later_attempt_remembers_what_fits(job: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        room_for(patch, train_rows=2)
        jobs.run_here(job)
    checkpoints.remove(checkpoints.read(job.checkpoint(14)))
    jobs.run_here(job, 2)
    start = jobs.events(job, "start")[-1].data
    assert start["resumed_from"] == "checkpoint-12"
    training = start["config"]["training"]
    assert (training["batch_size"], training["gradient_accumulation_steps"]) == (2, 2)


def test_a_row_that_never_fits_ends_the_job_with_its_cause(
    job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(monkeypatch, train_rows=0)
    with pytest.raises(TrainingError) as caught:
        jobs.run_here(job)
    assert caught.value.kind == "out_of_memory"
    assert "with a single row a batch" in caught.value.what
    assert recoveries(job)[-1] == "going on with activation checkpointing"


def test_garbage_is_collected_again_once_all_is_loaded(job: JobFolder) -> None:
    """Models that did not fit would else stay."""
    loading.begin()
    try:
        jobs.built(job)
        assert gc.isenabled() and gc.get_freeze_count() > 0
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("batch", "accumulation", "after"), [(8, 1, (4, 2)), (6, 2, (3, 4)), (9, 1, (3, 3)), (7, 2, (1, 14))]
)
def test_the_rows_of_a_step_stay_the_same(
    batch: int, accumulation: int, after: tuple[int, int], tmp_path: Path
) -> None:
    changes = {"training": {"batch_size": batch, "gradient_accumulation_steps": accumulation}}
    folder = jobs.make_job(tmp_path / "a", changes)
    attempt = jobs.attempt_at(folder)
    memory.shrink(attempt)
    training = attempt.spec.training
    assert (training.batch_size, training.gradient_accumulation_steps) == after


@pytest.mark.parametrize("asked", [None, True, False])
def test_a_single_row_is_tried_again_only_where_activations_were_kept(
    asked: bool | None, tmp_path: Path
) -> None:
    """What the spec leaves open means that they are not, but on a GPU with room, which is chosen by then."""
    changes = {"training": {"batch_size": 1, "gradient_checkpointing": asked}}
    attempt = jobs.attempt_at(jobs.make_job(tmp_path / "a", changes))
    if asked is False:
        memory.shrink(attempt)
        assert attempt.spec.training.gradient_checkpointing is True
        return
    with pytest.raises(TrainingError, match="a single row"):
        memory.shrink(attempt)
    assert attempt.progress.shrunk == {}
