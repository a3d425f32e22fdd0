"""Heartbeats of a job's other machines: kept beside its own events, shown with those of the first one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.analysis.gpus import idle_seconds, named, utilization
from engine.job.events import Status, stamp
from engine.records import Job
from engine.store.sqlite import SQLiteStore

START = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "podium.db")
    store.add(Job(id="a", name="a", status=Status.RUNNING, created_at=START))
    yield store
    store.close()


def beats(count: int, busy: float, *, begin: datetime = START, first: int = 1) -> bytes:
    lines = []
    for place in range(count):
        data = {"host": {"cpu_percent": 5}, "gpus": [{"index": 0, "utilization_percent": busy}]}
        line = {
            "v": 1, "seq": first + place, "ts": stamp(begin + timedelta(seconds=10 * place)),
            "attempt": 1, "type": "heartbeat", "data": data,
        }  # fmt: skip
        lines.append(json.dumps(line))
    return "".join(f"{line}\n" for line in lines).encode()


def test_every_machines_gpus_stand_in_each_sample_and_events_stay_the_jobs_own(store: SQLiteStore) -> None:
    store.ingest("a", beats(5, 90.0), 0)
    lines = beats(3, 2.0, begin=START + timedelta(seconds=1)) + b"no event at all\n"
    store.ingest_node("a", 1, lines, len(lines))
    store.ingest_node("a", 2, beats(5, 50.0), 7)
    assert store.offset("a", "nodes/1/events.jsonl") == len(lines)
    assert [event.seq for event in store.events("a")] == [1, 2, 3, 4, 5]
    samples = store.host_samples("a")
    assert [[(gpu.node, gpu.utilization_percent) for gpu in sample.gpus] for sample in samples] == [
        [(0, 90.0), (1, 2.0), (2, 50.0)]
    ] * 5
    last = samples[-1].gpus
    assert [named(gpu, last) for gpu in last] == ["0:0", "1:0", "2:0"]
    assert named(last[0], last[:1]) == "0"
    assert utilization(samples[-1], 0, 1) == 2.0
    assert idle_seconds(samples, 0, 1) == 40
    assert idle_seconds(samples, 0) == 0
    # More of the job's own events come after it, and those of a machine that began its file anew.
    later = START + timedelta(seconds=60)
    store.ingest("a", beats(1, 91.0, begin=later, first=6), store.offset("a", "events.jsonl"))
    store.ingest_node("a", 1, beats(1, 33.0, begin=later), 9)
    (newest,) = store.host_samples("a", limit=1)
    assert [gpu.utilization_percent for gpu in newest.gpus] == [91.0, 33.0, 50.0]


def test_a_lost_machines_figures_go_and_a_clock_that_is_ahead_does_no_harm(store: SQLiteStore) -> None:
    store.ingest("a", beats(40, 90.0), 0)
    store.ingest_node("a", 1, beats(3, 20.0), 1)
    store.ingest_node("a", 2, beats(40, 30.0, begin=START + timedelta(hours=3)), 1)
    samples = store.host_samples("a")
    assert [gpu.node for gpu in samples[0].gpus] == [0, 1, 2]
    assert [gpu.node for gpu in samples[-1].gpus] == [0, 2]


def told(seq: int, type: str, second: float, **data: object) -> bytes:
    """One event, so many seconds after the start."""
    moment = stamp(START + timedelta(seconds=second))
    event = {"v": 1, "seq": seq, "ts": moment, "attempt": 1, "type": type, "step": None, "data": data}
    return f"{json.dumps(event)}\n".encode()


def test_another_machines_alerts_and_its_failure_are_told_with_its_number(store: SQLiteStore) -> None:
    own = told(1, "alert", 5, alert="nan", severity="error", message="the loss is NaN")
    store.ingest("a", own, 0)
    lines = (
        beats(2, 10.0)
        + told(3, "state", 1, status="running")
        + told(4, "alert", 2, alert="disk", severity="warning", message="4 GB free")
        + told(5, "state", 9, status="failed", error="nobody came to meet it")
    )
    store.ingest_node("a", 2, lines, len(lines))
    assert [(alert.severity, alert.message) for alert in store.alerts("a")] == [
        ("warning", "node 2: 4 GB free"),
        ("error", "the loss is NaN"),
        ("error", "node 2: failed: nobody came to meet it"),
    ]
    assert [alert.message for alert in store.alerts("a", limit=1)] == [
        "node 2: failed: nobody came to meet it"
    ]
    assert [event.seq for event in store.events("a")] == [1]
    assert len(store.host_samples("a")) == 0  # node 0 has told no figures to join
