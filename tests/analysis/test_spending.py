"""Where a run's money went."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.analysis.spending import ledger
from engine.job.events import Event, EventType

START = datetime(2026, 11, 21, tzinfo=UTC)
RUN: list[tuple[float, EventType, dict[str, Any]]] = [
    (0, EventType.STATE, {"status": "queued"}),
    (60, EventType.STATE, {"status": "running"}),
    (60, EventType.PHASE, {"phase": "load"}),
    (160, EventType.PHASE, {"phase": "train"}),
    (1160, EventType.PHASE, {"phase": "eval"}),
    (1210, EventType.PHASE, {"phase": "train"}),
    (1300, EventType.TRAIN, {"loss": 1.0}),
    (1310, EventType.RECOVERY, {"failure": "killed by SIGKILL"}),
    (1315, EventType.PHASE, {"phase": "load"}),
    (1400, EventType.PHASE, {"phase": "train"}),
    (3400, EventType.STATE, {"status": "completed"}),
]


def events(rows: list[tuple[float, EventType, dict[str, Any]]]) -> list[Event]:
    return [
        Event(seq, START + timedelta(seconds=at), 1, type, None, data)
        for seq, (at, type, data) in enumerate(rows, 1)
    ]


def test_phases_add_up_over_all_attempts_and_the_most_expensive_is_first() -> None:
    found = ledger(events(RUN), 3.6)
    assert [(spent.phase, spent.seconds) for spent in found] == [
        ("train", 3100.0),
        ("load", 185.0),
        ("idle", 65.0),
        ("eval", 50.0),
    ]
    assert sum(spent.seconds for spent in found) == 3400
    assert found[0].dollars == pytest.approx(3.1)


def test_an_unknown_price_is_no_price_and_a_free_machine_costs_nothing() -> None:
    assert {spent.dollars for spent in ledger(events(RUN), None)} == {None}
    assert {spent.dollars for spent in ledger(events(RUN), 0.0)} == {0.0}


def test_a_clock_that_is_off_changes_nothing_and_one_set_back_takes_nothing_away() -> None:
    shifted = [(at - 36_000, type, data) for at, type, data in RUN]
    assert ledger(events(shifted), 1.0) == ledger(events(RUN), 1.0)
    back = [(at - (7200 if at > 1300 else 0), type, data) for at, type, data in RUN]
    assert sum(spent.seconds for spent in ledger(events(back), 1.0)) == 3400 - 10


@pytest.mark.parametrize("rows", [[], RUN[:1]])
def test_a_run_that_has_not_begun_has_spent_nothing(
    rows: list[tuple[float, EventType, dict[str, Any]]],
) -> None:
    assert ledger(events(rows), 1.0) == ()
