"""The example jobs are whole, and the one for this machine trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.job import dataset
from engine.job.folder import JobFolder, write_json
from engine.job.spec import JobSpec
from tests.trainer import jobs

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_is_a_whole_job_with_data_that_can_be_split(path: Path) -> None:
    spec = JobSpec.load(path)
    read = dataset.read(Path(spec.dataset.path), spec.dataset.format)
    assert read.warnings == []
    train, held_out = dataset.split(read, spec.dataset, spec.training.seed)
    assert len(train) > 3 * len(held_out) > 0


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
