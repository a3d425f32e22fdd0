"""Comparisons read from a real store: attempts, caching, thresholds, families."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.analysis.comparison import Comparison
from engine.comparing import THRESHOLD, comparison_of, exported_curves, threshold
from engine.job.events import Event, EventType, Status, encode
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from scorer import CheckpointMetrics, score

START = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "podium.db")
    yield store
    store.close()


class Run:
    """Writes a run's events, attempt by attempt."""

    def __init__(self, store: SQLiteStore, name: str, **given: Any) -> None:
        self.store, self.name = store, name
        config = {"method": "sft", "training": {"learning_rate": given.pop("rate", 1e-4)}}
        columns = {"base_model": "org/model-7B", "cost_per_hour": 3.6, "config": config} | given
        store.add(Job(id=name, name=name, status=Status.QUEUED, created_at=START, **columns))
        self.attempt, self.seq, self.offset = 1, 0, 0

    def tell(self, type: str, step: int | None = None, **data: Any) -> None:
        self.seq += 1
        moment = START + timedelta(seconds=self.seq)
        line = encode(Event(self.seq, moment, self.attempt, type, step, data))
        self.offset = self.store.ingest(self.name, line, self.offset).offset

    def train(self, first: int, losses: list[float]) -> None:
        """A step and an evaluation for each loss."""
        self.tell(EventType.STATE, status=Status.RUNNING)
        self.tell(EventType.START, first - 1, total_steps=10, config={})
        for step, loss in enumerate(losses, first):
            parts = score(CheckpointMetrics(step, loss, loss - 0.1, True)).to_json()
            self.tell(EventType.TRAIN, step, loss=loss - 0.1, epoch=step / 10)
            self.tell(EventType.EVAL, step, eval_loss=loss, train_loss=loss - 0.1, score=parts)
            self.tell(EventType.CHECKPOINT, step, path=f"checkpoints/checkpoint-{step}", bytes=1, score=parts)

    def end(self, status: Status = Status.COMPLETED) -> None:
        self.tell(EventType.STATE, status=status)


def compared(store: SQLiteStore, *names: str, **options: Any) -> Comparison:
    jobs = {job.id: job for job in store.jobs(archived=True, deleted=True)}
    return comparison_of(store, [jobs[name] for name in names], jobs.values(), **options)


def values(comparison: Comparison, name: str) -> list[float | None]:
    return [cell.value for row in comparison.rows if row.name == name for cell in row.cells]


def test_of_steps_that_two_attempts_reached_the_later_ones_count(store: SQLiteStore) -> None:
    twice = Run(store, "twice")
    twice.train(1, [3.0, 2.0, 0.1])
    twice.attempt = 2
    twice.train(3, [1.5, 1.4])
    twice.end()
    once = Run(store, "once")
    once.train(1, [3.0, 1.8])
    once.end()
    found = compared(store, "twice", "once", statistic="min")
    assert values(found, "eval_loss") == [1.4, 1.8]
    assert values(found, "best_eval_loss") == [1.4, 1.8]
    curves = exported_curves(store, found.jobs)["step"]
    assert [point.x for point in curves["twice"]["eval_loss"].points] == [1, 2, 3, 4]
    assert [round(point.mean, 3) for point in curves["twice"]["eval_loss"].points] == [3.0, 2.0, 1.5, 1.4]


def test_nothing_is_judged_anew_until_a_run_changes(store: SQLiteStore) -> None:
    runs = [Run(store, name) for name in ("a", "b")]
    for run, losses in zip(runs, ([2.0, 1.0], [2.0, 1.2]), strict=True):
        run.train(1, losses)
        run.end()
    first = compared(store, "a", "b")
    assert compared(store, "a", "b") is first
    assert compared(store, "a", "b", statistic="max") is not first
    runs[1].train(3, [0.5])
    again = compared(store, "a", "b")
    assert (first.recommendation.job_id, again.recommendation.job_id) == ("a", "b")


def test_the_threshold_is_a_setting_and_nonsense_is_not_obeyed(store: SQLiteStore) -> None:
    for name, loss in (("a", 1.0), ("b", 1.4)):
        run = Run(store, name)
        run.train(1, [loss])
        run.end()
    assert compared(store, "a", "b").recommendation.worse[1].advice == "warn"
    store.set_setting(THRESHOLD, 0.3)
    assert compared(store, "a", "b").recommendation.worse[1].advice == "archive"
    for nonsense in (-1, "x", None, 0, True, 1e9):
        store.set_setting(THRESHOLD, nonsense)
        assert threshold(store) == 0.5


def test_what_went_with_the_result_is_told_over_the_model_or_its_family(store: SQLiteStore) -> None:
    for at in range(8):
        model = "org/model-7B" if at < 4 else "org/model-1B-Instruct"
        config = {"method": "sft", "model": {"name": "same"}, "training": {"learning_rate": 1e-4 * (at + 1)}}
        run = Run(store, f"r{at}", base_model=model, config=config)
        run.train(1, [1.0 + at])
        run.end()
    assert compared(store, "r0", "r1").correlations[0].runs == 4
    (found,) = compared(store, "r0", "r1", family=True).correlations
    assert (found.key, found.runs, round(found.rho, 3), found.few) == ("learning_rate", 8, 1.0, True)


def test_a_run_that_says_nothing_and_one_that_broke_off_are_compared(store: SQLiteStore) -> None:
    Run(store, "queued")
    broken = Run(store, "broken")
    broken.train(1, [float("nan"), 1.0])
    broken.end(Status.FAILED)
    found = compared(store, "queued", "broken")
    assert values(found, "best_eval_loss") == [None, 1.0]
    assert found.recommendation.job_id == "broken"
    assert "cut short" in " ".join(found.recommendation.caveats)
