"""The spec: every mistake at once, nothing dropped, 0 is a value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadSpec
from engine.job.sections import LoraSpec, QuantizationSpec, TrainingSpec
from engine.job.spec import JobSpec, template_values, templates

MINIMAL = {"name": "a", "model": {"name": "m"}, "dataset": {"path": "d.jsonl"}}


def mistakes(values: Any) -> tuple[str, ...]:
    with pytest.raises(BadSpec) as caught:
        JobSpec.parse(values, "job.yaml")
    return caught.value.mistakes


def with_training(**training: Any) -> dict[str, Any]:
    return {**MINIMAL, "training": training}


def test_three_mistakes_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: try\nmodel: {name: m}\ndataset: {path: d.jsonl}\n"
        "training:\n  learnin_rate: 1e-4\n  batch_size: 0\n  schedule: cosin\n"
    )
    with pytest.raises(BadSpec) as caught:
        JobSpec.load(path)
    assert len(caught.value.mistakes) == 3
    text = str(caught.value)
    assert text.startswith(f"{path}: 3 mistakes: ")
    assert "unknown key training.learnin_rate (did you mean learning_rate?)" in text
    assert "training.batch_size: input should be greater than 0, not 0" in text
    assert "training.schedule: input should be 'linear', 'cosine'" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("values", "mistake"),
    [
        ({**MINIMAL, "lorra": {}}, "unknown key lorra (did you mean lora?)"),
        ({**MINIMAL, "lora": {"rank": 8}}, "unknown key lora.rank"),
        ({"name": "a", "model": {"name": "m"}}, "dataset is missing"),
        ({**MINIMAL, "model": "llama"}, "model must be a section of keys and values, not 'llama'"),
        ({**MINIMAL, "training": None}, "training must be a section of keys and values, not null"),
        (
            with_training(learning_rate=float("nan")),
            "training.learning_rate: input should be a finite number, not nan",
        ),
        (with_training(epochs=float("inf")), "training.epochs: input should be a finite number, not inf"),
        (
            {**MINIMAL, "name": "two\nlines"},
            "name: must be one line of printable characters, not 'two\\nlines'",
        ),
        (
            {**MINIMAL, "lora": None, "quantization": {}},
            "quantization needs lora: a 4-bit model can't be trained in full",
        ),
        ({**MINIMAL, "model": {"name": "m", "build": {"heads": 3}}}, "hidden_size must be a multiple of"),
    ],
)
def test_a_mistake_is_one_clear_line(values: dict[str, Any], mistake: str) -> None:
    found = mistakes(values)
    assert len(found) == 1
    assert mistake in found[0]


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_a_file_that_is_no_mapping_is_refused(values: Any) -> None:
    assert mistakes(values) == ("must be a mapping of sections, such as model, dataset, training",)


def test_a_file_that_is_no_yaml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: a\nmodel: {name: m\ntraining: [\n")
    with pytest.raises(BadSpec, match=r"line \d+: is not YAML"):
        JobSpec.load(path)
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(BadSpec, match="is not UTF-8 text"):
        JobSpec.load(path)
    path.write_text("[" * 100_000)
    with pytest.raises(BadSpec, match="is not YAML"):
        JobSpec.load(path)
    with pytest.raises(BadSpec, match="can't be read"):
        JobSpec.load(tmp_path / "none.yaml")


def test_zero_is_a_value() -> None:
    spec = JobSpec.parse(with_training(warmup_steps=0, weight_decay=0, max_grad_norm=0, seed=0), "x")
    training = spec.training
    assert (training.warmup_steps, training.weight_decay, training.max_grad_norm, training.seed) == (
        0,
        0,
        0,
        0,
    )


def test_what_yaml_takes_for_text_is_still_a_number(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: a\nmodel: {name: m}\ndataset: {path: d}\ntraining: {learning_rate: 3e-5}\n")
    assert JobSpec.load(path).training.learning_rate == 3e-5


def test_a_spec_goes_through_json_unchanged(tmp_path: Path) -> None:
    spec = JobSpec.parse({**MINIMAL, "template": "sft_standard", "tags": ["a", "b"]}, "x")
    path = tmp_path / "job.json"
    path.write_text(json.dumps(spec.to_json()))
    assert JobSpec.from_json(path) == spec


def test_data_paths_start_from_the_files_folder(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: a\nmodel: {name: m}\ndataset: {path: data/d.jsonl, eval_path: /e.jsonl}\n")
    spec = JobSpec.load(path)
    assert spec.dataset.path == str(tmp_path / "data/d.jsonl")
    assert spec.dataset.eval_path == "/e.jsonl"


def test_model_folders_that_begin_with_a_dot_start_from_the_files_folder(tmp_path: Path) -> None:
    text = "template: rlhf_standard\nname: a\ndataset: {path: d}\nmodel: {name: ../base}\n"
    (tmp_path / "job.yaml").write_text(f"{text}rlhf: {{reward_model: ./judge}}\n")
    spec = JobSpec.load(tmp_path / "job.yaml")
    assert spec.rlhf is not None
    assert (spec.model.name, spec.rlhf.reward_model) == (
        str(tmp_path.parent / "base"),
        str(tmp_path / "judge"),
    )
    assert JobSpec.load(tmp_path / "job.yaml", {"model": {"name": "a/b"}}).model.name == "a/b"


def test_a_template_fills_what_is_not_set_and_null_removes_a_section() -> None:
    spec = JobSpec.parse(
        {
            "template": "sft_standard",
            "name": "mine",
            "dataset": {"path": "d"},
            "training": {"learning_rate": 1e-5},
            "quantization": None,
        },
        "x",
    )
    assert spec.training.learning_rate == 1e-5
    assert spec.training.gradient_accumulation_steps == 8
    assert spec.quantization is None
    assert spec.lora is not None


def test_an_unknown_template_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadSpec, match=r"no such template \(did you mean sft_standard\?\)"):
        JobSpec.parse({**MINIMAL, "template": "sft_standart"}, "x")


def test_sft_standard_has_the_numbers_it_is_known_for() -> None:
    values = template_values("sft_standard")
    spec = JobSpec.parse({"template": "sft_standard", "name": "a", "dataset": {"path": "d"}}, "x")
    assert spec.model.name == "meta-llama/Llama-3.2-1B-Instruct"
    assert spec.dataset.train_split == 0.95
    assert spec.lora == LoraSpec(
        r=16, alpha=32, dropout=0.1, target_modules=("q_proj", "k_proj", "v_proj", "o_proj")
    )
    assert spec.quantization == QuantizationSpec(bits=4, double_quantization=True, compute_dtype="bf16")
    assert spec.training == TrainingSpec(
        epochs=3,
        learning_rate=2e-4,
        batch_size=4,
        gradient_accumulation_steps=8,
        max_length=2048,
        packing=False,
        optimizer="paged_adamw_8bit",
        schedule="cosine",
        warmup_steps=100,
        weight_decay=0.01,
        max_grad_norm=1.0,
        log_steps=10,
        eval_steps=500,
        keep_checkpoints=3,
    )
    assert set(values) <= set(JobSpec.model_fields)


STANDARD = {
    "cpt": ("meta-llama/Llama-3.2-1B", 0.95, 1, 2e-5, 4, 8, 4096, True, "paged_adamw_8bit", 1.0, 10, 500, 3),
    "dpo": (
        "meta-llama/Llama-2-7b-hf",
        0.8,
        3,
        1e-6,
        2,
        16,
        512,
        False,
        "paged_adamw_32bit",
        0.3,
        25,
        100,
        2,
    ),
    "orpo": (
        "meta-llama/Llama-2-7b-hf",
        0.8,
        3,
        8e-6,
        4,
        4,
        1024,
        False,
        "paged_adamw_8bit",
        1.0,
        25,
        100,
        2,
    ),
    "rlhf": ("meta-llama/Llama-2-7b-hf", 0.9, 3, 1e-5, 4, 4, 512, False, "paged_adamw_8bit", 1.0, 10, 500, 2),
}


@pytest.mark.parametrize("method", STANDARD)
def test_the_other_templates_have_the_numbers_they_are_known_for(method: str) -> None:
    template = f"{method}_standard"
    spec = JobSpec.parse({"template": template, "name": "a", "dataset": {"path": "d"}}, "x")
    training = spec.training
    assert STANDARD[method] == (
        spec.model.name,
        spec.dataset.train_split,
        training.epochs,
        training.learning_rate,
        training.batch_size,
        training.gradient_accumulation_steps,
        training.max_length,
        training.packing,
        training.optimizer,
        training.max_grad_norm,
        training.log_steps,
        training.eval_steps,
        training.keep_checkpoints,
    )
    assert (training.warmup_steps, training.weight_decay) == (100, 0.01)
    assert spec.lora == LoraSpec()
    assert spec.quantization == QuantizationSpec()
    if method in ("dpo", "orpo"):
        assert spec.preference is not None and spec.preference.beta == 0.1


def test_pairs_have_their_section_in_any_case_and_others_never() -> None:
    for given in ({}, {"preference": None}, {"preference": {}}):
        spec = JobSpec.parse({**MINIMAL, "method": "orpo", **given}, "x")
        assert spec.preference is not None and spec.preference.beta == 0.1
    with pytest.raises(BadSpec, match="the section preference is not for method sft"):
        JobSpec.parse({**MINIMAL, "preference": {"beta": 0.2}}, "x")
    with pytest.raises(BadSpec, match=r"preference\.beta: input should be greater than 0"):
        JobSpec.parse({**MINIMAL, "method": "dpo", "preference": {"beta": 0}}, "x")


@pytest.mark.parametrize("method", ["dpo", "orpo"])
def test_packing_is_refused_where_it_would_be_dropped(method: str) -> None:
    with pytest.raises(BadSpec, match=f"training.packing is not for method {method}"):
        JobSpec.parse({**MINIMAL, "method": method, "training": {"packing": True}}, "x")


def test_a_step_must_hold_whole_groups_of_completions() -> None:
    given = {**MINIMAL, "method": "rlhf", "training": {"batch_size": 3, "gradient_accumulation_steps": 2}}
    rlhf = {"rewards": ["distinct"], "algorithm": "grpo"}
    with pytest.raises(BadSpec, match=r"\(6\) must be a multiple of rlhf.num_generations \(8\)"):
        JobSpec.parse({**given, "rlhf": rlhf}, "x")
    for fit in ({"num_generations": 3}, {"algorithm": "ppo"}):
        assert JobSpec.parse({**given, "rlhf": {**rlhf, **fit}}, "x").rlhf is not None


@pytest.mark.parametrize("name", templates())
def test_every_template_is_a_whole_spec_but_for_name_and_data(name: str) -> None:
    spec = JobSpec.parse({"template": name, "name": "a", "dataset": {"path": "d"}}, name)
    assert spec.method == name.split("_")[0]
