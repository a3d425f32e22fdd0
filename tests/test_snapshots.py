"""What the screens are given: read from a real store, for the question that they ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.analysis.snapshot import ChartView, Question
from engine.home import Home
from engine.job.events import Event, EventType, Status, encode
from engine.job.placement import PodSpec
from engine.pods.placements import Placement, Placements
from engine.pods.provider import Address
from engine.records import Job
from engine.snapshots import node_logs_of, shell_of, take, totals
from engine.store.sqlite import SQLiteStore
from scorer import CheckpointMetrics, score

NOON = datetime(2026, 11, 21, 12).astimezone()


@pytest.fixture
def place(home: Path) -> Home:
    place = Home(home)
    place.create()
    return place


@pytest.fixture
def store(place: Home) -> Iterator[SQLiteStore]:
    store = SQLiteStore(place.database)
    yield store
    store.close()


def run(
    store: SQLiteStore, job_id: str, *, minutes_ago: float = 60, status: str = "completed", best: int = 20
) -> Job:
    """A run of 40 steps, a minute each, evaluated every 10, whose best is at step `best`."""
    created = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    store.add(
        Job(
            id=job_id, name=job_id, status=Status.QUEUED, created_at=created,
            base_model="tiny", cost_per_hour=6.0, provider="local",
        )
    )  # fmt: skip
    lines, seq = [], 0

    def tell(type: EventType, step: int | None, **data: object) -> None:
        nonlocal seq
        seq += 1
        lines.append(encode(Event(seq, created + timedelta(minutes=step or 0), 1, type, step, data)))

    if status != "queued":
        tell(EventType.STATE, None, status="running")
        tell(EventType.START, 0, total_steps=40, config={})
        for step in range(1, 41):
            tell(EventType.TRAIN, step, loss=4.0 / step, epoch=step / 10)
            if step % 10 == 0:
                loss = 1.0 + abs(step - best) / 20
                parts = score(CheckpointMetrics(step, loss, loss, step <= best)).to_json()
                tell(EventType.EVAL, step, eval_loss=loss, train_loss=loss, score=parts)
                tell(EventType.CHECKPOINT, step, path=f"checkpoints/checkpoint-{step}", bytes=7, score=parts)
        tell(EventType.HEARTBEAT, 40, host={"cpu_percent": 5.0}, gpus=[])
        if status != "running":
            tell(EventType.STATE, 40, status=status)
        store.ingest(job_id, b"".join(lines), 0)
    return store.job(job_id)


def test_an_empty_store_is_an_empty_screen(store: SQLiteStore, place: Home) -> None:
    snapshot = take(
        store, place, Question(job_id="gone", compared=("gone", "too")), {}, trouble="a full disk"
    )
    assert (snapshot.jobs, snapshot.job, snapshot.compared, dict(snapshot.curves)) == ((), None, None, {})
    assert snapshot.totals.live == 0
    assert snapshot.trouble == "a full disk"


def test_a_job_is_shown_with_all_that_is_known_of_it(store: SQLiteStore, place: Home) -> None:
    run(store, "one")
    view = ChartView(metrics=("loss", "eval_loss", "nothing"), low=10, high=30, columns=50)
    detail = take(store, place, Question(job_id="one", view=view), {"one": "live"}).job
    assert detail is not None
    assert detail.job.name == "one"
    assert [item.step for item in detail.checkpoints if item.is_best] == [20]
    assert detail.view == view
    assert [point.x for point in detail.curves["eval_loss"].points] == [10, 20, 30]
    assert detail.curves["nothing"].points == ()
    assert {"loss", "eval_loss"} <= set(detail.metrics)
    assert len(detail.host) == 1
    assert detail.log_path == str(place.job("one").log)
    assert detail.link == "live"
    assert "20" in detail.selection_reason
    assert detail.cost_since_best == pytest.approx(20 / 60 * 6.0)


@pytest.mark.parametrize(
    ("jobs", "shown"),
    [
        ({"old": "completed", "new": "completed"}, "new"),
        ({"live": "running", "new": "completed"}, "live"),
        ({"live": "running", "waiting": "queued", "new": "completed"}, "live"),
        ({"waiting": "queued", "new": "completed"}, "waiting"),
    ],
)
def test_without_a_choice_the_job_at_work_is_shown(
    store: SQLiteStore, place: Home, jobs: dict[str, str], shown: str
) -> None:
    for age, (job_id, status) in enumerate(reversed(jobs.items()), 1):
        run(store, job_id, minutes_ago=60 * age, status=status)
    detail = take(store, place, Question(), {}).job
    assert detail is not None
    assert (detail.job.id, detail.link) == (shown, "ended")


def test_marked_jobs_are_compared_in_their_order_with_their_curves(store: SQLiteStore, place: Home) -> None:
    for job_id, best in (("one", 20), ("two", 30), ("three", 10)):
        run(store, job_id, best=best)
    question = Question(compared=("three", "one", "gone"), reference="one")
    snapshot = take(store, place, question, {})
    assert snapshot.compared is not None
    assert [job.id for job in snapshot.compared.jobs] == ["three", "one"]
    assert snapshot.compared.reference == "one"
    assert list(snapshot.curves) == ["three", "one"]
    assert snapshot.curves["one"]["eval_loss"].total == 4
    alone = take(store, place, Question(compared=("one",)), {})
    assert alone.compared is None
    assert list(alone.curves) == ["one"]


def test_a_checkpoint_that_comes_between_two_snapshots_is_in_the_second(
    store: SQLiteStore, place: Home
) -> None:
    run(store, "one", status="running")
    run(store, "two")
    question = Question(job_id="one", compared=("one", "two"))
    before, again = take(store, place, question, {}), take(store, place, question, {})
    size = store.offset("one", "events.jsonl")
    removal = {"path": "checkpoints/checkpoint-20", "removed": True}
    told = Event(10_000, datetime.now(UTC), 1, EventType.CHECKPOINT, 20, removal)
    store.ingest("one", encode(told), size)
    after = take(store, place, question, {})
    assert before.job is not None
    assert again.job is not None
    assert after.job is not None
    assert before.job.checkpoints == again.job.checkpoints != after.job.checkpoints
    assert after.compared is not None
    assert after.compared.checkpoints["one"] == after.job.checkpoints


def test_hidden_jobs_are_shown_on_demand_and_their_money_is_counted(store: SQLiteStore, place: Home) -> None:
    for job_id in ("kept", "archived", "deleted"):
        run(store, job_id, minutes_ago=0)
    store.act("archive", ["archived"])
    store.act("delete", ["deleted"])
    hidden, shown = (take(store, place, Question(show_hidden=flag), {}) for flag in (False, True))
    assert [job.id for job in hidden.jobs] == ["kept"]
    assert {job.id for job in shown.jobs} == {"kept", "archived", "deleted"}
    assert hidden.totals == shown.totals
    chosen = take(store, place, Question(job_id="deleted"), {}).job
    assert chosen is not None
    assert chosen.log_path == str(place.trashed("deleted") / "train.log")


def job(status: Status, **columns: object) -> Job:
    blank = Job(id="x", name="x", status=status, created_at=NOON)
    return replace(blank, **columns)  # type: ignore[arg-type]


def test_the_totals_count_who_works_and_what_the_day_cost() -> None:
    midnight = NOON.replace(hour=0)
    hour = timedelta(hours=1)
    jobs = [
        # Since yesterday: a third of its time lies in today.
        job(Status.RUNNING, cost_per_hour=2.0, cost_total=36.0, started_at=midnight - 24 * hour),
        job(Status.COMPLETED, cost_per_hour=9.0, cost_total=5.0, started_at=NOON - hour, completed_at=NOON),
        job(Status.FAILED, cost_total=7.0, started_at=midnight - 2 * hour, failed_at=midnight - hour),
        job(Status.QUEUED, cost_per_hour=4.0),
        job(Status.PENDING, cost_per_hour=0.5),
        job(Status.PAUSED, cost_per_hour=1.0, cost_total=1.0, started_at=NOON - hour, updated_at=NOON),
    ]
    found = totals(jobs, NOON)
    assert found.live == 2
    assert found.cost_per_hour == 2.5
    assert found.cost_today == pytest.approx(12.0 + 5.0 + 1.0)


def test_a_rented_machines_shell_is_known_until_it_is_gone(store: SQLiteStore, place: Home) -> None:
    job = replace(run(store, "a"), provider="runpod")
    assert shell_of(place, job) == {}
    placements = Placements(place)
    address = Address("203.0.113.7", 40022)
    kept = placements.keep(Placement(job_id="a", pod=PodSpec(provider="runpod"), pod_id="p", address=address))
    key = str(placements.key("a"))
    assert shell_of(place, job) == {"host": "203.0.113.7", "user": "root", "port": 40022, "key": key}
    placements.keep(replace(kept, gone_at=NOON))
    assert shell_of(place, job) == {}
    (place.machine("a") / "placement.json").write_text("{ broken")
    assert shell_of(place, job) == {}


def test_a_job_of_several_machines_has_a_log_of_each(place: Home) -> None:
    folder = place.job("a")
    several = replace(job(Status.RUNNING), config={"distributed": {"nodes": 3}})
    assert [Path(log).relative_to(folder.path) for log in node_logs_of(folder, several)] == [
        Path("train.log"), Path("nodes/1/train.log"), Path("nodes/2/train.log"),
    ]  # fmt: skip
    for config in ({}, {"distributed": {"nodes": 1}}, {"distributed": {"nodes": "many"}}):
        assert node_logs_of(folder, replace(several, config=config)) == ()
