"""Where a run's time went is known of every run, without reading its events again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.analysis.spending import ledger
from engine.job.events import EventType, Phase, Status
from engine.store.migrate import SCHEMA
from engine.store.sqlite import SQLiteStore
from tests.store.test_delivery import empty_store
from tests.store.wire import START, Wire, a_job


def phase(wire: Wire, name: str, lasts: float) -> Wire:
    """A phase that lasts so many seconds; the writer's own second is part of it."""
    wire.write(EventType.PHASE, phase=name)
    wire.seconds += lasts - 1
    return wire


def spent(wire: Wire) -> dict[str, float]:
    with empty_store() as store:
        store.add(a_job())
        for line in wire.lines:
            store.ingest("job-1", line, store.offset("job-1", "events.jsonl"))
        return {name: seconds for name, seconds in store.job("job-1").spent.items() if seconds}


def test_phases_add_up_to_the_time_from_the_first_event_to_the_last() -> None:
    wire = Wire().state(Status.RUNNING)
    phase(phase(phase(wire, "load", 10), "train", 60), "eval", 5)
    wire.state(Status.COMPLETED)
    assert spent(wire) == {"idle": 1, "load": 10, "train": 60, "eval": 5}


def test_what_a_crash_made_worthless_is_told_apart() -> None:
    wire = Wire().state(Status.RUNNING)
    phase(wire, "train", 60)
    wire.checkpoint(10)
    phase(wire, "train", 40)
    wire.write(EventType.RECOVERY, failure="killed", action="again")
    wire.seconds += 9
    phase(wire, "train", 20)
    wire.checkpoint(20)
    wire.state(Status.COMPLETED)
    # A second between each checkpoint and the phase that follows it belongs to the work before.
    assert spent(wire) == {"idle": 11, "train": 81, "crashed": 41}


def test_a_run_that_failed_lost_what_came_after_its_last_checkpoint() -> None:
    wire = Wire().state(Status.RUNNING)
    phase(wire, "train", 30)
    wire.state(Status.FAILED, error="broke")
    assert spent(wire) == {"idle": 1, "crashed": 30}


def test_a_recovery_within_the_attempt_loses_nothing() -> None:
    wire = Wire().state(Status.RUNNING)
    phase(wire, "train", 30)
    wire.write(EventType.RECOVERY, 5, failure="out of memory", action="smaller batches")
    wire.seconds += 10
    wire.state(Status.COMPLETED)
    assert spent(wire) == {"idle": 1, "train": 41}


def test_the_best_checkpoints_moment_is_known() -> None:
    with empty_store() as store:
        store.add(a_job())
        wire = Wire().start().evaluate(10, 2.0).evaluate(20, 1.0).evaluate(30, 1.5)
        store.ingest("job-1", wire.bytes, 0)
        best = next(item for item in store.checkpoints("job-1") if item.is_best)
        assert store.job("job-1").best_at == best.created_at is not None


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["phase", "state", "recovery", "beat"]), st.integers(0, 6)), max_size=20
    )
)
def test_it_agrees_with_the_ledger_that_is_made_from_the_events(steps: list[tuple[str, int]]) -> None:
    wire, phases, states = Wire(), list(Phase), [Status.RUNNING, Status.PAUSED, Status.QUEUED]
    for kind, at in steps:
        if kind == "phase":
            wire.write(EventType.PHASE, phase=phases[at % len(phases)])
        elif kind == "state":
            wire.state(states[at % 3])
        elif kind == "recovery":
            wire.write(EventType.RECOVERY, failure="x", action="y")
        else:
            wire.write(EventType.HEARTBEAT)
        wire.seconds += at
    with empty_store() as store:
        store.add(a_job())
        store.ingest("job-1", wire.bytes, 0)
        told = dict(store.job("job-1").spent)
        crashed = told.pop("crashed", 0)
        wanted = {item.phase: item.seconds for item in ledger(store.events("job-1"), None)}
        assert sum(told.values()) + crashed == pytest.approx(sum(wanted.values()))
        for name, seconds in told.items():
            assert seconds <= wanted.get(name, 0) + 1e-6


def test_a_database_of_the_first_schema_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "podium.db"
    with closing(sqlite3.connect(path)) as db:
        import yoyo

        backend = yoyo.get_backend(f"sqlite:///{path}")
        first = yoyo.read_migrations(str(SCHEMA)).filter(lambda migration: migration.id == "0001_initial")
        backend.apply_migrations(first)
        backend.connection.close()
        db.execute(
            "INSERT INTO local_training_jobs (id, name, status, created_at, best_step) "
            "VALUES ('old', 'old', 'completed', '2026-01-01T00:00:00.000Z', 20)"
        )
        db.execute(
            "INSERT INTO training_checkpoints (job_id, step, attempt, created_at) "
            "VALUES ('old', 20, 1, '2026-11-21T10:00:00.000Z')"
        )
        db.commit()
    store = SQLiteStore(path)
    job = store.job("old")
    assert (dict(job.spent), job.best_at) == ({}, START)
    store.close()
