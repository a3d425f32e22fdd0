"""`podium score`: a table for people, JSON for programs, one line for what can't be scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.errors import BadInput
from tests.foreign.folders import write_run
from tui.cli.score import score

EVALS = ((100, 0.45, 0.5), (200, 0.1, 0.4), (300, 0.05, 0.7))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(score, [str(argument) for argument in arguments], catch_exceptions=True)


def as_json(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def squeezed(line: str) -> str:
    return " ".join(line.split())


def test_the_table_shows_the_parts_and_marks_the_best(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", *EVALS)
    (folder / "checkpoint-300" / "model.safetensors").unlink()
    lines = run(folder).stdout.splitlines()
    assert squeezed(lines[0]) == "step epoch train eval score loss part gap perplexity bonus size note"
    assert squeezed(lines[1]).startswith("★ 100 1.00 0.4500 0.5000 0.1882 0.2500 0.0300 0.0082 -0.1000")
    assert lines[1].endswith("best")
    assert lines[2].endswith("lowest eval loss")
    assert lines[3].endswith("no weights file")
    assert lines[-2] == ""
    assert lines[-1].startswith("Step 100 has the best score (0.1882), but step 200 has the lowest eval loss")


def test_json_has_the_names_of_the_design(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", *EVALS)
    found = as_json(folder)
    assert found["schema"] == 1
    assert (found["best_step"], found["lowest_eval_loss_step"], found["rule"]) == (100, 200, "multi-metric")
    first = found["checkpoints"][0]
    assert {
        "step",
        "epoch",
        "eval_loss",
        "train_loss",
        "score",
        "is_best",
        "is_lowest_eval_loss",
        "tied",
        "path",
    } <= {*first}
    assert {"total", "eval_loss", "gap", "perplexity", "bonus", "formula"} <= {*first["score"]}
    assert first["score"]["total"] == pytest.approx(0.188244, abs=5e-7)
    assert (first["is_best"], first["verified"], first["size_bytes"] > 0) == (True, False, True)
    assert first["path"] == str(folder / "checkpoint-100")


def test_three_loadable_checkpoints_are_worth_averaging(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", *EVALS, (400, 0.04, 0.9))
    assert as_json(folder)["average_steps"] == [100, 200, 300]
    assert "steps 100, 200, 300 may well beat any one" in run(folder).stdout.splitlines()[-1]
    (folder / "checkpoint-200" / "model.safetensors").unlink()
    assert as_json(folder)["average_steps"] == [100, 300, 400]
    (folder / "checkpoint-300" / "model.safetensors").unlink()
    assert as_json(folder)["average_steps"] == []


def test_rule_and_weights_can_be_set(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", *EVALS)
    assert as_json(folder, "--rule", "eval-loss")["best_step"] == 200
    weighted = as_json(folder, "--weights", "1,0,0,0")
    assert weighted["best_step"] == 200
    assert weighted["checkpoints"][0]["score"]["weights"] == {
        "eval_loss": 1.0, "gap": 0.0, "perplexity": 0.0, "bonus": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize("weights", ["1,2,3", "a,b,c,d", "-1,0,0,0", "nan,0,0,0", ""])
def test_weights_that_are_none_are_refused(tmp_path: Path, weights: str) -> None:
    result = run(write_run(tmp_path / "run", *EVALS), "--weights", weights)
    assert isinstance(result.exception, BadInput)
    assert "--weights takes four numbers such as 0.5,0.3,0.1,0.1" in str(result.exception)


def test_a_path_with_nothing_to_score_is_bad_input(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert isinstance(result.exception, BadInput)
    assert "nothing to score here" in str(result.exception)


def test_losses_that_are_not_finite_come_last_and_are_valid_json(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text("step,loss,eval_loss\n1,2,nan\n2,2,2.5\n3,inf,1.0\n")
    found = as_json(path)
    assert found["best_step"] == 2
    assert found["checkpoints"][0]["eval_loss"] == "NaN"
    assert found["checkpoints"][0]["problem"] == "the eval loss is NaN"
    assert "the train loss is Infinity" in run(path).stdout


def test_a_name_with_escapes_can_not_reach_the_terminal(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run\x1b[31m", *EVALS)
    (folder / "checkpoint-300" / "model.safetensors").write_bytes(b"")
    assert "\x1b" not in run(folder).stdout
    assert "\x1b" not in run(folder, "--json").stdout
