"""Nothing the user set is dropped: each key of the spec is found again in what trains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from engine.errors import TrainingError
from engine.job.sections import BuildSpec, LoraSpec, ScoreSpec, TrainingSpec
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


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from engine.trainer.build import build

    place = tmp_path_factory.mktemp("base") / "base"
    build(BuildSpec(vocab_size=320, hidden_size=16, layers=1, heads=2), jobs.rows(), 0, place)
    return place


def test_the_model_section_reaches_what_loads_models(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from engine.trainer import model

    asked: dict[str, dict[str, Any]] = {}
    for kind in (AutoModelForCausalLM, AutoTokenizer):

        def load(
            source: str, original: Any = kind.from_pretrained, name: str = kind.__name__, **options: Any
        ) -> Any:
            asked[name] = options
            return original(source, **options)

        monkeypatch.setattr(kind, "from_pretrained", load)
    wanted = {"revision": "v2", "trust_remote_code": True, "attention": "eager", "chat_template": "{{ 1 }}"}
    changes = {"model": {"name": str(base), "build": None, **wanted}}
    folder = jobs.make_job(tmp_path / "job", changes)
    loaded, tokenizer = model.load(JobSpec.from_json(folder.spec), folder, [])
    assert {options["revision"] for options in asked.values()} == {"v2"}
    assert {options["trust_remote_code"] for options in asked.values()} == {True}
    assert loaded.config._attn_implementation == "eager"
    assert tokenizer.chat_template == "{{ 1 }}"


def test_the_build_section_reaches_the_model(tmp_path: Path) -> None:
    sizes = {"vocab_size": 310, "hidden_size": 24, "layers": 3, "heads": 3, "intermediate_size": 40}
    build = {**sizes, "architecture": "llama", "max_positions": 72}
    trainer, _ = jobs.built(jobs.make_job(tmp_path / "a", {"model": {"build": build}}))
    config = trainer.model.config
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    assert [getattr(config, name) for name in names] == list(sizes.values())
    assert (config.model_type, config.max_position_embeddings) == ("llama", 72)


def test_the_score_section_weighs_the_score() -> None:
    from engine.trainer.run import _scorer

    weights = {"eval_loss": 2, "gap": 0, "perplexity": 0, "bonus": 0}
    assert _scorer(spec(score=weights)).add_eval(1, 1.25).total == 2.5
    assert _scorer(spec(score={**weights, "bonus": 1})).add_eval(1, 1.25).total == 1.5


def test_the_finish_section_reaches_the_push(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.trainer import finish, hub

    asked: list[Any] = []

    def push(*given: Any) -> str:
        asked.append(given[1:])
        return "an address"

    monkeypatch.setattr(hub, "push", push)
    for private in (True, False):
        wanted = {"finish": {"push_to_hub": "me/it", "hub_private": private}}
        folder = jobs.make_job(tmp_path / str(private), wanted)
        folder.final.mkdir()
        attempt = jobs.attempt_at(folder)
        assert finish._push(attempt, attempt.spec, 1) == "an address"
    assert asked == [("me/it", True), ("me/it", False)]


ELSEWHERE = {
    "dataset.path": "test_run.py",
    "dataset.eval_path": "test_controller.py",
    "dataset.format": "test_dataset.py",
    "dataset.split_by": "test_settings.py",
    "dataset.max_samples": "test_settings.py",
    "predictions.validators": "test_predictions.py",
    "finish.merge": "test_finish.py",
    "finish.push_to_hub": "test_finish.py",
    "rlhf.num_generations": "test_group.py",
    "rlhf.rollout_size": "test_ppo.py",
    "rlhf.reward_model": "test_reward_model.py",
    "rlhf.reward_model_weight": "test_reward_model.py",
    **{
        f"rlhf.rewards.{name}": "test_ppo_rewards.py"
        for name in ("name", "column", "text", "pattern", "target")
    },
    "rlhf.rewards.weight": "test_group.py",
}
"""Keys that are tested in a file of their own."""

HERE = (
    *(f"model.{name}" for name in ("revision", "attention", "trust_remote_code", "chat_template")),
    *(f"model.build.{name}" for name in BuildSpec.model_fields),
    *(f"score.{name}" for name in ScoreSpec.model_fields),
    "finish.hub_private",
)

SECTIONS = (
    "model",
    "dataset",
    "lora",
    "quantization",
    "preference",
    "rlhf",
    "predictions",
    "finish",
    "score",
)
"""What the trainer acts on, besides training; the rest is the supervisor's and the laptop's."""


def keys(section: type[BaseModel], above: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        inner = [kind for kind in _kinds(field.annotation) if issubclass(kind, BaseModel)]
        if inner and name != "validators":
            yield from keys(inner[0], f"{above}.{name}")
        else:
            yield f"{above}.{name}"


def _kinds(annotation: Any) -> Iterator[type]:
    """The classes in a type, however wrapped."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _kinds(inner)


def test_no_key_of_the_spec_is_without_a_test_of_its_effect() -> None:
    from tests.trainer.test_templates import EFFECTIVE

    fields = {name: JobSpec.model_fields[name].annotation for name in SECTIONS}
    sections = {
        name: next(kind for kind in _kinds(annotation) if issubclass(kind, BaseModel))
        for name, annotation in fields.items()
    }
    every = {key for name, section in sections.items() for key in keys(section, name)}
    assert every - {*EFFECTIVE, *HERE, *ELSEWHERE} == set()
    texts = [(path.name, path.read_text()) for path in Path(__file__).parents[1].rglob("test_*.py")]
    for key, file in ELSEWHERE.items():
        assert any(name == file and key.rsplit(".", 1)[1] in text for name, text in texts), key
