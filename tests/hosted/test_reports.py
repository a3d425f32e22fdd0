"""A real supervisor reports to a real PostgreSQL through a server that fails in every way that servers do."""

from __future__ import annotations

import hashlib
import json
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.job.events import EventType, EventWriter
from engine.supervisor.outbox import Outbox, Pace
from engine.supervisor.sinks import Hosted
from tests import standin
from tests.emulators.receiver import Got, Receiver, Reply
from tests.hosted.conftest import acting
from tests.processes import contiguous, until
from tests.supervisor.conftest import Bench, end

TOKEN = "a-token-that-nobody-may-see-0123456789"
KEY = "sb_publishable_planted_0123456789"
HURRY = Pace(idle=0.02, retry=0.02, longest=0.1, refused=0.1, timeout=1.0)


class Project:
    """A hosted store behind a REST server as PostgREST is one, with one user's jobs."""

    def __init__(self, url: str) -> None:
        self.url, self.user = url, str(uuid.uuid4())
        self._db: psycopg.Connection[Any] | None = None

    def job(self, token: str = TOKEN) -> str:
        job_id = str(uuid.uuid4())
        with acting(self.url, "authenticated", self.user) as db:
            db.execute(
                "INSERT INTO local_training_jobs (id, user_id, name, status)"
                " VALUES (%s, %s, 'run', 'pending')",
                (job_id, self.user),
            )
        self.grant(job_id, token)
        return job_id

    def grant(self, job_id: str, token: str) -> None:
        with acting(self.url, "authenticated", self.user) as db:
            sha = hashlib.sha256(token.encode()).hexdigest()
            db.execute("SELECT grant_job_token(%s, %s, 24)", (job_id, sha))

    def revoke(self, job_id: str) -> None:
        with acting(self.url, "authenticated", self.user) as db:
            db.execute("SELECT revoke_job_tokens(%s)", (job_id,))

    def seqs(self, job_id: str) -> list[int]:
        with psycopg.connect(self.url) as db:
            rows = db.execute("SELECT seq FROM training_events WHERE job_id = %s ORDER BY seq", (job_id,))
            return [seq for (seq,) in rows]

    def status(self, job_id: str) -> str:
        with psycopg.connect(self.url) as db:
            found = db.execute("SELECT status FROM local_training_jobs WHERE id = %s", (job_id,)).fetchone()
            assert found is not None
            return str(found[0])

    def call(self, got: Got) -> Reply:
        """POST /rest/v1/rpc/report_events."""
        assert got.path == "/rest/v1/rpc/report_events"
        if got.headers.get("apikey") != KEY:
            return Reply(401)
        told = json.loads(got.body)
        try:
            with acting(self.url, "anon") as db:
                row = db.execute(
                    "SELECT report_events(%s, %s, %s::jsonb)",
                    (told["job_id"], told["job_token"], json.dumps(told["events"])),
                ).fetchone()
        except psycopg.Error as error:
            state = error.sqlstate or "XX000"
            return Reply(
                int(state[2:]) if state.startswith("PT") else 400 if state[:2] in ("22", "23") else 500
            )
        assert row is not None
        return Reply(body=str(row[0]).encode())


@pytest.fixture
def project(hosted: str) -> Project:
    return Project(hosted)


@pytest.fixture
def rest(project: Project) -> Iterator[Receiver]:
    with Receiver(project.call) as rest:
        yield rest


@pytest.fixture
def bench(
    tmp_path: Path, project: Project, rest: Receiver, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """A job of that user whose supervisors report there."""
    bench = Bench(tmp_path / "jobs" / project.job())
    monkeypatch.setenv("PODIUM_REPORT_URL", rest.url)
    monkeypatch.setenv("PODIUM_REPORT_KEY", KEY)
    monkeypatch.setenv("PODIUM_JOB_TOKEN", TOKEN)
    yield bench
    end(bench)


def whole(bench: Bench, project: Project) -> bool:
    """Is each event there, once?"""
    return project.seqs(bench.folder.path.name) == [event.seq for event in bench.events()]


def standings(bench: Bench) -> list[dict[str, Any]]:
    return [event.data["outbox"] for event in bench.events(EventType.HEARTBEAT)]


def test_a_run_is_reported_whole_while_the_server_fails_in_every_way(
    bench: Bench, project: Project, rest: Receiver
) -> None:
    rest.next.extend(
        [
            Reply(500, before=True),
            Reply(503, headers={"Retry-After": "0"}),
            Reply(hang_up=True),
            Reply(late=3.0),
            Reply(429, before=True, headers={"Retry-After": "0.1"}),
            Reply(302, before=True, headers={"Location": f"{rest.url}/elsewhere"}),
        ]
    )
    running = bench.start(standin.argv(steps=10_000, delay=0.05, every=50))
    bench.await_step(20)
    until(
        lambda: not rest.next and any(told["state"] == "ok" for told in standings(bench)[-3:]), "all failures"
    )
    rest.down()
    until(
        lambda: standings(bench)[-1]["state"] == "down" and standings(bench)[-1]["behind"] > 10, "a long wait"
    )
    rest.up()
    bench.folder.request("stop")
    assert running.wait(60) == 0

    assert contiguous(bench.events())
    assert whole(bench, project)
    assert project.status(bench.folder.path.name) == "cancelled"
    assert {told["state"] for told in standings(bench)} >= {"ok", "down"}
    # A redirection is not followed: nobody else gets the token.
    assert {got.path for got in rest.got} == {"/rest/v1/rpc/report_events"}
    for file in bench.folder.path.rglob("*"):
        if file.is_file():
            assert TOKEN.encode() not in file.read_bytes(), file
            assert KEY.encode() not in file.read_bytes(), file


def test_neither_the_trainer_nor_any_command_line_gets_the_secrets(bench: Bench, project: Project) -> None:
    running = bench.start(standin.argv(steps=1000, delay=0.05))
    bench.await_step(1)
    trainer = Path(f"/proc/{bench.trainer_pid()}")
    environment = (trainer / "environ").read_bytes()
    for secret in (TOKEN, KEY, "PODIUM_JOB_TOKEN"):
        assert secret.encode() not in environment
        for process in (trainer, Path(f"/proc/{running.pid}")):
            assert secret.encode() not in (process / "cmdline").read_bytes()
    bench.folder.request("stop")
    assert running.wait(60) == 0
    assert whole(bench, project)


def test_a_revoked_token_is_told_once_and_a_new_one_goes_on_where_the_old_one_ended(
    bench: Bench, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.folder.path.name
    running = bench.start(standin.argv(steps=1000, delay=0.03))
    until(lambda: len(project.seqs(job_id)) > 5, "first reports")
    project.revoke(job_id)
    until(lambda: "reports_refused" in bench.alerts() and standings(bench)[-1]["behind"] > 20, "a refusal")
    reported = project.seqs(job_id)
    bench.await_step((bench.events(EventType.TRAIN)[-1].step or 0) + 5)
    assert project.seqs(job_id) == reported
    assert bench.alerts().count("reports_refused") == 1
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 0

    fresh = f"{TOKEN}-fresh"
    project.grant(job_id, fresh)
    monkeypatch.setenv("PODIUM_JOB_TOKEN", fresh)
    bench.run(standin.argv(steps=1, delay=0.01))
    assert whole(bench, project)


def test_a_killed_supervisors_successor_reports_the_rest(
    bench: Bench, project: Project, rest: Receiver
) -> None:
    job_id = bench.folder.path.name
    running = bench.start(standin.argv(steps=60, delay=0.02))
    until(lambda: len(project.seqs(job_id)) > 5, "first reports")
    rest.always = Reply(hang_up=True)  # each is taken, and nobody learns of it
    bench.await_step(30)
    running.kill()
    running.wait()
    rest.always = None
    assert bench.run(standin.argv(steps=60, delay=0.001))
    assert whole(bench, project)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """An events file with so many events."""

    def write(count: int, folder: Path = tmp_path, **data: Any) -> Path:
        path = folder / "events.jsonl"
        with EventWriter(path) as events:
            for step in range(count):
                events.append(EventType.TRAIN, step, loss=1.0, **data)
        return path

    return write


def outbox(path: Path, project: Project, rest: Receiver, token: str = TOKEN, **options: Any) -> Outbox:
    sink = Hosted(rest.url, KEY, options.pop("job_id", None) or project.job(), token, 1.0)
    tell = options.pop("tell", lambda type, data: None)
    return Outbox(path, sink, options.pop("state", path.parent / "outbox.json"), HURRY, tell)


def drained(outbox: Outbox) -> None:
    for _ in range(1000):
        if outbox.step() and not outbox.behind:
            return
    raise AssertionError(f"still {outbox.behind} behind")


def test_a_token_of_another_job_reports_nothing(
    project: Project, rest: Receiver, written: Callable[..., Path]
) -> None:
    theirs, mine = project.job("their-token-0123456789"), project.job()
    sending = outbox(written(5), project, rest, job_id=theirs)
    assert sending.step() >= HURRY.refused
    assert sending.standing()["state"] == "refused" and sending.behind == 5
    assert project.seqs(theirs) == project.seqs(mine) == []


def test_an_event_that_no_database_takes_is_left_out_alone(
    project: Project, rest: Receiver, written: Callable[..., Path]
) -> None:
    path, told = written(40), []
    with path.open("ab") as file:
        file.write(
            b'{"v":1,"seq":41,"ts":"0001-01-01T00:00:00Z","attempt":1,"type":"x","step":1,"data":{"a":1e999999}}\n'
        )
        file.write(b"no event at all\n")
        file.write(
            b'{"v":1,"seq":42,"ts":"2026-01-01T00:00:00Z","attempt":9000000000,"type":"x","data":{}}\n'
        )
    with EventWriter(path) as events:
        events.append(EventType.PREDICTION, 1, sample_index=0, prompt="a\x00b\ud800", prediction="c")
    job_id = project.job()
    sending = outbox(path, project, rest, job_id=job_id, tell=lambda type, data: told.append(data))
    drained(sending)
    assert project.seqs(job_id) == [seq for seq in range(1, 44) if seq != 42]
    assert sending.standing()["skipped"] == 1
    assert [data["alert"] for data in told] == ["report_skipped"]


def test_a_server_that_takes_nothing_at_all_loses_no_event(
    project: Project, rest: Receiver, written: Callable[..., Path]
) -> None:
    sending = outbox(written(1), project, rest)
    rest.always = Reply(400, before=True)
    sending.step()
    assert sending.standing()["state"] == "refused" and sending.behind == 1
    rest.always = None
    drained(sending)


def test_a_full_disk_costs_repetition_and_no_event(
    project: Project, rest: Receiver, small_disk: Path, written: Callable[..., Path]
) -> None:
    path, job_id = written(1200, note="x" * 100), project.job()
    with (
        pytest.raises(OSError, match="No space"),
        (small_disk / "ballast").open("wb", buffering=0) as ballast,
    ):
        while True:
            ballast.write(bytes(1 << 12))
    state = small_disk / "outbox.json"
    for _ in range(2):  # the second one knows nothing of the first
        drained(outbox(path, project, rest, job_id=job_id, state=state))
    assert project.seqs(job_id) == list(range(1, 1201))
    assert not state.exists()
    (small_disk / "ballast").unlink()
    drained(outbox(path, project, rest, job_id=job_id, state=state))
    calls = len(rest.got)
    drained(outbox(path, project, rest, job_id=job_id, state=state))
    assert len(rest.got) == calls


def test_a_backlog_of_a_hundred_thousand_goes_in_batches_through_a_server_that_fails_now_and_then(
    project: Project, rest: Receiver, tmp_path: Path
) -> None:
    begin = '{{"v":1,"seq":{0},"ts":"2026-11-21T10:00:00.000Z","attempt":1,'
    line = begin + '"type":"train","step":{0},"data":{{"loss":1.5}}}}\n'
    path, job_id = tmp_path / "events.jsonl", project.job()
    path.write_text("".join(line.format(seq) for seq in range(1, 100_001)))
    rest.next.extend([Reply(), Reply(hang_up=True), Reply(), Reply(500, before=True), Reply(500)])
    drained(outbox(path, project, rest, job_id=job_id))
    assert project.seqs(job_id) == list(range(1, 100_001))
    assert max(len(got.body) for got in rest.got) < 2 << 20
    assert max(len(got.json()["events"]) for got in rest.got) <= 500
