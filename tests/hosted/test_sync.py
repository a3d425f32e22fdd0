"""Machines that share runs: what one does another sees; nothing is lost or doubled, whatever fails."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.errors import BadInput
from engine.job.events import Status
from engine.records import SavedComparison
from engine.store.hosted import secrets
from engine.store.sqlite import SQLiteStore
from engine.store.supabase import SupabaseStore
from tests.hosted.conftest import Cloud
from tests.store.wire import START, Wire, a_job, a_run

Machine = Callable[..., SupabaseStore]
JOB = "9f0c1f36-6d56-4a52-9b07-0c2f3f5a7d11"


@pytest.fixture
def machine(cloud: Cloud, tmp_path: Path, blank: Path) -> Iterator[Machine]:
    """Open the store of a machine by its name; in step only when told, unless asked otherwise."""
    opened: list[SupabaseStore] = []

    def switch_on(name: str, email: str = "ada@example.com", **options: Any) -> SupabaseStore:
        project = cloud.sign_in(email)
        if not (tmp_path / f"{name}.db").exists():
            shutil.copy(blank, tmp_path / f"{name}.db")
        opened.append(SupabaseStore(tmp_path / f"{name}.db", project, **{"live": False, **options}))
        return opened[-1]

    yield switch_on
    for store in opened:
        store.close()


def soon(truth: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not (found := truth()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return found


def team_of_two(cloud: Cloud) -> str:
    """A team of who is signed in by default and of bob: its id."""
    team = str(uuid.uuid4())
    ada, bob = cloud.sign_in().user_id, cloud.sign_in("bob@example.com").user_id
    with psycopg.connect(cloud.url) as db:
        db.execute("INSERT INTO training_teams (id, name, owner_id) VALUES (%s, 't', %s)", (team, ada))
        db.execute("INSERT INTO training_team_members VALUES (%s, %s)", (team, bob))
    return team


def in_step(*stores: SupabaseStore) -> None:
    for store in stores:
        store.sync()
        assert store.state.standing == "synced", store.standing


# ---- what others see


def test_a_second_machine_sees_a_run_as_it_is_on_the_first(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    first.add(a_job(JOB, tags=("x",), config={"training": {"seed": 0}}, metadata={"note": "why"}))
    first.ingest(JOB, a_run().bytes, 0)
    in_step(first, second)
    here, there = first.job(JOB), second.job(JOB)
    assert {
        name: getattr(there, name) for name in there.__slots__ if name not in ("user_id", "updated_at")
    } == {name: getattr(here, name) for name in here.__slots__ if name not in ("user_id", "updated_at")}
    assert second.events(JOB) == first.events(JOB)
    assert second.curve(JOB, "loss") == first.curve(JOB, "loss")
    assert [item.step for item in second.checkpoints(JOB)] == [10, 20, 30]
    assert (first.elsewhere(JOB), second.elsewhere(JOB)) == (False, True)


def test_a_run_that_goes_on_is_seen_as_it_goes(machine: Machine) -> None:
    first, second = machine("first", live=True, pace=0.1), machine("second", live=True, pace=0.1)
    told: list[frozenset[str]] = []
    second.subscribe(told.append)
    wire = Wire().state(Status.RUNNING).start()
    first.add(a_job(JOB))
    first.ingest(JOB, wire.bytes, 0)
    soon(lambda: [job.status for job in second.jobs()] == [Status.RUNNING])
    before = len(wire.bytes)
    wire.train(1, 3.5).train(2, 3.25)
    first.ingest(JOB, wire.bytes[before:], before)
    soon(lambda: [point.mean for point in second.curve(JOB, "loss").points] == [3.5, 3.25])
    assert frozenset({JOB}) in told


def test_a_number_that_is_none_stays_so_on_both_sides(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    first.add(a_job(JOB))
    first.ingest(JOB, Wire().state(Status.RUNNING).start().train(1, "NaN").bytes, 0)
    in_step(first, second, first)
    assert first.job(JOB).loss != first.job(JOB).loss
    assert second.curve(JOB, "loss").bad == first.curve(JOB, "loss").bad == (1.0,)


def test_text_that_postgresql_takes_for_none_spoils_no_batch(machine: Machine, cloud: Cloud) -> None:
    first = machine("first")
    first.add(a_job(JOB, name="nul\0 and \ud800"))
    first.ingest(JOB, Wire().start().write("told", text="a\0b\ud800", big=10**400).train(1, 2.0).bytes, 0)
    in_step(first)
    assert cloud.rows("SELECT seq FROM training_events ORDER BY seq") == [(1,), (2,), (3,)]


def test_an_old_run_without_events_is_shown_as_it_was_with_its_curves(machine: Machine, cloud: Cloud) -> None:
    user = cloud.sign_in().user_id
    with psycopg.connect(cloud.url) as db:
        db.execute("ALTER TABLE local_training_jobs DISABLE TRIGGER training_job_changed")
        for number in range(3):
            db.execute(
                "INSERT INTO local_training_jobs (id, user_id, name, status, loss, current_step) "
                "VALUES (%s, %s, %s, 'completed', 0.25, 7)",
                (JOB[:-1] + str(number), user, None if number else "old"),
            )
        db.execute("ALTER TABLE local_training_jobs ENABLE TRIGGER training_job_changed")
        old = JOB[:-1] + "0"
        for step, loss in ((1, 3.0), (1, 3.0), (2, 2.0)):
            db.execute(
                "INSERT INTO local_training_metrics (job_id, step, epoch, train_loss) VALUES (%s, %s, 1, %s)",
                (old, step, loss),
            )
        db.execute("INSERT INTO local_training_metrics (job_id, step, eval_loss) VALUES (%s, 2, 2.5)", (old,))
        db.execute(
            "INSERT INTO training_predictions (job_id, step, sample_index, prompt, prediction) "
            "VALUES (%s, 2, 0, 'p', 'q')",
            (old,),
        )
    store = machine("first")
    in_step(store)
    assert sorted(job.name for job in store.jobs()) == [JOB[:8], JOB[:8], "old"]
    assert [(point.x, point.mean) for point in store.curve(old, "loss").points] == [(1.0, 3.0), (2.0, 2.0)]
    assert [point.mean for point in store.curve(old, "eval_loss").points] == [2.5]
    assert [row["prediction"] for row in store.predictions(old)] == ["q"]
    job = store.job(old)
    assert (job.status, job.loss, job.current_step, job.best_step) == (Status.COMPLETED, 0.25, 7, None)


def test_more_runs_than_an_answer_holds_all_come(machine: Machine, cloud: Cloud) -> None:
    user = cloud.sign_in().user_id
    with psycopg.connect(cloud.url) as db:
        db.execute(
            "INSERT INTO local_training_jobs (id, user_id, name, status, number) "
            "SELECT gen_random_uuid(), %s, 'run', 'completed', n FROM generate_series(1, 2345) AS n",
            (user,),
        )
    store = machine("first")
    said: list[str] = []
    store.subscribe(lambda jobs: said.append(store.standing))
    in_step(store)
    assert sorted(job.number for job in store.jobs()) == list(range(1, 2346))
    assert "Hosted store: 2,000 runs taken in so far." in said


# ---- two writers


def test_two_writers_lose_no_word(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    first.add(a_job(JOB, status=Status.COMPLETED, tags=("old", "x")))
    in_step(first, second)
    first.annotate([JOB], add=("mine",), drop=("old",), note="one", name="new name")
    second.annotate([JOB], add=("yours",), drop=("x",), note="two")
    second.act("archive", [JOB])
    in_step(first, second, first)
    for store in (first, second):
        job = store.job(JOB)
        assert sorted(job.tags) == ["mine", "yours"]
        assert sorted(str(job.metadata["note"]).split("\n")) == ["one", "two"]
        assert (job.name, job.archived) == ("new name", True)


def test_machines_that_write_at_the_same_time_end_up_the_same(machine: Machine) -> None:
    stores = [machine(name, live=True, pace=0.05) for name in ("first", "second", "third")]
    stores[0].add(a_job(JOB, status=Status.COMPLETED))
    for store in stores:
        soon(lambda store=store: [job.id for job in store.jobs()] == [JOB])
    for turn in range(5):
        for at, store in enumerate(stores):
            store.annotate([JOB], add=(f"tag-{at}-{turn}",))
    wanted = sorted(f"tag-{at}-{turn}" for at in range(3) for turn in range(5))
    for store in stores:
        soon(lambda store=store: sorted(store.job(JOB).tags) == wanted)


def test_a_laptop_that_was_away_takes_nothing_back_that_the_pod_reported(
    machine: Machine, cloud: Cloud
) -> None:
    first = machine("first")
    wire = a_run(20)
    lines = wire.bytes.splitlines(keepends=True)
    first.add(a_job(JOB))
    first.ingest(JOB, b"".join(lines[:8]), 0)
    in_step(first)
    # The pod goes on by itself, as its own relay would report it.
    events = [{**json.loads(line)} for line in lines]
    with psycopg.connect(cloud.url) as db:
        db.execute("SELECT training_take_events(%s, %s)", (JOB, json.dumps(events)))
    first.annotate([JOB], add=("seen",))
    in_step(first)
    assert cloud.rows("SELECT status, current_step, tags FROM local_training_jobs") == [
        ("completed", 20, ["seen"])
    ]
    assert first.job(JOB).status == Status.RUNNING
    first.ingest(JOB, wire.bytes[first.offset(JOB, "events.jsonl") :], first.offset(JOB, "events.jsonl"))
    in_step(first)
    assert cloud.rows("SELECT count(*), count(DISTINCT seq) FROM training_events") == [(len(lines),) * 2]
    assert first.job(JOB).status == Status.COMPLETED


def test_a_note_that_one_clears_and_another_writes_on_stays(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    first.add(a_job(JOB, status=Status.COMPLETED, metadata={"note": "draft"}))
    in_step(first, second)
    first.annotate([JOB], note="")
    second.annotate([JOB], note="draft, to be shown on Monday")
    in_step(second, first, second)
    for store in (first, second):
        assert store.job(JOB).metadata["note"] == "draft, to be shown on Monday"


def test_a_run_that_goes_on_is_not_put_out_of_sight_by_who_did_not_know(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    wire = Wire().state(Status.RUNNING).start().state(Status.PAUSED)
    first.add(a_job(JOB))
    first.ingest(JOB, wire.bytes, 0)
    in_step(first, second)
    paused = len(wire.bytes)
    first.ingest(JOB, wire.state(Status.RUNNING).bytes[paused:], paused)
    second.act("delete", [JOB])
    in_step(second, first, second)
    for store in (first, second):
        assert [(job.id, job.deleted_at) for job in store.jobs()] == [(JOB, None)]
    ended = len(wire.bytes)
    first.ingest(JOB, wire.state(Status.COMPLETED).bytes[ended:], ended)
    in_step(first, second)
    second.act("delete", [JOB])
    in_step(second, first)
    assert first.jobs() == []


@pytest.mark.parametrize("lost", [True, False])
def test_what_is_purged_between_two_looks_does_not_come_back(
    machine: Machine, cloud: Cloud, lost: bool
) -> None:
    first, second = machine("first"), machine("second")
    first.add(a_job(JOB, status=Status.COMPLETED))
    if lost:
        # It is there, and nobody here knows.
        with cloud.gateway.failing("lose", method="POST", path="local_training_jobs", times=1):
            first.sync()
    else:
        in_step(first, second)
        second.annotate([JOB], add=("mine",))
        in_step(second)
    first.act("delete", [JOB])
    first.forget([JOB])
    in_step(first, first)
    assert cloud.rows("SELECT id FROM local_training_jobs") == []
    assert first.jobs(archived=True, deleted=True) == []


def test_what_was_said_of_a_run_that_another_machine_purged_troubles_nobody(
    machine: Machine, cloud: Cloud
) -> None:
    first, second = machine("first"), machine("second")
    left = [JOB, str(uuid.uuid4())]
    for job in left:
        first.add(a_job(job, status=Status.COMPLETED))
    in_step(first, second)
    # The last one, too.
    while left:
        job = left.pop()
        second.annotate([job], add=("late",))
        first.act("delete", [job])
        first.forget([job])
        in_step(first, second, second)
        for store in (first, second):
            assert [item.id for item in store.jobs(archived=True, deleted=True)] == left
        assert cloud.rows("SELECT id::text FROM local_training_jobs") == [(item,) for item in left]


def test_a_run_that_another_machine_got_out_of_the_trash_is_not_purged(
    machine: Machine, cloud: Cloud
) -> None:
    first, second = machine("first"), machine("second")
    first.add(a_job(JOB, status=Status.COMPLETED))
    first.ingest(JOB, a_run().bytes, 0)
    first.act("delete", [JOB])
    in_step(first, second)
    second.act("restore", [JOB])
    in_step(second)
    first.forget([JOB])
    in_step(first, second)
    for store in (first, second):
        assert [job.id for job in store.jobs()] == [JOB]
        assert len(store.events(JOB)) == 39


def test_a_run_that_is_sent_while_somebody_asks_what_is_there_is_not_let_go(
    machine: Machine, cloud: Cloud
) -> None:
    store, command = machine("first"), machine("first")
    store.add(a_job(str(uuid.uuid4()), status=Status.COMPLETED))
    in_step(store)
    store._sync._due["purged"] = 0
    ids = "/rest/v1/local_training_jobs?select=id&"

    def slow(method: str, path: str) -> Any:
        if path.startswith(ids) and command.jobs()[0].id != JOB:
            # What it is answered was so before this run came.
            answer = json.dumps([{"id": job.id} for job in command.jobs()]).encode()
            command.add(a_job(JOB, status=Status.COMPLETED, created_at=START.replace(year=2027)))
            command.sync()
            return answer
        return None

    cloud.gateway.fault = slow
    in_step(store)
    assert [job.id for job in store.jobs()][:1] == [JOB]
    store.annotate([JOB], add=("sent",))
    in_step(store)
    assert ([*cloud.rows("SELECT tags FROM local_training_jobs WHERE id = %s", JOB)]) == [(["sent"],)]


def test_runs_that_two_laptops_numbered_alike_while_apart_get_numbers_of_their_own(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    runs = [str(uuid.uuid4()) for _ in range(4)]
    for store, run in zip((first, first, second, second), runs, strict=True):
        store.add(a_job(run, status=Status.COMPLETED))
    in_step(first, second, first)
    for store in (first, second):
        assert [store.job(run).number for run in runs] == [1, 2, 3, 4]
    assert second.add(a_job(JOB)).number == 5


def test_what_was_said_of_a_mates_run_without_the_hosted_store_stays_here_and_troubles_nobody(
    machine: Machine, cloud: Cloud, tmp_path: Path
) -> None:
    team = team_of_two(cloud)
    first, second = machine("first"), machine("second", "bob@example.com")
    first.add(a_job(JOB, status=Status.COMPLETED))
    in_step(first)
    with psycopg.connect(cloud.url) as db:
        db.execute("UPDATE local_training_jobs SET team_id = %s", (team,))
    in_step(second)
    alone = SQLiteStore(tmp_path / "second.db")
    alone.annotate([JOB], add=("bobs",))
    alone.close()
    in_step(second)
    assert second.job(JOB).tags == ("bobs",)
    # Ada signs in on Bob's machine: her run is still followed from her own.
    third = machine("second")
    in_step(third)
    assert third.elsewhere(JOB)
    # And it is not Eve's to share, who has nothing to do with it.
    assert machine("second", "eve@example.com").share([JOB]) == 0
    assert cloud.rows("SELECT tags FROM local_training_jobs") == [([],)]


def test_a_comparison_outlives_one_of_its_runs(machine: Machine, cloud: Cloud) -> None:
    first, second = machine("first"), machine("second")
    runs = (JOB, str(uuid.uuid4()))
    for job in runs:
        first.add(a_job(job, status=Status.COMPLETED))
    first.save_comparison(SavedComparison("c", "pair", runs, START, runs[0], "why"))
    in_step(first, second)
    first.act("delete", [JOB])
    first.forget([JOB])
    for store in (first, second, first):
        store._sync._due |= {"comparisons": 0, "purged": 0}
        in_step(store)
    assert cloud.rows("SELECT id FROM training_comparisons") == [("c",)]
    assert [item.name for item in second.comparisons()] == ["pair"]


def test_of_a_comparison_that_two_change_at_once_both_changes_stay(machine: Machine, cloud: Cloud) -> None:
    first, second = machine("first"), machine("second")
    first.add(a_job(JOB, status=Status.COMPLETED))
    both = (first, second)
    for id in "cd":
        first.save_comparison(SavedComparison(id, "pair", (JOB,), START, JOB, "why"))
    in_step(*both)
    first.save_comparison(SavedComparison("c", "renamed", (JOB,), START, JOB, "why"))
    second.save_comparison(SavedComparison("c", "pair", (JOB,), START, JOB, "why: it is cheaper"))
    first.save_comparison(SavedComparison("d", "changed", (JOB,), START, JOB, "why"))
    second.delete_comparison("d")
    for store in (*both, first):
        store._sync._due["comparisons"] = 0
        in_step(store)
    for store in both:
        found = {item.id: (item.name, item.notes) for item in store.comparisons()}
        assert found == {"c": ("renamed", "why: it is cheaper"), "d": ("changed", "why")}


def test_comparisons_are_shared_changed_and_forgotten(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    runs = (JOB, str(uuid.uuid4()))
    for job in runs:
        first.add(a_job(job, status=Status.COMPLETED))
    first.save_comparison(SavedComparison("c", "pair", runs, START, runs[0], "why"))
    in_step(first, second)
    assert second.comparisons() == first.comparisons()
    second.save_comparison(SavedComparison("c", "renamed", runs, START, runs[0], "why"))
    second._sync._due["comparisons"] = first._sync._due["comparisons"] = 0
    in_step(second, first)
    assert [item.name for item in first.comparisons()] == ["renamed"]
    first.delete_comparison("c")
    first._sync._due["comparisons"] = second._sync._due["comparisons"] = 0
    in_step(first, second)
    assert second.comparisons() == []


def test_a_purged_run_is_gone_everywhere(machine: Machine, cloud: Cloud) -> None:
    first, second = machine("first"), machine("second")
    other = str(uuid.uuid4())
    for job in (JOB, other):
        first.add(a_job(job, status=Status.COMPLETED))
    in_step(first, second)
    first.act("delete", [JOB])
    first.forget([JOB])
    second._sync._due["purged"] = 0
    in_step(first, second)
    assert cloud.rows("SELECT id::text FROM local_training_jobs") == [(other,)]
    assert [job.id for job in second.jobs(archived=True, deleted=True)] == [other]


def test_a_mates_run_is_shown_and_not_changed(machine: Machine, cloud: Cloud) -> None:
    team = team_of_two(cloud)
    first, second = machine("first"), machine("second", "bob@example.com")
    first.add(a_job(JOB, status=Status.COMPLETED))
    in_step(first, second)
    assert second.jobs() == []
    with psycopg.connect(cloud.url) as db:
        db.execute("UPDATE local_training_jobs SET team_id = %s", (team,))
    in_step(second)
    assert [job.id for job in second.jobs()] == [JOB]
    for deed in (
        lambda: second.annotate([JOB], name="mine"),
        lambda: second.act("archive", [JOB]),
        lambda: second.forget([JOB]),
    ):
        with pytest.raises(BadInput, match="mate"):
            deed()


# ---- faults


def test_with_the_server_away_all_works_and_is_caught_up_later(machine: Machine, cloud: Cloud) -> None:
    store = machine("first", live=True, pace=0.05, longest_wait=0.2)
    soon(lambda: store.state.standing == "synced")
    with cloud.gateway.failing("drop"):
        store.add(a_job(JOB))
        store.ingest(JOB, a_run().bytes, 0)
        soon(lambda: "offline" in store.standing and "39 events wait here" in store.standing)
        assert "\n" not in store.standing
        assert store.job(JOB).status == Status.COMPLETED
    soon(lambda: store.state.standing == "synced" and not store.state.waiting)
    assert store.standing == ""
    assert cloud.rows("SELECT count(*), max(seq) FROM training_events") == [(39, 39)]


@pytest.mark.parametrize("fault", [500, 503, 429, "drop"])
def test_a_failing_server_is_offline_and_nothing_is_lost(machine: Machine, cloud: Cloud, fault: Any) -> None:
    store = machine("first")
    store.add(a_job(JOB))
    store.ingest(JOB, a_run().bytes, 0)
    with cloud.gateway.failing(fault, path="push_events"):
        store.sync()
        assert store.state.standing == "offline"
    in_step(store)
    assert cloud.rows("SELECT count(*) FROM training_events") == [(39,)]


@pytest.mark.parametrize(
    "method, path", [("POST", "local_training_jobs"), ("POST", "push_events"), ("PATCH", "")]
)
def test_an_answer_that_got_lost_after_the_write_doubles_nothing(
    machine: Machine, cloud: Cloud, method: str, path: str
) -> None:
    first, second = machine("first"), machine("second")
    first.add(a_job(JOB, status=Status.COMPLETED))
    if method == "PATCH":
        in_step(first)
    first.annotate([JOB], add=("x",), note="n")
    first.ingest(JOB, Wire().start().train(1, 2.0).bytes, 0)
    with cloud.gateway.failing("lose", method=method, path=path, times=1) as lost:
        first.sync()
        assert lost
        assert first.state.standing == "offline"
    first.annotate([JOB], add=("y",))
    in_step(first, second)
    assert cloud.rows("SELECT tags, note FROM local_training_jobs") == [(["x", "y"], "n")]
    assert cloud.rows("SELECT seq FROM training_events ORDER BY seq") == [(1,), (2,)]
    assert second.job(JOB).tags == first.job(JOB).tags == ("x", "y")


@pytest.mark.parametrize(
    "answer",
    [b"<html>sign in to the hotel</html>", b"[{}]", b'[{"id": null, "revision": "x"}]', b"7", b'["x"]'],
)
def test_an_answer_that_nobody_can_read_is_said_in_a_line(
    machine: Machine, cloud: Cloud, answer: bytes
) -> None:
    store = machine("first")
    store.add(a_job(JOB))
    in_step(store)
    with cloud.gateway.failing(answer, method="GET"):
        store.sync()
        assert store.state.standing in ("refused", "offline")
        assert store.standing.startswith("Hosted store: ") and "\n" not in store.standing
    in_step(store)
    assert [job.id for job in store.jobs()] == [JOB]


def test_a_session_that_is_refused_in_mid_run_is_renewed_once(machine: Machine, cloud: Cloud) -> None:
    cloud.sign_in(anew=True)
    store = machine("first")
    in_step(store)
    store.add(a_job(JOB))
    with cloud.gateway.failing(401, path="/rest/", times=1) as refused:
        in_step(store)
    assert len(refused) == 1
    renewals = [path for _, path in cloud.gateway.asked if "grant_type=refresh_token" in path]
    assert renewals
    assert cloud.rows("SELECT count(*) FROM local_training_jobs") == [(1,)]


def test_a_session_that_ended_is_said_and_what_was_done_meanwhile_goes_after_the_next(
    machine: Machine, cloud: Cloud
) -> None:
    cloud.sign_in(anew=True)
    store = machine("first", live=True, pace=0.05)
    soon(lambda: store.state.standing == "synced")
    with cloud.gateway.failing(401, path="/rest/"):
        store.add(a_job(JOB))
        store.ingest(JOB, a_run().bytes, 0)
        soon(lambda: store.state.standing == "signed out" and store.state.waiting)
        assert "podium store sign-in" in store.standing
    store.close()
    cloud.sign_in(anew=True)
    again = machine("first")
    in_step(again)
    assert cloud.rows("SELECT count(*) FROM training_events") == [(39,)]


def test_a_clock_that_is_hours_ahead_renews_a_session_no_more_often(
    machine: Machine, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.sign_in(anew=True)
    ahead = time.time() + 7200
    monkeypatch.setattr("engine.store.hosted.account.time.time", lambda: ahead)
    store = machine("first")
    cloud.gateway.asked.clear()
    for tag in "abc":
        store.add(a_job(str(uuid.uuid4()), tags=(tag,)))
        in_step(store)
    assert len([path for _, path in cloud.gateway.asked if "grant_type=refresh_token" in path]) == 1


def test_a_schema_that_is_older_than_this_podium_is_said_with_what_to_do(
    machine: Machine, cloud: Cloud
) -> None:
    store = machine("first")
    rename = "ALTER TABLE local_training_jobs RENAME COLUMN {} TO {}"
    with psycopg.connect(cloud.url, autocommit=True) as db:
        db.execute(rename.format("bad_lines", "worse_lines").encode())
        try:
            store.sync()
            assert "podium store migrate" in store.standing and "\n" not in store.standing
        finally:
            db.execute(rename.format("worse_lines", "bad_lines").encode())
    in_step(store)


def test_without_a_session_nothing_is_sent_and_all_works(machine: Machine, cloud: Cloud) -> None:
    store = machine("first")
    secrets.forget(cloud.sign_in().account)
    store.add(a_job(JOB))
    store.sync()
    assert store.state.standing == "signed out"
    assert [job.id for job in store.jobs()] == [JOB]
    assert cloud.rows("SELECT count(*) FROM local_training_jobs") == [(0,)]


def test_who_dies_between_two_batches_goes_on_where_it_was(
    machine: Machine, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.hosted.push.BATCH", 10)
    store = machine("first")
    store.add(a_job(JOB))
    store.ingest(JOB, a_run().bytes, 0)
    sent = 0

    def third(method: str, path: str) -> Any:
        nonlocal sent
        sent += "push_events" in path
        return "lose" if sent == 3 else None

    cloud.gateway.fault = third
    store.sync()
    store.close()
    cloud.gateway.fault = lambda method, path: None
    cloud.gateway.asked.clear()
    in_step(machine("first"))
    pushes = [path for _, path in cloud.gateway.asked if "push_events" in path]
    assert len(pushes) == 2
    assert cloud.rows("SELECT count(*), count(DISTINCT seq) FROM training_events") == [(39, 39)]


def test_a_store_of_this_machine_alone_becomes_one_that_is_shared(machine: Machine, tmp_path: Path) -> None:
    alone = SQLiteStore(tmp_path / "first.db")
    alone.add(a_job(JOB, status=Status.COMPLETED))
    alone.ingest(JOB, a_run().bytes, 0)
    alone.close()
    first, second = machine("first"), machine("second")
    in_step(first, second)
    assert second.jobs() == []
    assert first.share([JOB]) == 1
    assert first.share([JOB]) == 0
    in_step(first, second)
    assert second.events(JOB) == first.events(JOB)
