"""Ranking somebody else's run: the same order as for our own, among what can be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.foreign import rank, read_run
from scorer import CheckpointMetrics, score, select
from tests.foreign.folders import write_run

EVALS = ((100, 0.45, 0.5), (200, 0.1, 0.4), (300, 0.05, 0.7))


def test_a_foreign_run_is_scored_by_the_formula(tmp_path: Path) -> None:
    ranking = rank(read_run(write_run(tmp_path / "run", *EVALS)))
    expected = [
        score(CheckpointMetrics(step, eval_loss, train_loss, step < 300))
        for step, train_loss, eval_loss in EVALS
    ]
    assert [row.score for row in ranking.rows] == expected
    assert ranking.rows[0].score.total == pytest.approx(0.188244, abs=5e-7)
    assert [row.is_best for row in ranking.rows] == [True, False, False]
    assert [row.is_lowest_eval_loss for row in ranking.rows] == [False, True, False]
    assert ranking.reason == select(expected).reason


def test_a_winner_that_cannot_be_loaded_is_passed_over_and_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", *EVALS)
    (folder / "checkpoint-100" / "model.safetensors").unlink()
    ranking = rank(read_run(folder))
    assert [row.is_best for row in ranking.rows] == [False, True, False]
    assert ranking.reason.endswith("Step 100 would have won, but it can't be loaded.")


def test_where_none_can_be_loaded_the_numbers_still_decide(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", *EVALS)
    for path in folder.glob("*/model.safetensors"):
        path.unlink()
    ranking = rank(read_run(folder))
    assert [row.is_best for row in ranking.rows] == [True, False, False]
    assert {row.problem for row in ranking.rows} == {"no weights file"}


def test_the_rule_can_be_chosen(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", *EVALS))
    chosen = {rule: rank(run, rule).selection.best.metrics.step for rule in ("eval-loss", "last")}  # type: ignore[union-attr]
    assert chosen == {"eval-loss": 200, "last": 300}
