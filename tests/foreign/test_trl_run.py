"""`podium score` on the output of a plain TRL run that knows nothing of Podium."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scorer import CheckpointMetrics
from scorer import score as formula
from tests.scorer.transcription import improvements
from tui.cli.score import score

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trl") / "output"
    script = Path(__file__).with_name("plain_trl.py")
    subprocess.run(
        [sys.executable, str(script), str(path)],
        check=True,
        capture_output=True,
        timeout=300,
        cwd=path.parent,
    )
    return path


def scored(folder: Path) -> dict[str, Any]:
    result = CliRunner().invoke(score, [str(folder), "--json"], catch_exceptions=False)
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def test_its_checkpoints_are_scored_from_its_own_log(folder: Path) -> None:
    newest = json.loads((folder / "checkpoint-12" / "trainer_state.json").read_text())
    losses = {row["step"]: row["loss"] for row in newest["log_history"] if "loss" in row}
    evals = {row["step"]: row["eval_loss"] for row in newest["log_history"] if "eval_loss" in row}
    found = scored(folder)
    assert [item["step"] for item in found["checkpoints"]] == [4, 8, 12]
    improved = improvements([*evals.values()])
    for item, better in zip(found["checkpoints"], improved, strict=True):
        step = item["step"]
        expected = formula(CheckpointMetrics(step, evals[step], losses[step], better))
        assert item["score"]["total"] == expected.total
        assert (item["problem"], item["complete"]) == ("", True)
        assert item["size_bytes"] > 10_000
    totals = {item["step"]: item["score"]["total"] for item in found["checkpoints"]}
    assert found["best_step"] == min(totals, key=lambda step: totals[step])


def test_a_checkpoint_that_lost_its_weights_is_flagged(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "checkpoint-8" / "model.safetensors").unlink()
    problems = [item["problem"] for item in scored(copy)["checkpoints"]]
    assert problems == ["", "no weights file", ""]
