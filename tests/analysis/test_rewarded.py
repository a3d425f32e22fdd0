"""Runs that are judged by a reward rank among themselves, the highest first, and never against a loss."""

from __future__ import annotations

from typing import Any

import pytest

from engine.analysis.comparison import compare
from engine.analysis.history import by_model
from engine.records import Job
from tests.analysis.made import a_run, with_config

REWARDS = [{"name": "exact_match", "weight": 1}]


def rewarded(number: int, reward: float | None, rewards: Any = REWARDS, **changes: Any) -> Job:
    job = with_config(a_run(number, None, method="rlhf", **changes), rlhf={"rewards": rewards})
    config = {**job.config, "method": "rlhf"}
    metadata = {**job.metadata, "best_eval_reward": reward}
    return a_run(number, None, method="rlhf", **{**changes, "config": config, "metadata": metadata})


def test_the_highest_reward_is_kept() -> None:
    comparison = compare([rewarded(1, 0.5), rewarded(2, 0.8), rewarded(3, -0.4)], {})
    told = comparison.recommendation
    assert told.job_id == "job-2" and told.comparable
    assert told.reasons[0] == "Its highest eval reward 0.8 is 0.3 above 0.5 of run-01."
    assert [item.advice for item in told.worse] == ["warn", "keep", "archive"]
    assert [item.worse for item in told.worse] == pytest.approx([0.375, 0, 1.5])
    row = next(row for row in comparison.rows if row.name == "best_eval_reward")
    assert [cell.best for cell in row.cells] == [False, True, False]
    assert told.changes == ("run-01 would need 0.3 more reward, to be kept instead.",)


def test_other_rewards_mean_something_else() -> None:
    told = compare([rewarded(1, 0.5), rewarded(2, 0.8, [{"name": "length", "target": 9}])], {}).recommendation
    assert not told.comparable and told.job_id is None
    assert any("the rewards differ" in text.lower() for text in told.caveats)


def test_a_reward_is_never_held_against_a_loss() -> None:
    told = compare([rewarded(1, 0.9), a_run(2, 0.1, method="sft")], {}).recommendation
    assert told.job_id is None and not told.comparable
    (runs,) = by_model([rewarded(1, 0.9), a_run(2, 1.0), rewarded(3, 0.6), a_run(4, 1.5)])
    assert runs.best is not None and runs.best.id == "job-2"
    assert runs.worse == pytest.approx({"job-1": 0.0, "job-2": 0.0, "job-3": 1 / 3, "job-4": 0.5})


def test_the_history_of_rewards_rises() -> None:
    (runs,) = by_model(
        [rewarded(n, reward) for n, reward in enumerate((0.2, 0.5, 0.4, 0.5, 0.5, 0.5, 0.5), 1)]
    )
    assert runs.best is not None and runs.best.id == "job-2"
    assert runs.improvement.best_so_far == (0.2, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)
    assert runs.improvement.stalled


def test_loss_comparisons_have_no_row_for_rewards() -> None:
    assert "best_eval_reward" not in {row.name for row in compare([a_run(1), a_run(2)], {}).rows}


def test_equal_rewards_are_equal_also_at_zero() -> None:
    told = compare([rewarded(1, 0.0), rewarded(2, 0.0)], {}).recommendation
    assert told.job_id == "job-1"
    assert "exactly that of" in told.reasons[0]
    assert [item.advice for item in told.worse] == ["keep", "keep"]
