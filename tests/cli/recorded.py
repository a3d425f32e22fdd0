"""Runs as they lie on disk: real event files in job folders, rows in a real store, no trainer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.home import Home
from engine.job.events import EventType, EventWriter, Status
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from engine.stream import catch_up
from scorer import RunScorer

# Two runs of one model: the first overfits after step 40, the second never gets as low.
GOOD = ((6.1, 6.0), (4.6, 4.7), (3.2, 4.8), (2.0, 5.2))
POOR = ((6.2, 6.3), (5.9, 6.0), (5.7, 6.1), (5.6, 6.2))


def record(
    home: Path, name: str, losses: Sequence[tuple[float, float]], *, ends: bool = True, **given: Any
) -> Job:
    """A run with an eval and a checkpoint every 20 steps.

    Args:
        home: The Podium home; made when missing.
        name: The run's name, and its id with dashes.
        losses: Train and eval loss of each checkpoint.
        ends: Does it complete, or is it still running?
        given: Columns of the job.
    """
    place = Home(home)
    place.create()
    folder = place.job(f"{name}-id")
    folder.create()
    config = {"method": "sft", "training": {"learning_rate": given.pop("learning_rate", 1e-3)}}
    job = Job(
        id=f"{name}-id",
        name=name,
        status=Status.QUEUED,
        created_at=datetime.now(UTC),
        base_model="llama",
        method="sft",
        provider="local",
        config=config,
        job_dir=str(folder.path),
    )
    store = SQLiteStore(place.database)
    job = store.add(replace(job, **given))
    folder.log.write_text("".join(f"step {20 * at}  loss {loss}\n" for at, (loss, _) in enumerate(losses, 1)))
    with EventWriter(folder.events) as events:
        total = 20 * len(losses)
        events.append(EventType.STATE, status=Status.RUNNING)
        events.append(EventType.START, config=config, total_steps=total, samples={"train": 600, "eval": 120})
        write_checkpoints(events, losses)
        if ends:
            events.append(EventType.STATE, total, status=Status.COMPLETED)
    catch_up(store, place)
    found = store.job(job.id)
    store.close()
    return found


def write_checkpoints(events: EventWriter, losses: Sequence[tuple[float, float]], first: int = 20) -> None:
    """The events of checkpoints at `first` and every 20 steps from there."""
    scorer = RunScorer()
    for at, (train, held_out) in enumerate(losses):
        step = first + 20 * at
        scorer.add_train(step, train)
        score = scorer.add_eval(step, held_out).to_json()
        events.append(EventType.TRAIN, step, loss=train, epoch=step / 40, learning_rate=1e-3, grad_norm=0.5)
        events.append(
            EventType.EVAL, step, eval_loss=held_out, train_loss=train, epoch=step / 40, score=score
        )
        path = f"checkpoints/checkpoint-{step}"
        events.append(EventType.CHECKPOINT, step, path=path, bytes=6_400_000, sha256="0" * 64, score=score)


def told(stdout: str) -> dict[str, Any]:
    """The one JSON object that a command printed."""
    value: dict[str, Any] = json.loads(stdout)
    assert value["schema"] == 1
    return value
