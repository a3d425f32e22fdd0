"""The sections script, criteria and panels of a spec: what they take, and what they say of mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from engine.errors import BadSpec
from engine.job.judging import Condition
from engine.job.spec import JobSpec, Method


def parse(base: Path | None = None, **values: Any) -> JobSpec:
    script = {"command": ["python", "train.py"], **values.pop("script", {})}
    return JobSpec.parse({"name": "b", "method": "script", "script": script, **values}, "x", base=base)


def test_a_script_comes_back_from_job_json_as_it_was(tmp_path: Path) -> None:
    spec = parse(
        tmp_path,
        script={"data": ["../corpus", {"path": "/big", "to": "in"}], "variables": {"SEED": "0"}},
        criteria={"minimum": {"eval_loss": "-20 %"}},
        panels=[{"name": "Loss", "metrics": ["loss_components/*"]}],
    )
    (tmp_path / "job.json").write_text(json.dumps(spec.to_json()))
    assert JobSpec.from_json(tmp_path / "job.json") == spec
    assert not {"training", "dataset", "lora"} & set(spec.to_json())


def test_paths_here_start_from_the_specs_folder_and_keep_their_places(tmp_path: Path) -> None:
    script = parse(tmp_path, script={"sync": [".", "src/lib"], "data": ["../corpus"]}).script
    assert script is not None
    assert [(item.path, item.place) for item in (*script.sync, *script.data)] == [
        (str(tmp_path), "."),
        (str(tmp_path / "src" / "lib"), "src/lib"),
        (str(tmp_path / ".." / "corpus"), "corpus"),
    ]


def test_what_is_left_out_is_looked_for_among_the_artifacts() -> None:
    script = parse(script={"artifacts": "out"}).script
    assert script is not None
    assert script.metrics == ("out/**/*.csv", "out/**/*.jsonl")
    assert script.checkpoints == ("out/**/checkpoint*",)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"script": {"command": "python train.py"}}, "must be a list"),
        ({"script": {"command": []}}, "script.command"),
        ({"script": {"folder": "../up"}}, "script.folder: must be a relative path"),
        ({"script": {"sync": [{"path": "a", "to": "/etc"}]}}, "must be a relative path"),
        ({"script": {"sync": ["a/x"], "data": [{"path": "y", "to": "a/x"}]}}, "would go to a/x"),
        ({"script": {"patterns": ["("]}}, "no regular expression"),
        ({"script": {"patterns": ["loss .*"]}}, "names no group"),
        ({"script": {"patterns": ["(?P<name>x)"]}}, "both of the groups"),
        ({"script": {"variables": {"HF_TOKEN": "hf_x"}}}, "script.environment"),
        ({"script": {"environment": ["A B"]}}, "no name of a variable"),
        ({"lora": {"r": 8}}, "the section lora is not for method script"),
        ({"criteria": {}}, "asks for nothing"),
        ({"criteria": {"minimum": {"eval_loss": "20"}}}, "no condition"),
        ({"criteria": {"strng": {"eval_loss": "> 1"}}}, "did you mean strong?"),
        ({"panels": [{"name": "Empty", "metrics": []}]}, "panels"),
    ],
)
def test_mistakes_are_told_with_their_place(values: dict[str, Any], told: str) -> None:
    with pytest.raises(BadSpec, match=told.replace("(", r"\(").replace("?", r"\?")):
        parse(**values)


def test_the_section_is_for_its_method_alone() -> None:
    values = {"name": "b", "model": {"name": "m"}, "dataset": {"path": "d"}}
    with pytest.raises(BadSpec, match="not for method sft"):
        JobSpec.parse({**values, "script": {"command": ["true"]}}, "x")
    with pytest.raises(BadSpec, match="needs the section script"):
        JobSpec.parse({"name": "b", "method": "script"}, "x")


def test_our_own_methods_and_a_script_are_all_there_is() -> None:
    known = get_args(JobSpec.model_fields["method"].annotation)
    assert known == (*get_args(Method), "script")


@pytest.mark.parametrize(
    ("text", "sign", "bound"),
    [("> 0.10", ">", 0.1), ("<=3", "<=", 3.0), ("-20 %", "%", -0.2), ("−37.9%", "%", -0.379),
     ("> -1e-3", ">", -1e-3)],
)  # fmt: skip
def test_conditions_are_read(text: str, sign: str, bound: float) -> None:
    condition = Condition.parse(text)
    assert (condition.sign, condition.bound) == (sign, pytest.approx(bound))
