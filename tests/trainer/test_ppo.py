"""PPO from beginning to end: it learns, is told, is saved, and goes on as if it never stopped."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadDataset, BadSpec, TrainingError
from engine.job.folder import JobFolder
from engine.job.spec import JobSpec, merged
from engine.trainer import checkpoints
from engine.trainer.stop import StopRequest
from tests.trainer import jobs
from tests.trainer.test_memory import recoveries, room_for

pytestmark = pytest.mark.training

ROWS = [
    {"prompt": f"{word} {number}"} for number in range(8) for word in ("red", "green", "blue", "small", "in")
]
PPO: dict[str, Any] = {
    "method": "rlhf",
    "rlhf": {
        "rewards": [{"name": "regex", "pattern": "[aeiouAEIOU]"}],
        "max_completion_length": 8,
        "ppo_epochs": 2,
        "rollout_size": 16,
    },
    "training": {
        "max_length": 32,
        "batch_size": 4,
        "eval_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "learning_rate": 0.02,
        "max_steps": 18,
        "eval_steps": 6,
        "schedule": "constant",
        "warmup_steps": 0,
        "keep_checkpoints": None,
    },
}
"""Rollouts of 16 completions, each used for 4 optimizer steps of 2 micro-steps."""

LORA = {
    "lora": {**jobs.LORA["lora"], "target_modules": ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]}
}
KINDS = {"full": PPO, "lora": merged(PPO, LORA)}
"""What the fixture `whole` trains, on `ROWS`."""
FIGURES = (
    "loss",
    "policy_loss",
    "value_loss",
    "entropy",
    "kl",
    "clip_fraction",
    "reward",
    "reward_std",
    "response_length",
    "grad_norm",
    "learning_rate",
    "tokens",
    "epoch",
)


def assert_same(interrupted: JobFolder, reference: JobFolder) -> None:
    """Every figure of every step, and the last weights, to the bit."""
    for type, names in (("train", FIGURES), ("eval", ("eval_reward", "eval_kl", "score"))):
        assert jobs.by_step(interrupted, type, *names) == jobs.by_step(reference, type, *names)
    step = checkpoints.steps(reference)[0]
    names = {path.name for path in reference.checkpoint(step).glob("*.safetensors")}
    assert {"value_head.safetensors", "rollout.safetensors"} < names
    for name in names:
        files = [folder.checkpoint(step) / name for folder in (interrupted, reference)]
        assert files[0].read_bytes() == files[1].read_bytes(), name


def test_every_figure_is_told(whole: tuple[JobFolder, dict[str, Any]]) -> None:
    folder, _ = whole
    told = [event.data for event in jobs.events(folder, "train")]
    assert len(told) == 9
    for name in (*FIGURES, "tokens_per_second"):
        assert all(isinstance(data[name], (int, float)) for data in told), name
    assert all(data["grad_norm"] > 0 for data in told)
    # The first rollout was drawn from the reference itself.
    assert told[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert all(data["kl"] > 0 for data in told[2:])
    assert not jobs.events(folder, "trend")


def test_an_evaluation_is_scored_by_reward_and_divergence(whole: tuple[JobFolder, dict[str, Any]]) -> None:
    folder, _ = whole
    evals = [event.data for event in jobs.events(folder, "eval")]
    assert len(evals) == 3
    for data in evals:
        assert data["score"]["formula"] == "reward-kl/1"
        assert data["score"]["total"] == pytest.approx(data["eval_kl"] - data["eval_reward"])
        assert "eval_loss" not in data
    best = min(evals, key=lambda data: data["score"]["total"])
    assert jobs.events(folder, "result")[0].data["best_score"] == best["score"]["total"]


def test_the_policy_learns_what_is_rewarded(tmp_path: Path) -> None:
    """A random model says a vowel in eight tokens now and then; a trained one nearly always."""
    changes = {
        "rlhf": {"beta": 0.02, "rollout_size": 32},
        "training": {
            "batch_size": 16,
            "gradient_accumulation_steps": 1,
            "learning_rate": 0.01,
            "max_steps": 80,
            "eval_steps": 80,
            "log_steps": 8,
        },
    }
    folder = jobs.make_job(tmp_path / "job", merged(PPO, changes), ROWS)
    jobs.run_here(folder)
    rewards = [reward for (reward,) in jobs.by_step(folder, "train", "reward").values()]
    assert sum(rewards[:2]) / 2 < 0.5
    assert sum(rewards[-3:]) / 3 > 0.8


def test_the_value_head_is_in_the_checkpoint_and_hashed_and_the_model_is_as_others_read_it(
    whole: tuple[JobFolder, dict[str, Any]],
) -> None:
    from safetensors.torch import load_file

    folder, kind = whole
    newest = folder.checkpoint(checkpoints.steps(folder)[0])
    files = jobs.manifest(newest)["files"]
    assert {"value_head.safetensors", "rollout.safetensors"} <= set(files)
    head = load_file(newest / "value_head.safetensors")
    assert float(head["value.weight"].abs().sum()) > 0
    weights = "adapter_model.safetensors" if kind.get("lora") else "model.safetensors"
    assert not any("value_head" in name for name in load_file(newest / weights))
    assert not list(folder.final.rglob("rollout*"))


@pytest.mark.parametrize(("whole", "step"), [("full", 5), ("lora", 5), ("full", 6)], indirect=["whole"])
def test_sigterm_saves_and_the_resumed_run_equals_the_whole_one(
    step: int,
    whole: tuple[JobFolder, dict[str, Any]],
    tmp_path: Path,
    sigterm: StopRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At step 5 in the middle of a rollout and of a logging window, at step 6 before an evaluation."""
    reference, kind = whole
    folder = jobs.make_job(tmp_path / "job", kind, ROWS)
    jobs.signal_at(step, monkeypatch)
    jobs.run_here(folder, 1, sigterm)
    assert checkpoints.steps(folder)[0] == step
    assert not jobs.events(folder, "result")
    jobs.run_here(folder, 2)
    assert jobs.events(folder, "start")[-1].data["resumed_from"] == f"checkpoint-{step}"
    assert_same(folder, reference)


@pytest.mark.parametrize("whole", ["lora"], indirect=True)
def test_sigterm_in_the_middle_of_a_rollout_loses_nothing(
    whole: tuple[JobFolder, dict[str, Any]],
    tmp_path: Path,
    sigterm: StopRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second rollout's first tokens are drawn when the signal comes; they are drawn again later."""
    from engine.trainer.ppo import PPO as Trainer

    reference, kind = whole
    original = Trainer._leave_if_asked
    calls: list[int] = []

    def leave_if_asked(self: Any) -> None:
        if self.state.global_step == 4:
            calls.append(1)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGTERM)
        original(self)

    monkeypatch.setattr(Trainer, "_leave_if_asked", leave_if_asked)
    folder = jobs.make_job(tmp_path / "job", kind, ROWS)
    jobs.run_here(folder, 1, sigterm)
    assert checkpoints.steps(folder) == [4]
    jobs.run_here(folder, 2)
    assert_same(folder, reference)


def test_a_crash_goes_back_to_the_last_checkpoint(
    whole: tuple[JobFolder, dict[str, Any]], tmp_path: Path
) -> None:
    """Step 6 is in the middle of the second rollout, which its checkpoint holds."""
    reference, _ = whole
    folder = jobs.at_step(reference, 6, tmp_path / "job")
    jobs.run_here(folder, 2)
    assert jobs.events(folder, "start")[-1].data["resumed_from"] == "checkpoint-6"
    assert_same(folder, reference)


@pytest.mark.parametrize("whole", ["full"], indirect=True)
def test_an_evaluation_changes_nothing_for_the_training(
    whole: tuple[JobFolder, dict[str, Any]], tmp_path: Path
) -> None:
    reference, kind = whole
    folder = jobs.make_job(tmp_path / "job", merged(kind, {"training": {"eval_steps": 18}}), ROWS)
    jobs.run_here(folder)
    assert jobs.by_step(folder, "train", *FIGURES) == jobs.by_step(reference, "train", *FIGURES)


def test_micro_steps_and_memory_change_no_optimizer_step(tmp_path: Path) -> None:
    """Two micro-steps of 4 rows or one of 8: the same gradient, up to rounding."""
    found = []
    for name, sizes in (("two", (4, 2)), ("one", (8, 1))):
        training = {
            "batch_size": sizes[0],
            "gradient_accumulation_steps": sizes[1],
            "max_steps": 2,
            "log_steps": 1,
        }
        folder = jobs.make_job(tmp_path / name, merged(PPO, {"training": training}), ROWS)
        jobs.run_here(folder)
        found.append(jobs.by_step(folder, "train", "loss", "grad_norm", "policy_loss", "entropy", "reward"))
    for step, figures in found[0].items():
        assert figures == pytest.approx(found[1][step], rel=1e-3, abs=1e-5)


def test_running_out_of_memory_costs_time_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an update (4 rows), and then in drawing the second rollout's completions (blocks of 8 rows)."""
    room_for(monkeypatch, train_rows=2, eval_rows=5)
    folder = jobs.make_job(tmp_path / "job", merged(PPO, {"training": {"max_steps": 6}}), ROWS)
    jobs.run_here(folder)
    assert recoveries(folder) == [
        "going on with batches of 2, 4 of them a step",
        "evaluating with batches of 4",
    ]
    assert jobs.events(folder, "result")[0].data["total_steps"] == 6


def test_conversations_are_drawn_through_the_chat_template(tmp_path: Path) -> None:
    rows = [{"prompt": [{"role": "user", "content": row["prompt"]}], "ground_truth": "red"} for row in ROWS]
    changes = merged(
        PPO, {"rlhf": {"rewards": ["similarity"]}, "training": {"max_steps": 2, "max_length": 64}}
    )
    folder = jobs.make_job(tmp_path / "job", changes, rows)
    jobs.run_here(folder)
    assert jobs.events(folder, "result")


def test_a_reward_model_rewards(tmp_path: Path) -> None:
    """A real classifier, saved and loaded; its scores are what the trainer's first rollout reports."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    first = jobs.make_job(tmp_path / "first", merged(PPO, {"training": {"max_steps": 1}}), ROWS)
    trainer, _ = jobs.built(first)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=1,
        pad_token_id=trainer.tokenizer.pad_token_id,
    )
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "judge")
    trainer.tokenizer.save_pretrained(tmp_path / "judge")
    changes = {"rlhf": {"rewards": [], "reward_model": str(tmp_path / "judge"), "reward_model_weight": 2.0}}
    folder = jobs.make_job(tmp_path / "job", merged(PPO, changes | {"training": {"max_steps": 2}}), ROWS)
    jobs.run_here(folder)
    (reward, spread), *_ = jobs.by_step(folder, "train", "reward", "reward_std").values()
    assert reward != 0 and spread > 0


def test_a_reward_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    changes = {"rlhf": {"rewards": [], "reward_model": str(tmp_path / "none")}}
    folder = jobs.make_job(tmp_path / "job", merged(PPO, changes), ROWS)
    with pytest.raises(TrainingError, match=r"reward model .*none can't be loaded"):
        jobs.built(folder)


def test_a_column_that_a_reward_reads_must_be_in_every_row(tmp_path: Path) -> None:
    rows = [{**row, "answer": "x"} for row in ROWS]
    del rows[6]["answer"]
    changes = {"rlhf": {"rewards": [{"name": "exact_match", "column": "answer"}]}}
    folder = jobs.make_job(tmp_path / "job", merged(PPO, changes), rows)
    with pytest.raises(BadDataset, match="row 7: 'answer', which a reward reads, is missing"):
        jobs.built(folder)


def test_prompts_without_room_for_a_completion_are_refused(tmp_path: Path) -> None:
    folder = jobs.make_job(tmp_path / "job", merged(PPO, {"training": {"max_length": 9}}), ROWS)
    with pytest.raises(TrainingError, match="no prompt fits into the 1 tokens"):
        jobs.built(folder)


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({"rlhf": None}, "method rlhf needs the section rlhf"),
        ({"method": "sft"}, "the section rlhf is not for method sft"),
        ({"rlhf": {"rewards": []}}, "rlhf: needs rewards or a reward_model"),
        ({"rlhf": {"rewards": ["exact"]}}, "rlhf.rewards.0.name: "),
        ({"rlhf": {"rewards": [{"name": "length"}]}}, "length needs target"),
        ({"rlhf": {"rewards": [{"name": "length", "target": 2, "text": "a"}]}}, "length takes no text"),
        ({"rlhf": {"rewards": [{"name": "regex", "pattern": "("}]}}, "is no regular expression"),
        ({"rlhf": {"rewards": [{"name": "length", "tarjet": 2}]}}, "did you mean target"),
        ({"rlhf": {"num_generations": 4}}, "ppo takes one completion of each prompt"),
        (
            {"rlhf": {"rollout_size": 12}},
            "must be a multiple of batch_size · gradient_accumulation_steps (8)",
        ),
        ({"rlhf": {"max_completion_length": 32}}, "must be below training.max_length"),
        ({"dataset": {"format": "messages"}}, "method rlhf takes data of format prompt"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(changes: dict[str, Any], mistake: str) -> None:
    values = json.loads(json.dumps(merged(merged(jobs.SPEC, PPO), changes)))
    with pytest.raises(BadSpec) as caught:
        JobSpec.parse(values, "job.yaml")
    assert mistake in str(caught.value)


def test_every_key_of_the_section_reaches_the_trainer(tmp_path: Path) -> None:
    rlhf = {"temperature": 0.7, "beta": 0.0, "clip_range": 0.3, "value_clip": 0.4, "vf_coef": 0.5, "lam": 0.9}
    more = {
        "entropy_coef": 0.0,
        "gamma": 0.98,
        "ppo_epochs": 3,
        "rollout_size": 24,
        "max_completion_length": 5,
    }
    trainer, _ = jobs.built(jobs.make_job(tmp_path / "job", merged(PPO, {"rlhf": rlhf | more}), ROWS))
    for name, value in (rlhf | more).items():
        assert getattr(trainer.settings, name) == value
    plan = trainer.plan()
    assert (plan.size, plan.passes, plan.step_rows, plan.micro_rows) == (24, 3, 8, 4)
    assert trainer.reward_weights == [1.0]
