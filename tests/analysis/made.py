"""Runs and checkpoints made for tests of the analysis."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.job.events import Status
from engine.records import Checkpoint, Job
from scorer import CheckpointMetrics, Score, score, select

START = datetime(2026, 11, 21, 10, tzinfo=UTC)
NAN = float("nan")

CONFIG: dict[str, Any] = {
    "method": "sft",
    "model": {"name": "Qwen/Qwen2.5-7B", "revision": None, "build": None},
    "dataset": {"path": "/data/a.jsonl", "eval_path": None, "train_split": 0.95},
    "training": {"learning_rate": 2e-4, "max_length": 2048, "seed": 42},
    "lora": {"r": 16},
}


def a_run(number: int = 1, best: float | None = 1.0, **changes: Any) -> Job:
    """A run that went to its end in two hours for four dollars."""
    job = Job(
        id=f"job-{number}",
        name=f"run-{number:02}",
        number=number,
        status=Status.COMPLETED,
        created_at=START + timedelta(days=number),
        started_at=START,
        completed_at=START + timedelta(hours=2),
        base_model="Qwen/Qwen2.5-7B",
        config=CONFIG,
        metadata={"data_sha256": "ab" * 32},
        best_eval_loss=best,
        best_epoch=2.0,
        total_epochs=3.0,
        best_step=200,
        elapsed_seconds=7200.0,
        cost_per_hour=2.0,
        cost_total=4.0,
        progress=100.0,
    )
    return replace(job, **changes)


def with_config(job: Job, **sections: Any) -> Job:
    """The same run with other settings."""
    config = {**job.config}
    for name, value in sections.items():
        config[name] = {**config[name], **value} if isinstance(value, dict) and name in config else value
    return replace(job, config=config)


def checkpoints(
    job: Job, losses: list[float], *, train: float | None = None, every: int = 100
) -> list[Checkpoint]:
    """One checkpoint an eval loss, half an hour apart, standing as the scorer says."""
    scores: list[Score] = []
    for at, loss in enumerate(losses):
        metrics = CheckpointMetrics(
            (at + 1) * every, loss, loss - 0.05 if train is None else train, at == 0 or loss < losses[at - 1]
        )
        scores.append(score(metrics))
    chosen = select(scores)
    return [
        Checkpoint(
            job_id=job.id,
            step=item.metrics.step,
            epoch=float(at + 1),
            eval_loss=item.metrics.eval_loss,
            train_loss=item.metrics.train_loss,
            score=item,
            path=f"checkpoints/checkpoint-{item.metrics.step}",
            size_bytes=1_000_000,
            created_at=START + timedelta(minutes=30 * (at + 1)),
            is_best=item is chosen.best,
            is_lowest_eval_loss=item is chosen.lowest_eval_loss,
            tied=item in chosen.tied,
        )
        for at, item in enumerate(scores)
    ]
