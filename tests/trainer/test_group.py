"""GRPO and RLOO: completions rewarded against the others of their prompt, stopped and resumed at any step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import TrainingError
from engine.job.folder import JobFolder
from engine.trainer.stop import StopRequest
from tests.trainer import jobs

pytestmark = pytest.mark.training

ALGORITHMS = ("grpo", "rloo")
RLHF = {"num_generations": 4, "max_completion_length": 8, "ppo_epochs": 2, "beta": 0.01}
TRAINING = {"gradient_accumulation_steps": 2, "eval_steps": 3, "max_steps": 14, "keep_checkpoints": None}


def prompts(count: int = 34) -> list[dict[str, Any]]:
    return [{"prompt": f"Say {i}:", "ground_truth": i} for i in range(count)]


def make(path: Path, algorithm: str, data: list[dict[str, Any]] | None = None, **changes: Any) -> JobFolder:
    rlhf = {"algorithm": algorithm, "rewards": ["distinct"], **RLHF, **changes.pop("rlhf", {})}
    training = {**TRAINING, **changes.pop("training", {})}
    given = {"method": "rlhf", "rlhf": rlhf, "training": training, **changes}
    return jobs.make_job(path, given, prompts() if data is None else data)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, JobFolder]:
    """A full fine-tune by each algorithm, whose third step is amid a rollout."""
    base = tmp_path_factory.mktemp("group")
    folders = {algorithm: make(base / algorithm, algorithm) for algorithm in ALGORITHMS}
    for folder in folders.values():
        jobs.run_here(folder)
    return folders


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_rewarded_is_said_more_often(algorithm: str, tmp_path: Path) -> None:
    reward = {"name": "contains", "text": "e"}
    training = {"max_steps": 30, "learning_rate": 2e-2, "batch_size": 16, "eval_steps": 10, "log_steps": 1}
    folder = make(
        tmp_path / "a", algorithm, rlhf={"rewards": [reward], "ppo_epochs": 1, "beta": 0.0}, training=training
    )
    jobs.run_here(folder)
    told = [reward for (reward,) in jobs.by_step(folder, "train", "reward").values()]
    assert sum(told[-8:]) / 8 > sum(told[:8]) / 8 + 0.2
    evaluated = [reward for (reward,) in jobs.by_step(folder, "eval", "eval_reward").values()]
    assert evaluated[-1] > evaluated[0]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_events_have_the_methods_own_figures_and_the_score_is_by_reward(
    algorithm: str, runs: dict[str, JobFolder]
) -> None:
    for event in jobs.events(runs[algorithm], "train"):
        assert event.data.keys() >= {"reward", "reward_std", "kl", "entropy", "completions/mean_length"}
        assert event.data["tokens"] > 0
    for event in jobs.events(runs[algorithm], "eval"):
        assert event.data.keys() >= {
            "eval_reward",
            "eval_kl",
            "eval_response_length",
            "eval_rewards/distinct",
        }
        assert event.data["score"]["formula"] == "reward-kl/1"
        total = event.data["eval_kl"] - event.data["eval_reward"]
        assert event.data["score"]["total"] == pytest.approx(total)
    assert jobs.events(runs[algorithm], "result")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("left", [3, 6])
def test_a_resumed_run_equals_one_that_never_stopped(
    algorithm: str, left: int, runs: dict[str, JobFolder], tmp_path: Path
) -> None:
    """Step 3 is amid a rollout, step 6 between two."""
    folder = jobs.at_step(runs[algorithm], left, tmp_path / "a")
    jobs.run_here(folder, 2)
    assert jobs.events(folder, "start")[-1].data["resumed_from"] == f"checkpoint-{left}"
    same = (("train", "loss"), ("train", "reward"), ("eval", "eval_reward"), ("eval", "eval_kl"))
    for type, name in same:
        assert jobs.by_step(folder, type, name) == jobs.by_step(runs[algorithm], type, name), name


def test_a_run_that_is_resumed_in_a_later_epoch_sees_the_same_prompts(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", "grpo", prompts(8), rlhf={"ppo_epochs": 1})
    jobs.run_here(whole)
    folder = jobs.at_step(whole, 6, tmp_path / "a")
    jobs.run_here(folder, 2)
    assert jobs.events(folder, "start")[-1].data["resumed_from"] == "checkpoint-6"
    assert jobs.events(folder, "train")[-1].data["epoch"] > 3
    assert jobs.by_step(folder, "train", "loss") == jobs.by_step(whole, "train", "loss")


def test_sigterm_amid_a_rollout_saves_and_the_rollout_comes_again(
    runs: dict[str, JobFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.trainer import rewards

    folder, stop, original, calls = make(tmp_path / "a", "grpo"), StopRequest(), rewards.named, [0]

    def named(reward: Any) -> Any:
        function = original(reward)

        def counted(*arguments: Any, **options: Any) -> list[float]:
            calls[0] += 1
            stop.requested = calls[0] == 2
            return function(*arguments, **options)

        counted.__name__ = function.__name__
        return counted

    monkeypatch.setattr(rewards, "named", named)
    jobs.run_here(folder, stop=stop)
    assert not jobs.events(folder, "result")
    stop.requested = False
    jobs.run_here(folder, 2)
    assert jobs.events(folder, "result")
    assert jobs.by_step(folder, "train", "loss") == jobs.by_step(runs["grpo"], "train", "loss")


def test_any_eval_batch_size_will_do(tmp_path: Path) -> None:
    for size in (1, 7):
        folder = make(tmp_path / str(size), "grpo", training={"eval_batch_size": size, "max_steps": 1})
        jobs.run_here(folder)
        assert jobs.events(folder, "eval")[0].data["eval_reward"] > 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_messages_adapters_and_columns_of_several_kinds(algorithm: str, tmp_path: Path) -> None:
    data: list[dict[str, Any]] = [
        {
            "prompt": [{"role": "user", "content": f"Say {i}"}],
            "ground_truth": i if i % 2 else f"{i}",
            "x": [i],
        }
        for i in range(20)
    ]
    changes = {"rlhf": {"rewards": ["exact_match", "json_valid"]}, "training": {"max_steps": 2}}
    folder = make(tmp_path / "a", algorithm, data, **changes, **jobs.LORA)
    jobs.run_here(folder)
    last = jobs.events(folder, "checkpoint")[-1].data["path"]
    assert (folder.path / last / "adapter_model.safetensors").exists()
    assert "rewards/exact_match/mean" in jobs.events(folder, "train")[0].data


def test_too_few_prompts_for_one_step_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="3 prompts to train on are fewer than the 4 of one step"):
        jobs.built(make(tmp_path / "a", "grpo", prompts(4), training={"batch_size": 8}))


SETTINGS = {
    "num_generations": (4, "num_generations", 4),
    "max_completion_length": (9, "max_completion_length", 9),
    "temperature": (0.7, "temperature", 0.7),
    "beta": (0.0, "beta", 0.0),
    "ppo_epochs": (3, "num_iterations", 3),
    "clip_range": (0.3, "epsilon", 0.3),
    "entropy_coef": (0.02, "entropy_coef", 0.02),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_rlhf_section_reaches_the_trainer(algorithm: str, tmp_path: Path) -> None:
    values = {key: value for key, (value, _, _) in SETTINGS.items()}
    given = {**values, "rewards": ["distinct", {"name": "json_valid", "weight": -0.5}]}
    trainer, _ = jobs.built(make(tmp_path / "a", algorithm, rlhf=given))
    for key, (_, name, expected) in SETTINGS.items():
        if (algorithm, key) != ("rloo", "entropy_coef"):
            assert getattr(trainer.args, name) == expected, key
    assert trainer.args.reward_weights == [1, -0.5]
    assert trainer.reward_func_names == ["distinct", "json_valid"]
