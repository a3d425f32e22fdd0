"""A run of another tool, told again as events: from there on it is a run like any other."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from engine.foreign.track import Logged, Track
from engine.job.events import Event, EventType, Status, encode
from scorer import RunScorer

_SPACE: Final = uuid.UUID("9f3a8f3e-5d0b-4c63-9d0c-6f1d8f5a2c11")
_SCORED: Final = {"accuracy": "eval_rewards/accuracies", "reward": "eval_reward", "kl": "eval_kl"}
"""What the scorer takes beside the eval loss, and what it is called in a log."""


def id_of(track: Track) -> str:
    """The job's id: the same for the same run at the same place, so that it is imported once."""
    return str(uuid.uuid5(_SPACE, f"{track.path.resolve()}\n{track.name}"))


def timed(track: Track) -> bool:
    """Is it known when the steps were?"""
    return track.seconds is not None or any(row.ts is not None for row in track.rows)


def began(track: Track) -> datetime:
    """When it began; the age of its files where nobody wrote it down."""
    moments = [row.ts for row in track.rows if row.ts is not None]
    if moments:
        return min(moments)
    changed = datetime.fromtimestamp(track.path.stat().st_mtime, UTC)
    return changed - timedelta(seconds=track.seconds or 0)


def retell(track: Track) -> bytes:
    """The run's `events.jsonl`.

    Steps whose time nobody wrote down are spread evenly over the run's.
    """
    return b"".join(encode(event) for event in _numbered(track))


def _numbered(track: Track) -> Iterator[Event]:
    latest = began(track)
    for seq, (moment, kind, step, data) in enumerate(_events(track), start=1):
        latest = max(latest, moment)
        yield Event(seq, latest, 1, kind, step, data)


def _events(track: Track) -> Iterator[tuple[datetime, EventType, int | None, dict[str, Any]]]:
    start, last = began(track), track.rows[-1].step if track.rows else 0
    yield start, EventType.STATE, None, {"status": Status.RUNNING}
    yield start, EventType.START, None, {"config": dict(track.config), "total_steps": last or None}
    scorer, end = RunScorer(), start
    for row in track.rows:
        end = row.ts or start + timedelta(seconds=(track.seconds or 0) * row.step / max(1, last))
        for kind, data in _told(row, scorer):
            yield end, kind, row.step, data
    yield end, EventType.STATE, last or None, {"status": Status.COMPLETED}


def _told(row: Logged, scorer: RunScorer) -> Iterator[tuple[EventType, dict[str, Any]]]:
    """What a step says of training, and of its eval where it had one, with the score that it deserves."""
    evaluated = {name: value for name, value in row.values.items() if name.startswith("eval_")}
    trained = {name: value for name, value in row.values.items() if name not in evaluated}
    if trained.keys() - {"epoch"}:
        scorer.add_train(row.step, trained.get("loss"))
        yield EventType.TRAIN, trained
    if not evaluated:
        return
    epoch: dict[str, Any] = {"epoch": row.values["epoch"]} if "epoch" in row.values else {}
    given = {name: evaluated[column] for name, column in _SCORED.items() if column in evaluated}
    if "eval_loss" in evaluated or "reward" in given:
        score = scorer.add_eval(row.step, evaluated.get("eval_loss"), **given)
        epoch |= {"score": score.to_json(), "train_loss": score.metrics.train_loss}
        yield EventType.EVAL, {**evaluated, **epoch}
        yield EventType.CHECKPOINT, {"score": epoch["score"]}
    else:
        yield EventType.EVAL, {**evaluated, **epoch}
