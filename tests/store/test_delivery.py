"""However the bytes arrive, the tables end up the same; whatever a pod writes, nothing breaks."""

from __future__ import annotations

import json
import math
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.job.events import EventType, Phase, Status
from engine.store.migrate import SCHEMA
from engine.store.sqlite import SQLiteStore
from tests.quick import quick
from tests.store.wire import Wire, a_job

TABLES = (
    "local_training_metrics", "training_curves", "training_curve_names", "training_checkpoints",
    "training_predictions", "training_events", "training_bad_lines", "stream_offsets",
)  # fmt: skip

_FOLDER = tempfile.TemporaryDirectory(dir=quick())
_EMPTY = Path(_FOLDER.name) / "empty.db"


@contextmanager
def empty_store() -> Iterator[SQLiteStore]:
    """A store in memory's stead: a fresh copy of an empty database, quicker than migrating one."""
    if not _EMPTY.exists():
        with closing(sqlite3.connect(_EMPTY)) as db:
            for migration in sorted(SCHEMA.glob("*.sql")):
                db.executescript(migration.read_text())
    with tempfile.TemporaryDirectory(dir=_FOLDER.name) as folder:
        path = Path(folder) / "podium.db"
        path.write_bytes(_EMPTY.read_bytes())
        store = SQLiteStore(path)
        try:
            yield store
        finally:
            store.close()


def contents(store: SQLiteStore) -> dict[str, list[Any]]:
    """All rows of all tables that follow from events."""
    with store._database.reading() as db:
        found = {name: db.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall() for name in TABLES}
        columns = [row[1] for row in db.execute("PRAGMA table_info(local_training_jobs)")]
        # The laptop's own: when the job was added, and how often its row was changed.
        kept = [name for name in columns if name not in ("revision", "updated_at")]
        row = db.execute(f"SELECT {', '.join(kept)} FROM local_training_jobs").fetchone()
        found["job"] = list(zip(kept, row, strict=True))
    return found


finite = st.floats(-1e6, 1e6)
numbers = st.one_of(finite, st.sampled_from(["NaN", "Infinity", "-Infinity"]), st.integers(-(10**6), 10**6))
losses = st.one_of(st.floats(0.01, 10), st.just("NaN"))


@st.composite
def wires(draw: st.DrawFn) -> Wire:
    """A run with resumes that go back, evals, checkpoints, heartbeats, pauses and lines that are torn."""
    wire = Wire()
    step = 0
    for _ in range(draw(st.integers(1, 40))):
        wire.seconds += draw(st.sampled_from([0, 0, 1, 30, -5, 200_000]))
        match draw(st.integers(0, 11)):
            case 0:
                wire.attempt += 1
                step = draw(st.integers(0, step))
                if draw(st.booleans()):
                    wire.start(
                        step, draw(st.one_of(st.none(), st.integers(0, 60))), config={"a": {"b": step}}
                    )
            case 1 | 2 | 3 | 4:
                step = max(0, step + draw(st.integers(-1, 3)))
                extra = {"grad_norm": draw(numbers)} if draw(st.booleans()) else {}
                wire.train(step, draw(losses), epoch=step / 7, tokens=step * 10, **extra)
            case 5 | 6:
                wire.evaluate(step, draw(st.floats(0.1, 5)), draw(st.floats(0.1, 5)), epoch=step / 7)
            case 7:
                path = f"checkpoints/checkpoint-{draw(st.integers(0, step + 1))}"
                wire.write(EventType.CHECKPOINT, step, path=path, removed=True)
            case 8:
                wire.state(draw(st.sampled_from(Status)), error="because", exit_code=1)
            case 9:
                gpus = [{"index": 0, "utilization_percent": draw(finite), "memory_used_gb": draw(numbers)}]
                wire.write(EventType.HEARTBEAT, host={"cpu_percent": draw(numbers)}, gpus=gpus)
            case 10:
                wire.raw(draw(st.sampled_from([b"", b"{", b"null", b"\xff" * 9])))
            case _:
                wire.write(EventType.PHASE, phase=draw(st.sampled_from(Phase)))
                wire.write(EventType.PREDICTION, step, sample_index=draw(st.integers(0, 2)), prediction="x")
    if len(wire.lines) > 2 and draw(st.booleans()):
        at = draw(st.integers(0, len(wire.lines) - 1))
        wire.lines.insert(at, draw(st.sampled_from(wire.lines)))
    return wire


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(wires(), st.data())
def test_chopped_repeated_and_overlapping_deliveries_give_the_same_tables(
    wire: Wire, data: st.DataObject
) -> None:
    with empty_store() as whole, empty_store() as chopped:
        whole.add(a_job())
        whole.ingest("job-1", wire.bytes, 0)
        chopped.add(a_job())
        ends = [0]
        for line in wire.lines:
            ends.append(ends[-1] + len(line))
        stored = 0
        while stored < ends[-1]:
            first = data.draw(st.sampled_from([end for end in ends if end <= stored]))
            last = data.draw(st.integers(first, min(ends[-1], stored + 400)))
            if data.draw(st.integers(0, 3)) == 0:
                last = ends[ends.index(stored) + 1]
            stored = chopped.ingest("job-1", wire.bytes[first:last], first).offset
        assert contents(chopped) == contents(whole)


def test_a_zero_below_zero_is_zero_however_it_was_delivered() -> None:
    wire = Wire()
    wire.train(0, 1.0, learning_rate=-0.0)
    wire.train(1, 0.5)
    with empty_store() as whole, empty_store() as chopped:
        for store in (whole, chopped):
            store.add(a_job())
        whole.ingest("job-1", wire.bytes, 0)
        chopped.ingest("job-1", wire.lines[0], 0)
        chopped.ingest("job-1", wire.lines[1], len(wire.lines[0]))
        assert contents(chopped) == contents(whole)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(wires(), st.integers(1, 40))
def test_curves_agree_with_the_rows_that_are_left(wire: Wire, columns: int) -> None:
    with empty_store() as store:
        store.add(a_job())
        for at in range(0, len(wire.lines), 3):
            store.ingest("job-1", b"".join(wire.lines[at : at + 3]), sum(map(len, wire.lines[:at])))
        rows = store.metric_rows("job-1")
        for metric, kind, column in (("loss", "train", "train_loss"), ("eval_loss", "eval", "eval_loss")):
            left = [row for row in rows if row["kind"] == kind and row[column] is not None]
            good = [row[column] for row in left if math.isfinite(row[column])]
            curve = store.curve("job-1", metric, columns=columns)
            assert curve.total == len(left)
            assert sum(point.count for point in curve.points) == len(good)
            assert math.isclose(
                sum(point.mean * point.count for point in curve.points), sum(good), abs_tol=1e-9, rel_tol=1e-9
            )
            assert [row["step"] for row in left] == sorted({row["step"] for row in left})
            if good:
                assert min(point.low for point in curve.points) == min(good)
                assert max(point.high for point in curve.points) == max(good)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(wires())
def test_a_line_means_the_same_however_its_writer_put_it(wire: Wire) -> None:
    other = Wire()
    for line in wire.lines:
        try:
            other.raw(json.dumps(dict(sorted(json.loads(line).items()))).encode())
        except (ValueError, AttributeError):
            other.raw(line.removesuffix(b"\n"))
    with empty_store() as ours, empty_store() as theirs:
        for store, lines in ((ours, wire.bytes), (theirs, other.bytes)):
            store.add(a_job())
            store.ingest("job-1", lines, 0)
        assert theirs.events("job-1") == ours.events("job-1")
        found = [contents(store) for store in (ours, theirs)]
        for tables in found:
            for name in ("training_events", "training_bad_lines", "stream_offsets"):
                del tables[name]
        assert found[0] == found[1]


@pytest.mark.parametrize(
    ("data", "meant"),
    [
        ('{"loss":1e999,"a":{"b":-1e999}}', {"loss": "Infinity", "a": {"b": "-Infinity"}}),
        (f'{{"loss":{"9" * 400}.5}}', {"loss": "Infinity"}),
        ('{"loss":NaN}', {"loss": "NaN"}),
        ('{"loss":1},"step":2,"data":{"loss":3}', {"loss": 3}),
        ('{"loss":"\\ud800\\u0000"}', {"loss": "\ud800\0"}),
        ('{"loss":1}}', None),
        ('{"loss":1} x', None),
        ('{"loss":1', None),
    ],
)
def test_a_line_that_is_nearly_as_ours_is_read_for_what_it_says(data: str, meant: object) -> None:
    line = (
        f'{{"v":1,"seq":1,"ts":"2026-11-21T10:00:00.000Z","attempt":1,"type":"train","step":1,"data":{data}}}'
    )
    with empty_store() as store:
        store.add(a_job())
        done = store.ingest("job-1", line.encode() + b"\n", 0)
        assert (done.events, done.bad_lines) == ((0, 1) if meant is None else (1, 0))
        assert [event.data for event in store.events("job-1")] == ([] if meant is None else [meant])
        with store._database.reading() as db:
            stored = db.execute("SELECT data FROM training_events").fetchall()
            assert all(json.loads(row[0], parse_constant=lambda name: 1 / 0) == meant for row in stored)


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8),
        st.sampled_from(["NaN", "Infinity", "1e999", "\x00", "\ud800", "../../etc", "running", -1, 2**63]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
KEYS = (
    "loss", "eval_loss", "train_loss", "epoch", "tokens", "score", "path", "removed", "status", "error",
    "phase", "config", "total_steps", "total_epochs", "samples", "host", "gpus", "verdict", "evidence",
    "alert", "severity", "message", "sample_index", "prompt", "validation_errors", "bytes", "sha256",
    "training", "exit_code", "metrics",
)  # fmt: skip
hostile_data = st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=6)), json_values, max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from(EventType), st.text(max_size=5)),
            st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 9)),
            hostile_data,
        ),
        max_size=6,
    )
)
def test_no_payload_breaks_the_store_or_costs_the_events_around_it(
    events: list[tuple[str, int | None, Any]],
) -> None:
    with empty_store() as store:
        store.add(a_job())
        wire = Wire().train(1, 1.0)
        for type, step, data in events:
            wire.write(
                type, step, **{"x" if key in ("self", "type", "step") else key: data[key] for key in data}
            )
        wire.train(2**40, 0.5)
        done = store.ingest("job-1", wire.bytes, 0)
        assert done.events + done.bad_lines == len(wire.lines)
        assert store.events("job-1", limit=1)[0].data["loss"] == 0.5
        everything_is_readable(store)


def everything_is_readable(store: SQLiteStore) -> None:
    """No read trips over what is stored."""
    assert store.job("job-1") is not None
    for job in store.jobs(archived=True, deleted=True):
        assert dict(job.config) is not None
        assert dict(job.metadata) is not None
    for metric in store.metrics("job-1"):
        store.curve("job-1", metric, columns=3)
        store.curve("job-1", metric, axis="tokens", low=0, high=10)
    store.metric_rows("job-1")
    store.checkpoints("job-1")
    store.host_samples("job-1")
    store.alerts()
    store.trend("job-1")


def test_a_line_nested_beyond_reason_is_a_bad_line() -> None:
    with empty_store() as store:
        store.add(a_job())
        for depth in (40, 900, 5000, 100_000):
            wire = Wire().train(1, 1.0)
            deep = b'{"x":' * depth + b"1" + b"}" * depth
            wire.raw(
                b'{"v":1,"seq":9,"ts":"2026-11-21T10:00:00Z","attempt":1,"type":"start","data":' + deep + b"}"
            )
            at = store.offset("job-1", "events.jsonl")
            assert store.ingest("job-1", wire.bytes, at).bad_lines == 1


def test_paths_that_lead_out_of_the_folder_are_not_kept() -> None:
    with empty_store() as store:
        store.add(a_job())
        wire = Wire()
        for step, path in enumerate(
            ("/etc", "../x", "checkpoints/../../x", "a\nb", "", 7, "checkpoints/checkpoint-6")
        ):
            wire.checkpoint(step, path=path)
        store.ingest("job-1", wire.bytes, 0)
        assert [item.path for item in store.checkpoints("job-1")] == [None] * 6 + ["checkpoints/checkpoint-6"]


def test_no_more_names_than_a_job_may_have_become_curves() -> None:
    with empty_store() as store:
        store.add(a_job())
        wire = Wire()
        for step in range(1, 50):
            wire.train(step, 1.0, **{f"m{step}_{at}": 1.0 for at in range(20)}, **{"bad name\x1b[2J": 1.0})
        store.ingest("job-1", wire.bytes, 0)
        assert len(store.metrics("job-1")) == 200
        assert store.curve("job-1", "loss").total == 49


def test_a_configuration_that_grows_without_end_is_not_taken_over() -> None:
    with empty_store() as store:
        store.add(a_job(config={"training": {"seed": 1}}))
        wire = Wire()
        for at in range(4):
            wire.start(config={f"k{at}": "x" * 200_000}, **{f"fact{at}": "y" * 200_000})
        store.ingest("job-1", wire.bytes, 0)
        job = store.job("job-1")
        assert set(job.config) == {"training", "k0"}
        assert "fact0" in job.metadata
        assert "fact1" not in job.metadata


def test_bad_lines_are_kept_for_looking_at_up_to_a_limit() -> None:
    with empty_store() as store:
        store.add(a_job())
        wire = Wire()
        for _ in range(1200):
            wire.raw(b"\xffgarbage" * 1000)
        store.ingest("job-1", wire.bytes, 0)
        assert store.job("job-1").bad_lines == 1200
        with store._database.reading() as db:
            kept, longest = db.execute(
                "SELECT count(*), max(length(line)) FROM training_bad_lines"
            ).fetchone()
        assert (kept, longest) == (1000, 4096)
