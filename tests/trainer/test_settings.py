"""Nothing the user set is dropped: each key of the spec is found again in what trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import TrainingError
from engine.job.sections import LoraSpec, TrainingSpec
from engine.job.spec import JobSpec
from engine.trainer.machine import Machine, adapt
from tests.trainer import jobs

pytestmark = pytest.mark.training

TRAINING: dict[str, tuple[Any, str, Any]] = {
    "epochs": (2.5, "num_train_epochs", 2.5),
    "max_steps": (9, "max_steps", 9),
    "learning_rate": (0.0, "learning_rate", 0.0),
    "batch_size": (3, "per_device_train_batch_size", 3),
    "eval_batch_size": (5, "per_device_eval_batch_size", 5),
    "gradient_accumulation_steps": (2, "gradient_accumulation_steps", 2),
    "max_length": (77, "max_length", 77),
    "packing": (True, "packing", True),
    "optimizer": ("adafactor", "optim", "adafactor"),
    "schedule": ("polynomial", "lr_scheduler_type", "polynomial"),
    "warmup_steps": (0, "warmup_steps", 0),
    "weight_decay": (0.25, "weight_decay", 0.25),
    "max_grad_norm": (0.0, "max_grad_norm", 0.0),
    "gradient_checkpointing": (True, "activation_checkpointing", True),
    "log_steps": (3, "logging_steps", 3),
    "eval_steps": (6, "eval_steps", 6),
    "seed": (0, "seed", 0),
}
"""Key of the spec: a value that is not the default, the argument it becomes, and the argument's value."""

OURS = {
    "keep_checkpoints": "test_checkpoints.py",
    "early_stopping_evals": "test_control.py",
    "rehearsal": "test_rehearsal.py",
    "statistics_steps": "test_statistics.py",
    "on_divergence": "test_divergence.py",
}
"""Keys that Podium carries out by itself, and where that is tested."""


def test_every_key_of_the_training_section_reaches_the_trainer(tmp_path: Path) -> None:
    assert TRAINING.keys() | OURS.keys() == set(TrainingSpec.model_fields)
    values = {key: value for key, (value, _, _) in TRAINING.items()}
    defaults = TrainingSpec()
    assert all(
        getattr(defaults, key) != value or key == "gradient_checkpointing" for key, value in values.items()
    )
    trainer, _ = jobs.built(jobs.make_job(tmp_path / "a", {"training": values}))
    for key, (_, name, expected) in TRAINING.items():
        assert getattr(trainer.args, name) == expected, key
    assert trainer.args.save_steps == 6
    assert trainer.args.logging_nan_inf_filter is False
    assert trainer.args.save_total_limit is None


@pytest.mark.parametrize("key", ["max_steps", "eval_batch_size"])
def test_what_is_not_set_has_its_documented_meaning(key: str, tmp_path: Path) -> None:
    trainer, _ = jobs.built(
        jobs.make_job(tmp_path / "a", {"training": {key: None, "epochs": 2, "batch_size": 3}})
    )
    assert trainer.args.max_steps == (-1 if key == "max_steps" else 14)
    assert trainer.args.per_device_eval_batch_size == 3


def test_gradient_checkpointing_can_be_off(tmp_path: Path) -> None:
    trainer, _ = jobs.built(jobs.make_job(tmp_path / "a", {"training": {"gradient_checkpointing": False}}))
    assert trainer.args.activation_checkpointing is False
    assert not trainer.args.gradient_checkpointing


def test_a_constant_rate_still_warms_up(tmp_path: Path) -> None:
    folder = jobs.make_job(
        tmp_path / "a", {"training": {"schedule": "constant", "warmup_steps": 4, "log_steps": 1}}
    )
    jobs.run_here(folder)
    rates = [rate for (rate,) in jobs.by_step(folder, "train", "learning_rate").values()]
    assert rates == pytest.approx([0.0, 0.00125, 0.0025, 0.00375, *[0.005] * 10])


def test_the_lora_section_reaches_the_adapters(tmp_path: Path) -> None:
    values = {"r": 3, "alpha": 7, "dropout": 0.0, "target_modules": ["q_proj", "up_proj"]}
    assert values.keys() == LoraSpec.model_fields.keys()
    trainer, _ = jobs.built(jobs.make_job(tmp_path / "a", {"lora": values}))
    config = trainer.model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (3, 7, 0.0)
    assert config.target_modules == {"q_proj", "up_proj"}
    trainable = {name for name, weights in trainer.model.named_parameters() if weights.requires_grad}
    assert trainable and all("lora_" in name for name in trainable)


def test_the_dataset_section_is_followed(tmp_path: Path) -> None:
    data = {"max_samples": 18, "train_split": 0.5, "split_by": "group"}
    trainer, _ = jobs.built(jobs.make_job(tmp_path / "a", {"dataset": data}))
    assert len(trainer.train_dataset) == len(trainer.eval_dataset) == 9 or (
        abs(len(trainer.train_dataset) - 9) <= 2
        and len(trainer.train_dataset) + len(trainer.eval_dataset) == 18
    )


def test_eval_data_of_the_users_own_is_used_and_kept_out_of_training(tmp_path: Path) -> None:
    from engine.job import dataset

    folder = jobs.make_job(tmp_path / "a")
    dataset.write_jsonl(jobs.rows()[:5], folder.eval_dataset)
    trainer, _ = jobs.built(folder)
    assert (len(trainer.train_dataset), len(trainer.eval_dataset)) == (29, 5)
    told = jobs.events(folder, "alert")[0].data["message"]
    assert "dataset.jsonl: 5 rows also stand in the eval data" in told and "row 1 is its row 1" in told


CPU = Machine("cpu", False, False, False, 2)
GPU = Machine("cuda", True, True, True, 8, ("H100",))


def spec(**changes: Any) -> JobSpec:
    return JobSpec.parse({"template": "sft_standard", "name": "a", "dataset": {"path": "d"}, **changes}, "x")


def test_a_gpu_with_everything_changes_nothing() -> None:
    wanted = spec(model={"attention": "flash_attention_2"})
    assert adapt(wanted, GPU) == (wanted, [])


def test_a_cpu_computes_in_fp32_with_a_plain_optimizer_and_says_so() -> None:
    adapted, fallbacks = adapt(spec(quantization=None, model={"attention": "flash_attention_2"}), CPU)
    assert adapted.model.dtype == "fp32"
    assert adapted.model.attention == "sdpa"
    assert adapted.training.optimizer == "adamw_torch"
    assert [fallback.action for fallback in fallbacks] == [
        "computing in fp32",
        "using sdpa",
        "using adamw_torch",
    ]


def test_what_has_no_equal_is_refused() -> None:
    with pytest.raises(TrainingError, match="lion_8bit needs a GPU and bitsandbytes"):
        adapt(spec(quantization=None, training={"optimizer": "lion_8bit"}), CPU)
    with pytest.raises(TrainingError, match="quantization needs bitsandbytes"):
        adapt(spec(), CPU)


def test_a_fallback_is_an_event_and_in_the_effective_configuration(tmp_path: Path) -> None:
    changes = {"model": {"dtype": "bf16"}, "training": {"optimizer": "paged_adamw_8bit"}}
    folder = jobs.make_job(tmp_path / "a", changes)
    trainer, _ = jobs.built(folder)
    actions = [event.data["action"] for event in jobs.events(folder, "recovery")]
    assert actions == ["computing in fp32", "using adamw_torch"]
    config = jobs.events(folder, "start")[0].data["config"]
    assert (config["model"]["dtype"], config["training"]["optimizer"]) == ("fp32", "adamw_torch")
    assert trainer.args.bf16 is False


@pytest.mark.parametrize(("steps", "accumulation"), [(1, 4), (2, 4), (3, 2), (9, 3)])
def test_the_epochs_that_are_announced_are_those_that_training_ends_with(
    steps: int, accumulation: int, tmp_path: Path
) -> None:
    """27 rows by 4 are 7 batches: an epoch's last optimizer step has fewer of them."""
    changes = {"max_steps": steps, "gradient_accumulation_steps": accumulation, "log_steps": 1}
    folder = jobs.make_job(tmp_path / "a", {"training": changes})
    jobs.run_here(folder)
    announced = jobs.events(folder, "start")[0].data["total_epochs"]
    assert announced == pytest.approx(jobs.events(folder, "train")[-1].data["epoch"])
