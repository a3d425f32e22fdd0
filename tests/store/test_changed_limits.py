"""Limits that were changed while the job ran are the job's from then on."""

from __future__ import annotations

from tests.store.test_delivery import empty_store
from tests.store.wire import NAN, Wire, a_job

SPEC = {"limits": {"max_hours": 3, "max_cost_usd": 5, "stall_minutes": 30}, "name": "a"}


def limits(wire: Wire) -> dict[str, object]:
    with empty_store() as store:
        store.add(a_job(config=SPEC))
        store.ingest("job-1", wire.bytes, 0)
        return dict(store.job("job-1").config["limits"])


def test_they_count_for_later_attempts_whose_spec_is_the_old_one() -> None:
    wire = Wire().start(config=SPEC)
    wire.write("alert", alert="limits_changed", severity="info", message="", max_cost_usd=8.5)
    wire.attempt = 2
    wire.start(config=SPEC)
    assert limits(wire) == {"max_hours": 3, "max_cost_usd": 8.5, "stall_minutes": 30}


def test_what_is_no_limit_changes_nothing() -> None:
    wire = Wire().start(config=SPEC)
    wire.write("alert", alert="limits_changed", max_cost_usd=-1, max_hours=NAN, stall_minutes=1)
    wire.write("alert", alert="another", max_cost_usd=100)
    wire.write("alert", alert="limits_changed", max_cost_usd="x", max_hours=[])
    assert limits(wire) == SPEC["limits"]
