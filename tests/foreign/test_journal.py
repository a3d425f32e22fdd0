"""A Podium job's folder: stored scores are used as they are, whatever else the folder holds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from engine.foreign import rank, read_run
from engine.job.events import EventType, EventWriter
from engine.job.folder import JobFolder
from scorer import CheckpointMetrics, RunScorer, Score, Weights, order_key, score

EVALS = ((10, 2.0, 2.1), (20, 1.5, 1.7), (30, 0.6, 1.65))


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    job = JobFolder(tmp_path / "job-1")
    job.create()
    return job


def saved(folder: JobFolder, writer: EventWriter, result: Score, **data: Any) -> None:
    """An eval and its checkpoint, as the trainer tells them."""
    step = result.metrics.step
    told = {"eval_loss": result.metrics.eval_loss, "epoch": step / 10, "score": result.to_json()}
    writer.append(EventType.EVAL, step, **told)
    path = f"checkpoints/checkpoint-{step}"
    (folder.path / path).mkdir(exist_ok=True)
    given = {"path": path, "bytes": 100, "verified": True, "score": result.to_json(), **data}
    writer.append(EventType.CHECKPOINT, step, **given)


@pytest.fixture
def scores(folder: JobFolder) -> Iterator[list[Score]]:
    scorer, found = RunScorer(), []
    with EventWriter(folder.events) as writer:
        for step, train_loss, eval_loss in EVALS:
            writer.append(EventType.TRAIN, step, loss=train_loss)
            scorer.add_train(step, train_loss)
            found.append(scorer.add_eval(step, eval_loss))
            saved(folder, writer, found[-1])
        yield found


def test_a_job_gives_the_scores_that_were_stored(folder: JobFolder, scores: list[Score]) -> None:
    for path in (folder.path, folder.events):
        ranking = rank(read_run(path))
        assert (ranking.run.source, ranking.run.name) == ("job", "job-1")
        assert [row.score for row in ranking.rows] == scores
        assert [row.is_best for row in ranking.rows] == [False, True, False]
        assert [row.is_lowest_eval_loss for row in ranking.rows] == [False, False, True]
        assert [row.problem for row in ranking.rows] == ["", "", ""]
        first = ranking.rows[0].checkpoint
        assert (first.size_bytes, first.verified, first.epoch) == (100, True, 1.0)
        assert first.path == folder.checkpoint(10)


def test_stored_scores_are_never_computed_again(folder: JobFolder) -> None:
    """A score whose parts add up but which no formula of ours gives."""
    odd = Score(CheckpointMetrics(10, 5.0), 0.25, 0.25, 0.0, 0.0, 0.0, formula="multi-metric/7")
    with EventWriter(folder.events) as writer:
        saved(folder, writer, odd)
    assert rank(read_run(folder.path)).rows[0].score == odd


def test_other_weights_on_request_score_all_from_their_stored_numbers(
    folder: JobFolder, scores: list[Score]
) -> None:
    weights = Weights(1.0, 0.0, 0.0, 0.0)
    ranking = rank(read_run(folder.path), weights=weights)
    assert [row.score for row in ranking.rows] == [score(item.metrics, weights) for item in scores]
    assert [row.is_best for row in ranking.rows] == [False, False, True]


def test_the_later_attempt_of_a_step_wins(folder: JobFolder, scores: list[Score]) -> None:
    again = score(CheckpointMetrics(30, 1.0, 1.0, True))
    with EventWriter(folder.events, attempt=2) as writer:
        saved(folder, writer, again)
    ranking = rank(read_run(folder.path))
    assert ranking.rows[2].score == again
    assert ranking.rows[2].is_best


def test_what_happened_to_a_checkpoint_is_said(folder: JobFolder, scores: list[Score]) -> None:
    with EventWriter(folder.events) as writer:
        writer.append(EventType.CHECKPOINT, 10, path="checkpoints/checkpoint-10", removed=True)
        saved(folder, writer, score(CheckpointMetrics(40, 3.0)), verified=False)
        writer.append(EventType.EVAL, 50, eval_loss=3.0, score=score(CheckpointMetrics(50, 3.0)).to_json())
        writer.append(EventType.CHECKPOINT, 60, path="checkpoints/checkpoint-60", bytes=1, verified=True)
        writer.append(EventType.EVAL, 70, eval_loss=3.0, score={"total": -5})
        saved(folder, writer, score(CheckpointMetrics(80, 3.0)), path="../../etc")
    ranking = rank(read_run(folder.path))
    assert {row.checkpoint.step: row.problem for row in ranking.rows} == {
        10: "removed to save space",
        20: "",
        30: "",
        40: "its files were found damaged when it was saved",
        50: "no checkpoint was saved",
        60: "it was never evaluated",
        70: "no checkpoint was saved",
        80: "its files are not on this machine",
    }
    assert ranking.rows[0].checkpoint.path is None and ranking.rows[-1].checkpoint.path is None
    assert math.isnan(ranking.rows[5].score.total)


def test_a_removed_winner_is_named_but_not_chosen(folder: JobFolder, scores: list[Score]) -> None:
    with EventWriter(folder.events) as writer:
        writer.append(EventType.CHECKPOINT, 20, path="checkpoints/checkpoint-20", removed=True)
    ranking = rank(read_run(folder.path))
    best = min((scores[0], scores[2]), key=order_key)
    assert [row.score for row in ranking.rows if row.is_best] == [best]
    assert ranking.reason.endswith("Step 20 would have won, but it can't be loaded.")


def test_scores_with_other_weights_than_the_newest_are_left_out(
    folder: JobFolder, scores: list[Score]
) -> None:
    with EventWriter(folder.events, attempt=2) as writer:
        saved(folder, writer, score(CheckpointMetrics(40, 9.0), Weights(gap=0.0)))
    ranking = rank(read_run(folder.path))
    assert [row.is_best for row in ranking.rows] == [False, False, False, True]
    assert {row.problem for row in ranking.rows[:3]} == {"scored by another formula or with other weights"}


def test_lines_that_are_no_events_hurt_nothing(folder: JobFolder, scores: list[Score]) -> None:
    rubbish = [
        b"\xff\xfe\x00",
        b'{"v":1,"type":"eval"}',
        b'"eval"' + b"x" * (3 << 20),
        b"[" * 5000 + b'"eval"',
        json.dumps({"v": 1, "seq": 99, "ts": "x", "attempt": 1, "type": "eval", "step": 5}).encode(),
        b'{"v":1,"seq":9,"ts":"2026-01-01T00:00:00Z","attempt":1,"type":"eval","step":30,"data":{"score":[]',
    ]
    with folder.events.open("ab") as file:
        file.write(b"\n".join(rubbish))
    assert [row.score for row in rank(read_run(folder.path)).rows] == scores


def test_a_job_without_an_eval_has_nothing_to_score(folder: JobFolder) -> None:
    with EventWriter(folder.events) as writer:
        writer.append(EventType.TRAIN, 1, loss=2.0)
    with pytest.raises(BadInput, match="no eval among the job's events yet"):
        read_run(folder.path)


def test_ties_are_told_by_pairs_where_the_examples_losses_were_told(
    folder: JobFolder, scores: list[Score]
) -> None:
    """Step 30 differs from the best by as much as its examples scatter, step 10 by far more than its do."""
    assert not any(row.tied for row in rank(read_run(folder.path)).rows)
    best = [1.7 + 0.01 * (at % 7) for at in range(40)]
    noisy = [loss + (0.9 if at % 2 else -1.0) for at, loss in enumerate(best)]
    with EventWriter(folder.events, 2) as writer:
        writer.append(EventType.EXAMPLES, 30, order="2x4", losses=[9.0] * 40)
        for step, losses in ((10, [loss + 0.4 for loss in best]), (20, best), (30, noisy)):
            writer.append(EventType.EXAMPLES, step, order="rows", losses=losses)
    assert [row.tied for row in rank(read_run(folder.path)).rows] == [False, False, True]
