"""The example jobs are whole, and the one for this machine trains."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from engine.job import dataset
from engine.job.events import EventWriter
from engine.job.folder import JobFolder, write_json
from engine.job.spec import JobSpec, Method
from tests.trainer import jobs

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_is_a_whole_job_with_data_that_can_be_split(path: Path) -> None:
    spec = JobSpec.load(path)
    read = dataset.read(
        Path(spec.dataset.path), spec.dataset.format, method=spec.method, columns=spec.columns
    )
    assert read.warnings == []
    train, held_out = dataset.split(read, spec.dataset, spec.training.seed)
    assert len(train) > len(held_out) > 0


def test_every_method_and_algorithm_has_an_example() -> None:
    specs = [JobSpec.load(path) for path in EXAMPLES.glob("*.yaml")]
    assert {spec.method for spec in specs} == set(get_args(Method))
    assert {spec.rlhf.algorithm for spec in specs if spec.rlhf} >= {"ppo", "grpo"}


def half(name: str, path: Path) -> JobFolder:
    """An example's job, to be trained for the first half."""
    spec = JobSpec.load(EXAMPLES / f"{name}.yaml", {"training": {"max_steps": 24, "eval_steps": 12}})
    folder = JobFolder(path)
    folder.create()
    write_json(folder.spec, spec.to_json())
    folder.dataset.write_bytes(Path(spec.dataset.path).read_bytes())
    return folder


@pytest.mark.training
@pytest.mark.parametrize(
    ("name", "figure"), [("cpt", "eval_loss"), ("dpo", "eval_loss"), ("orpo", "eval_nll_loss")]
)
def test_an_example_with_a_loss_lowers_it(name: str, figure: str, tmp_path: Path) -> None:
    folder = half(name, tmp_path / "job")
    trainer, attempt = jobs.built(folder)
    attempt.events = EventWriter(folder.events)
    untrained = trainer.evaluate()[figure]
    jobs.run_here(folder)
    assert jobs.events(folder, "eval")[-1].data[figure] < 0.9 * untrained


@pytest.mark.training
@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_an_example_with_rewards_earns_more(name: str, tmp_path: Path) -> None:
    folder = half(name, tmp_path / "job")
    jobs.run_here(folder)
    rewards = [reward for (reward,) in jobs.by_step(folder, "train", "reward").values()]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:2]) / 2 + 0.05
    assert jobs.events(folder, "result")


@pytest.mark.training
def test_the_tiny_example_learns_something(tmp_path: Path) -> None:
    spec = JobSpec.load(EXAMPLES / "tiny.yaml")
    folder = JobFolder(tmp_path / "job")
    folder.create()
    write_json(folder.spec, spec.to_json())
    folder.dataset.write_bytes(Path(spec.dataset.path).read_bytes())
    jobs.run_here(folder)
    evals = list(jobs.by_step(folder, "eval", "eval_loss", "train_loss").values())
    assert min(loss for loss, _ in evals) < evals[0][0]
    assert evals[-1][1] < 2 < evals[0][1]
    result = jobs.events(folder, "result")[0].data
    assert result["stopped_early"] is True
