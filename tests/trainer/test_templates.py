"""Every template: each of its keys is found again in what trains, and it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from engine.job import dataset
from engine.job.folder import JobFolder, write_json
from engine.job.sections import BuildSpec
from engine.job.spec import JobSpec, merged, template_values, templates
from engine.trainer import arguments, model
from engine.trainer.attempt import Attempt
from engine.trainer.machine import Machine
from tests.trainer import jobs
from tests.trainer.test_preference import pairs

pytestmark = pytest.mark.training

GPU = Machine("cuda", True, True, True, 8, ("H100",))
ROWS = 40


@dataclass(frozen=True)
class Built:
    """What a template's job became: the trainer on this machine, and what a GPU would be asked for."""

    spec: JobSpec
    trainer: Any
    attempt: Attempt
    on_gpu: dict[str, Any]

    @property
    def lora(self) -> Any:
        return self.trainer.model.peft_config["default"]

    @property
    def quantization(self) -> Any:
        return self.trainer.model.config.quantization_config


def argument(name: str) -> Callable[[Built], Any]:
    """An argument of the trainer, as set on this machine and as it would be on a GPU."""

    def found(built: Built) -> Any:
        value = built.on_gpu[name]
        set_here = getattr(built.trainer.args, name)
        assert set_here == value, f"{name} is {set_here} here"
        return value

    return found


def rows_held_out(built: Built) -> float:
    rows = jobs.events(built.attempt.folder, "start")[0].data["rows"]
    return 1 - float(rows["eval"]) / ROWS


def dtype(built: Built) -> str:
    kinds = {(True, False): "bf16", (False, True): "fp16", (False, False): "fp32"}
    return kinds[built.on_gpu["bf16"], built.on_gpu["fp16"]]


def predictor(built: Built) -> Any:
    """What asks the model; None where nothing does."""
    callbacks = built.trainer.callback_handler.callbacks
    return next((one for one in callbacks if type(one).__name__ == "Predictor"), None)


EFFECTIVE: dict[str, Callable[[Built], Any]] = {
    "method": lambda built: (
        "rlhf" if type(built.trainer).__name__ == "PPO" else type(built.trainer).__name__.lower()
    ),
    "model.name": lambda built: built.trainer.model.config._name_or_path,
    "model.dtype": dtype,
    "lora.r": lambda built: built.lora.r,
    "lora.alpha": lambda built: built.lora.lora_alpha,
    "lora.dropout": lambda built: built.lora.lora_dropout,
    "lora.target_modules": lambda built: sorted(built.lora.target_modules),
    "quantization.bits": lambda built: 4 if built.quantization.load_in_4bit else None,
    "quantization.double_quantization": lambda built: built.quantization.bnb_4bit_use_double_quant,
    "quantization.compute_dtype": lambda built: {"bfloat16": "bf16", "float16": "fp16"}[
        built.quantization.to_dict()["bnb_4bit_compute_dtype"]
    ],
    "dataset.train_split": rows_held_out,
    "preference.beta": lambda built: built.trainer.beta,
    "rlhf.algorithm": lambda built: type(built.trainer).__name__.lower(),
    "rlhf.rewards": lambda built: [function.__name__ for function in built.trainer.rewards],
    **{
        f"rlhf.{name}": lambda built, name=name: getattr(built.trainer.settings, name)  # type: ignore[misc]
        for name in (
            "beta",
            "max_completion_length",
            "temperature",
            "ppo_epochs",
            "clip_range",
            "value_clip",
            "vf_coef",
            "entropy_coef",
            "gamma",
            "lam",
        )
    },
    "training.epochs": argument("num_train_epochs"),
    "training.learning_rate": argument("learning_rate"),
    "training.batch_size": argument("per_device_train_batch_size"),
    "training.gradient_accumulation_steps": argument("gradient_accumulation_steps"),
    "training.max_length": lambda built: (
        built.spec.training.max_length if built.spec.method == "rlhf" else built.trainer.args.max_length
    ),
    "training.packing": lambda built: getattr(built.trainer.args, "packing", False),
    "training.optimizer": lambda built: built.on_gpu["optim"],
    "training.schedule": argument("lr_scheduler_type"),
    "training.warmup_steps": argument("warmup_steps"),
    "training.weight_decay": argument("weight_decay"),
    "training.max_grad_norm": argument("max_grad_norm"),
    "training.log_steps": argument("logging_steps"),
    "training.eval_steps": argument("eval_steps"),
    "predictions.enabled": lambda built: predictor(built) is not None,
    "predictions.sample_count": lambda built: predictor(built).spec.sample_count,
    "predictions.every": lambda built: predictor(built).spec.every,
    "predictions.max_new_tokens": lambda built: predictor(built).spec.max_new_tokens,
    "training.keep_checkpoints": lambda built: built.attempt.spec.training.keep_checkpoints,
}
"""How each key that a template sets is found again. What PPO does with its settings, and that prompts keep
to max_length, is in test_ppo.py; what rotation does with keep_checkpoints in test_checkpoints.py."""

OTHER: dict[str, Any] = {
    "model.dtype": "fp16",
    "quantization.bits": 4,
    "quantization.compute_dtype": "fp16",
    "lora.target_modules": ["q_proj", "up_proj"],
    "rlhf.rewards": ["distinct", "exact_match"],
    "training.optimizer": "adafactor",
    "training.schedule": "polynomial",
    "training.epochs": 2.5,
    "dataset.train_split": 0.55,
    "predictions.every": "epoch",
}
"""Values that no template has, where one more or half as much is none."""

KEPT = ("method", "model.name", "rlhf.algorithm", "predictions.enabled")


def flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{key}.")
        else:
            yield above + key, value


def other(path: str, value: Any, method: str) -> Any:
    if path in KEPT or (path == "training.packing" and method not in ("sft", "cpt")):
        return value
    if path in OTHER:
        return OTHER[path]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value / 2


def nested(pairs: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for path, value in pairs.items():
        *sections, key = path.split(".")
        at = result
        for section in sections:
            at = at.setdefault(section, {})
        at[key] = value
    return result


def data(method: str) -> list[dict[str, Any]]:
    if method == "sft":
        return jobs.rows(ROWS)
    if method == "cpt":
        return [{"text": f"Rain {i} falls. The river rises{' again' * (i % 4)}."} for i in range(ROWS)]
    if method == "rlhf":
        return [{"prompt": f"Say {i}:", "ground_truth": f"{i}"} for i in range(ROWS)]
    return pairs(ROWS)


def make(path: Path, values: dict[str, Any]) -> tuple[JobFolder, JobSpec]:
    """A job's folder for values that are whole but for name and data."""
    folder = JobFolder(path)
    folder.create()
    spec = JobSpec.parse(merged({"name": "a", "dataset": {"path": "dataset.jsonl"}}, values), "x")
    write_json(folder.spec, spec.to_json())
    if find_spec("bitsandbytes") is None:
        pytest.fail("bitsandbytes is missing, which the train extra installs on Linux")
    dataset.write_jsonl(data(spec.method), folder.dataset)
    return folder, spec


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model in a folder, as one of the Hub would be."""
    every = [row for method in ("sft", "cpt", "dpo", "rlhf") for row in data(method)]
    folder = jobs.make_job(tmp_path_factory.mktemp("base") / "job")
    from engine.trainer import build

    # Four bits are packed by 64 weights.
    sizes = BuildSpec(vocab_size=320, hidden_size=64, layers=1, heads=2, intermediate_size=128)
    build.build(sizes, every, 7, folder.path / "base")
    return str(folder.path / "base")


@pytest.mark.parametrize("changed", [False, True], ids=["as it is", "every key otherwise"])
@pytest.mark.parametrize("name", templates())
def test_every_key_of_a_template_reaches_the_trainer(
    name: str, changed: bool, base: str, tmp_path: Path
) -> None:
    values = merged(template_values(name), {"model": {"name": base}})
    wanted = dict(flat(values))
    if changed:
        wanted = {path: other(path, value, values["method"]) for path, value in wanted.items()}
        unchanged = [path for path, value in flat(values) if wanted[path] == value]
        assert set(unchanged) <= {*KEPT, "quantization.bits", "training.packing"}
    folder, spec = make(tmp_path / "job", nested(wanted))
    trainer, attempt = jobs.built(folder)
    built = Built(spec, trainer, attempt, arguments.common(spec, folder, GPU))
    for path, value in wanted.items():
        expected = sorted(value) if path == "lora.target_modules" else value
        assert EFFECTIVE[path](built) == pytest.approx(expected), path


@pytest.mark.parametrize(
    ("dtype", "lora", "loaded"),
    [
        ("bf16", True, "bfloat16"),
        ("fp16", True, "float16"),
        ("fp32", True, "float32"),
        ("bf16", False, "float32"),
        ("fp16", False, "float32"),
    ],
)
def test_weights_are_loaded_as_precisely_as_they_are_changed(
    dtype: str, lora: bool, loaded: str, base: str, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"model": {"name": base, "dtype": dtype}, **({} if lora else {"lora": None})}
    values = merged(template_values("sft_standard"), {**changes, "quantization": None})
    folder, spec = make(tmp_path / "job", values)
    found, _ = model.load(spec, folder, [])
    assert {str(weights.dtype) for weights in found.parameters()} == {f"torch.{loaded}"}
    asked = arguments.common(spec, folder, GPU)
    assert (asked["bf16"], asked["fp16"]) == (dtype == "bf16", dtype == "fp16")


FULL: dict[str, Any] = {"lora": None, "quantization": None}
GROUP = {"num_generations": 4}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "sft, packed": ("sft_standard", {**FULL, "training": {"packing": True, "gradient_checkpointing": True}}),
    "sft, adapters on 16 bits": ("sft_standard", {"quantization": None, "model": {"dtype": "fp16"}}),
    "cpt, one text a row": ("cpt_standard", {**FULL, "training": {"packing": False}}),
    "cpt, packed": ("cpt_standard", {**FULL, "training": {"gradient_checkpointing": False}}),
    "dpo": ("dpo_standard", FULL),
    "orpo": ("orpo_standard", FULL),
    "ppo": ("rlhf_standard", FULL),
    "grpo": ("rlhf_standard", {**FULL, "rlhf": {"algorithm": "grpo", **GROUP}}),
    "rloo": ("rlhf_standard", {**FULL, "rlhf": {"algorithm": "rloo", **GROUP}}),
}
"""Every template with all weights, and what is beside it; adapters on four bits: test_examples.py."""


def test_every_template_is_trained() -> None:
    assert {name for name, _ in RUNS.values()} == set(templates())


@pytest.mark.parametrize("run", RUNS)
def test_every_template_trains(run: str, base: str, tmp_path: Path) -> None:
    """Twenty steps and two evaluations with a template's own settings, on a tiny model."""
    name, wanted = RUNS[run]
    values = merged(template_values(name), merged(_small(base, name), wanted))
    folder, spec = make(tmp_path / "job", values)
    jobs.run_here(folder)
    start = jobs.events(folder, "start")[0].data
    trained = start["parameters"]
    assert (trained["trainable"] < trained["total"]) == (spec.lora is not None)
    steps = list(jobs.by_step(folder, "train", "loss"))
    assert steps[-1] == 20
    evals = jobs.events(folder, "eval")
    assert [event.step for event in evals] == [10, 20]
    assert {event.data["score"]["validity"] for event in evals} <= {"valid"}
    if spec.method != "rlhf":
        assert evals[1].data["eval_loss"] < evals[0].data["eval_loss"]
    assert jobs.events(folder, "result")[0].data["total_steps"] == 20
    asked = jobs.events(folder, "prediction")
    assert [(event.step, event.data["sample_index"]) for event in asked] == [
        (10, 0),
        (10, 1),
        (20, 0),
        (20, 1),
    ]
    assert all(event.data["char_error_rate"] is not None for event in asked)


def _small(base: str, name: str) -> dict[str, Any]:
    """What makes a template's job one for a tiny model."""
    training = {"max_steps": 20, "eval_steps": 10, "warmup_steps": 2, "learning_rate": 1e-3}
    training |= {"batch_size": 4, "gradient_accumulation_steps": 2, "max_length": 64, "log_steps": 5}
    predictions = {"sample_count": 2, "max_new_tokens": 8}
    small: dict[str, Any] = {"model": {"name": base}, "training": training, "predictions": predictions}
    if name == "rlhf_standard":
        small["rlhf"] = {"max_completion_length": 8, "rewards": ["similarity"], "ppo_epochs": 2}
    return small


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("bits", [True, False], ids=["four bits", "all weights"])
@pytest.mark.parametrize("name", templates())
def test_every_template_trains_on_a_gpu_in_every_precision(
    name: str, bits: bool, dtype: str, base: str, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    changes = merged(_small(base, name), {"model": {"dtype": dtype}, **({} if bits else FULL)})
    folder, _ = make(tmp_path / "job", merged(template_values(name), changes))
    jobs.run_here(folder)
    assert jobs.events(folder, "result")
    assert jobs.events(folder, "recovery") == []
    losses = [loss for (loss,) in jobs.by_step(folder, "train", "loss").values()]
    assert all(isinstance(loss, float) for loss in losses)
