"""Every example is launched as a user would, and trains; nothing but size and length are changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from engine.job import dataset
from engine.job.folder import JobFolder, read_json
from engine.job.sections import BuildSpec
from engine.job.spec import JobSpec, Method
from tests.cli.recorded import told
from tests.conftest import Podium
from tests.trainer import jobs
from tests.warm import Nursery

EXAMPLES = Path(__file__).parents[2] / "examples"
HERE = sorted(EXAMPLES.glob("*.yaml"))
ON_A_GPU = sorted(EXAMPLES.glob("gpu/*.yaml"))


def named(path: Path) -> str:
    return str(path.relative_to(EXAMPLES).with_suffix(""))


@pytest.mark.parametrize("path", [*HERE, *ON_A_GPU], ids=named)
def test_an_example_is_a_whole_job_with_data_that_can_be_split(path: Path) -> None:
    spec = JobSpec.load(path)
    read = dataset.read(
        Path(spec.dataset.path), spec.dataset.format, method=spec.method, columns=spec.columns
    )
    assert read.warnings == []
    train, held_out = dataset.split(read, spec.dataset, spec.training.seed)
    assert len(train) > len(held_out) > 0


@pytest.mark.parametrize("paths", [HERE, ON_A_GPU], ids=["here", "on a GPU"])
def test_every_method_and_algorithm_has_an_example(paths: list[Path]) -> None:
    specs = [JobSpec.load(path) for path in paths]
    assert {spec.method for spec in specs} >= set(get_args(Method)) - {"script"}
    assert {spec.rlhf.algorithm for spec in specs if spec.rlhf} >= {"ppo", "grpo"}


def test_examples_for_a_gpu_name_models_that_anybody_may_have_and_cap_what_they_cost() -> None:
    for path in ON_A_GPU:
        spec = JobSpec.load(path)
        assert spec.model.build is None and spec.model.name.startswith("Qwen/")
        assert spec.limits.max_cost_usd is not None and spec.limits.max_hours is not None


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands in for a model of the Hub: of the same kind, and fit for four bits."""
    from engine.trainer.build import build

    lines = (EXAMPLES / "capitals.jsonl").read_text().splitlines()
    place = tmp_path_factory.mktemp("model") / "model"
    sizes = BuildSpec(vocab_size=600, hidden_size=64, layers=1, heads=2, intermediate_size=128)
    build(sizes, list(map(json.loads, lines)), 7, place)
    return place


def launched(podium: Podium, warm: Nursery, home: Path, path: Path, *changes: str) -> JobFolder:
    """The folder of a job that the command line launched and waited for."""
    settings = [argument for change in changes for argument in ("--set", change)]
    asked = ("launch", path, "--on", "local", *settings, "--wait", "--json")
    done = podium(*asked, env=warm.environment, timeout=240)
    assert done.returncode == 0, done.stderr
    job = told(done.stdout)["job"]
    assert (job["status"], job["method"]) == ("completed", JobSpec.load(path).method)
    folder = JobFolder(Path(job["job_dir"]))
    assert folder.path.is_relative_to(home)
    assert read_json(folder.exit)["status"] == "completed"
    return folder


FIGURES = {"cpt": "loss", "dpo": "loss", "orpo": "nll_loss", "tiny": "loss"}
"""What an example is to lower, as training calls it."""


@pytest.mark.training
@pytest.mark.parametrize("path", [path for path in HERE if path.stem != "lora"], ids=named)
def test_an_example_for_this_machine_learns(path: Path, podium: Podium, warm: Nursery, home: Path) -> None:
    """Its first half; the smallest one, which stops by itself, to its end."""
    half = () if path.stem == "tiny" else ("training.max_steps=24", "training.eval_steps=12")
    folder = launched(podium, warm, home, path, *half, "predictions.max_new_tokens=4")
    if figure := FIGURES.get(path.stem):
        first = jobs.events(folder, "train")[0].data[figure]
        assert jobs.events(folder, "eval")[-1].data[f"eval_{figure}"] < 0.9 * first
    else:
        rewards = [reward for (reward,) in jobs.by_step(folder, "train", "reward").values()]
        assert sum(rewards[-4:]) / 4 > sum(rewards[:2]) / 2 + 0.05
    result = jobs.events(folder, "result")[0].data
    assert result["stopped_early"] is (path.stem == "tiny")


@pytest.mark.training
@pytest.mark.parametrize("path", [*ON_A_GPU, EXAMPLES / "lora.yaml"], ids=named)
def test_an_example_for_a_gpu_trains_its_model(
    path: Path, podium: Podium, warm: Nursery, home: Path, small_model: Path
) -> None:
    """With adapters on four bits, as it says; what only a GPU has falls back, and is told.

    Each template is trained for twenty steps in test_templates.py.
    """
    changes = [f"model.name={small_model}", "training.max_steps=8", "training.eval_steps=4"]
    changes += ["training.learning_rate=2e-3", "training.warmup_steps=1", "predictions.max_new_tokens=4"]
    spec = JobSpec.load(path)
    if spec.rlhf is not None:
        changes.append("rlhf.max_completion_length=8")
    folder = launched(podium, warm, home, path, *changes)
    start = jobs.events(folder, "start")[0].data
    config: dict[str, Any] = start["config"]
    assert start["parameters"]["trainable"] < start["parameters"]["total"]
    assert (config["quantization"]["bits"], config["model"]["dtype"]) == (4, "fp32")
    assert len(jobs.events(folder, "recovery")) == 2
    evals = [event.data for event in jobs.events(folder, "eval")]
    if spec.method != "rlhf":
        assert evals[1]["eval_loss"] < evals[0]["eval_loss"]
    assert jobs.events(folder, "result")[0].data["total_steps"] == 8
    made = json.loads((folder.final / "adapter" / "adapter_config.json").read_text())
    assert made["r"] == 16
    assert (folder.final / "merged").is_dir() == spec.finish.merge
    assert bool(jobs.events(folder, "prediction")) == spec.predictions.enabled
