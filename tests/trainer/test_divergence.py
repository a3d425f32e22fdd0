"""A loss that is no number: told, or training stops, or goes back and on with a lower rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import TrainingError
from engine.job.folder import JobFolder
from engine.trainer import model
from tests.trainer import jobs
from tests.trainer.methods import METHODS

pytestmark = pytest.mark.training


def spoil(monkeypatch: pytest.MonkeyPatch, at: int, times: int = 1) -> None:
    """Make the weights NaN at that micro-step, in so many of the models that are loaded."""
    original = model.load
    loads = [0]

    def load(*arguments: Any) -> Any:
        loaded, tokenizer = original(*arguments)
        loads[0] += 1
        left, calls = loads[0] <= times, [0]

        def poison(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            calls[0] += module.training
            if left and calls[0] == at:
                module.get_input_embeddings().weight.data.mul_(float("nan"))

        loaded.register_forward_pre_hook(poison, with_kwargs=True)
        return loaded, tokenizer

    monkeypatch.setattr(model, "load", load)


def job(place: Path, what: str) -> JobFolder:
    return jobs.make_job(place / "a", {"training": {"on_divergence": what, "schedule": "constant"}})


def actions(folder: JobFolder) -> list[str]:
    return [event.data["action"] for event in jobs.events(folder, "recovery")]


def test_an_alert_alone_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, at=10)
    folder = job(tmp_path, "alert")
    jobs.run_here(folder)
    assert jobs.events(folder, "train")[-1].data["loss"] == "NaN"
    assert jobs.events(folder, "result")[0].data["best_step"] == 8
    assert actions(folder) == []


def test_to_stop_ends_with_the_best_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, at=10)
    folder = job(tmp_path, "stop")
    jobs.run_here(folder)
    assert jobs.events(folder, "train")[-1].step == 10
    result = jobs.events(folder, "result")[0].data
    assert (result["best_step"], result["stopped_early"]) == (8, True)
    assert actions(folder) == ["stopping; checkpoint-8 is still good"]


def test_to_stop_before_the_first_checkpoint_fails_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, at=2)
    with pytest.raises(TrainingError) as failure:
        jobs.run_here(job(tmp_path, "stop"))
    assert failure.value.kind == "diverged"
    assert "learning_rate" in failure.value.advice


def test_to_roll_back_goes_on_from_the_last_good_checkpoint_with_half_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, at=10)
    folder = job(tmp_path, "rollback")
    jobs.run_here(folder)
    assert actions(folder) == ["going back to checkpoint-8 with a learning rate of 0.0025"]
    start = jobs.events(folder, "start")[-1].data
    assert start["resumed_from"] == "checkpoint-8"
    assert start["config"]["training"]["learning_rate"] == 0.0025
    after = jobs.by_step(folder, "train", "learning_rate", "loss")
    assert [after[step][0] for step in (8, 10, 12, 14)] == [0.005, 0.0025, 0.0025, 0.0025]
    assert all(isinstance(loss, float) for _, loss in after.values())
    assert jobs.events(folder, "result")[0].data["total_steps"] == 14


def test_without_a_checkpoint_training_starts_anew_and_three_times_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, at=2, times=9)
    folder = job(tmp_path, "rollback")
    with pytest.raises(TrainingError):
        jobs.run_here(folder)
    rates = ("0.0025", "0.00125", "0.000625")
    assert actions(folder) == [
        f"going back to the beginning with a learning rate of {rate}" for rate in rates
    ]


@pytest.fixture
def broken_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the third backward pass of a micro-batch on, all gradients are NaN."""
    original = model.load

    def load(*arguments: Any) -> Any:
        loaded, tokenizer = original(*arguments)
        weights, passes = loaded.get_input_embeddings().weight, [0]

        def spoil(gradient: Any) -> Any:
            passes[0] += 1
            return gradient * float("nan") if passes[0] >= 3 else gradient

        weights.register_hook(spoil)
        return loaded, tokenizer

    monkeypatch.setattr(model, "load", load)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_tells_a_gradient_that_is_no_number(
    name: str, tmp_path: Path, broken_gradient: None
) -> None:
    changes, data = METHODS[name]
    rlhf = changes.get("rlhf") and {**changes["rlhf"], "ppo_epochs": 1}
    training = {**changes["training"], "gradient_accumulation_steps": 1, "on_divergence": "alert"}
    wanted = {**changes, "training": training | {"rehearsal": False}, **({"rlhf": rlhf} if rlhf else {})}
    folder = jobs.make_job(tmp_path / "a", wanted, data)
    if rlhf:
        with pytest.raises(TrainingError, match="the weights are no numbers after step 3") as failure:
            jobs.run_here(folder)
        assert failure.value.kind == "diverged"
    else:
        jobs.run_here(folder)
        assert jobs.by_step(folder, "train", "loss")[4] == ("NaN",)
        assert jobs.by_step(folder, "eval", "eval_loss")[jobs.events(folder, "eval")[-1].step or 0] == (
            "NaN",
        )
    told = {step: norm for step, (norm,) in jobs.by_step(folder, "train", "grad_norm").items()}
    assert isinstance(told[2], float) and told[3] == "NaN"
    (alert,) = [event for event in jobs.events(folder, "alert") if event.data["alert"] == "loss_nan"]
    assert alert.step == 3


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_rewarded_methods_stop_with_what_was_good(name: str, tmp_path: Path, broken_gradient: None) -> None:
    changes, data = METHODS[name]
    rlhf = {**changes["rlhf"], "ppo_epochs": 1}
    training = {
        **changes["training"],
        "gradient_accumulation_steps": 1,
        "on_divergence": "stop",
        "log_steps": 9,
    }
    folder = jobs.make_job(tmp_path / "a", {**changes, "training": training, "rlhf": rlhf}, data)
    jobs.run_here(folder)
    assert jobs.events(folder, "result")[0].data["best_step"] == 2
    assert actions(folder) == ["stopping; checkpoint-2 is still good"]


def test_a_stop_outlives_a_crash_before_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.trainer import finish

    spoil(monkeypatch, at=10)
    folder = job(tmp_path, "stop")
    with monkeypatch.context() as broken:
        broken.setattr(finish, "finish", None)
        with pytest.raises(TypeError):
            jobs.run_here(folder)
    assert not jobs.events(folder, "result")
    jobs.run_here(folder, 2)
    assert not jobs.events(folder, "train", lambda event: event.attempt == 2)
    result = jobs.events(folder, "result")[0].data
    assert (result["best_step"], result["stopped_early"]) == (8, True)


def test_a_rollback_outlives_a_crash_before_the_next_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.trainer import divergence

    spoil(monkeypatch, at=10)
    folder = job(tmp_path, "rollback")
    with monkeypatch.context() as broken:
        broken.setattr(divergence.memory, "free", None)
        with pytest.raises(TypeError):
            jobs.run_here(folder)
    jobs.run_here(folder, 2)
    rates = jobs.by_step(folder, "train", "learning_rate")
    assert [rates[step][0] for step in (10, 12, 14)] == [0.0025] * 3
