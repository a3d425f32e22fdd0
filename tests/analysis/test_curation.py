"""Which runs a rule archives, and which checkpoints may go."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from engine.analysis.curation import Rule, surplus, to_archive
from engine.errors import BadInput
from engine.job.events import Status
from engine.records import Checkpoint, Job
from scorer import CheckpointMetrics, score
from tests.store.wire import START, a_job

NOW = START + timedelta(days=10)


def run(name: str, loss: float | None, status: Status = Status.COMPLETED, **given: Any) -> Job:
    return a_job(name, name=name, status=status, best_eval_loss=loss, **given)


def chosen(rule: Rule, *jobs: Job, **asked: Any) -> dict[str, str]:
    return {item.job.id: item.reason for item in to_archive(jobs, rule, NOW, **asked)}


def test_runs_far_worse_than_the_best_of_their_own_model_are_chosen() -> None:
    runs = run("best", 1.0), run("near", 1.4), run("far", 1.6), run("other", 9.0, base_model="llama")
    assert chosen(Rule(worse=0.5), *runs) == {"far": "60 % worse than its model's best"}


def test_any_part_of_the_rule_is_enough_and_all_that_hold_are_told() -> None:
    old = START - timedelta(days=50)
    runs = (
        run("best", 1.0, created_at=old),
        run("broke", None, Status.FAILED, error_message="no memory"),
        run("both", 2.0, created_at=old),
        run("fine", 1.1),
    )
    assert chosen(Rule(worse=0.5, days=30, failed=True), *runs) == {
        "broke": "failed: no memory",
        "both": "100 % worse than its model's best, 60 days old",
    }


@pytest.mark.parametrize("status", [Status.RUNNING, Status.QUEUED, Status.PENDING, Status.PAUSED])
def test_a_run_that_has_not_ended_is_never_chosen(status: Status) -> None:
    old = START - timedelta(days=99)
    assert chosen(Rule(worse=0, days=1), run("best", 1.0), run("on", 9.0, status, created_at=old)) == {}


def test_hidden_runs_are_neither_chosen_nor_the_measure() -> None:
    runs = run("best", 1.0, archived_at=NOW), run("second", 2.0), run("third", 3.5)
    assert chosen(Rule(worse=0.5), *runs) == {"third": "75 % worse than its model's best"}


def test_among_the_chosen_are_those_alone_that_were_asked_about() -> None:
    assert chosen(Rule(worse=0.1), run("best", 1.0), run("a", 2.0), run("b", 2.0), among={"b"}).keys() == {
        "b"
    }


def test_without_a_rule_nothing_is_chosen_but_told() -> None:
    with pytest.raises(BadInput, match="no rule"):
        Rule()
    with pytest.raises(BadInput, match="0 or more"):
        Rule(worse=-1)


def checkpoints(*losses: float | None) -> list[Checkpoint]:
    """Checkpoints at 10, 20 …; without a loss, without a score."""
    made = []
    for at, loss in enumerate(losses, 1):
        scored = None if loss is None else score(CheckpointMetrics(10 * at, loss, loss, False))
        path = f"checkpoints/checkpoint-{10 * at}"
        made.append(Checkpoint(job_id="a", step=10 * at, eval_loss=loss, score=scored, path=path))
    return made


def test_beyond_the_best_k_all_go_but_the_newest() -> None:
    gone = surplus(checkpoints(3.0, 1.0, 2.0, 4.0, 5.0), 2)
    assert [item.step for item in gone] == [10, 40]
    assert surplus(checkpoints(3.0, 1.0), 2) == ()


def test_what_has_no_score_stays() -> None:
    assert [item.step for item in surplus(checkpoints(None, 1.0, 2.0, 3.0), 1)] == [30]


def test_no_fewer_than_one_is_kept() -> None:
    with pytest.raises(BadInput, match="at least one"):
        surplus(checkpoints(1.0), 0)
