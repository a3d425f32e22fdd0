"""The laptop's share of a run's ledger: what it did, what nobody saw, and that both add up to the bill."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from engine.controller import phases
from engine.job.events import Status
from engine.records import Job
from engine.store.sqlite import SQLiteStore


@pytest.fixture
def job(store: SQLiteStore) -> Job:
    made = datetime.now(UTC)
    return store.add(Job(id="a", name="a", status=Status.PENDING, created_at=made, cost_per_hour=2.0))


def test_a_phase_lasts_until_the_next_and_is_noted_once(store: SQLiteStore, job: Job) -> None:
    for phase in ("provision", "provision", "upload", ""):
        phases.mark(store, job.id, phase)
    marks = phases.marks_of(store, job.id)
    assert [mark.phase for mark in marks] == ["provision", "upload", ""]
    spent = {item.phase: item for item in phases.spent(store, job, marks[-1].at + timedelta(hours=9))}
    assert spent["provision"].seconds == pytest.approx((marks[1].at - marks[0].at).total_seconds())
    assert set(store.job(job.id).laptop_spent) == set(spent)


def test_what_a_dead_laptop_did_not_see_is_idle_and_the_phases_add_up_to_the_bill(
    store: SQLiteStore, job: Job
) -> None:
    phases.mark(store, job.id, "provision")
    phases.mark(store, job.id, "upload")
    # Killed here; an hour later somebody opens the app, and the machine ends an hour after that.
    phases.cut_off(store, job.id)
    begun = phases.marks_of(store, job.id)[0].at
    gone = begun + timedelta(hours=2)
    phases.settle(store, job, begun, gone)
    spent = phases.spent(store, job, gone)
    assert spent[0].phase == "idle"
    assert sum(item.seconds for item in spent) == pytest.approx(7200)
    assert sum(item.dollars or 0 for item in spent) == pytest.approx(4.0)
    assert store.job(job.id).laptop_spent["idle"] == pytest.approx(spent[0].seconds)


def test_a_machine_that_was_never_had_cost_nothing(store: SQLiteStore, job: Job) -> None:
    phases.settle(store, job, None, datetime.now(UTC))
    assert phases.spent(store, job) == ()
