"""Every policy, as everybody: the table in docs/HOSTED.md is what must be."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.hosted.conftest import acting

Db = psycopg.Connection[Any]
OWNER, MATE, OTHER = (str(uuid.UUID(int=at)) for at in (1, 2, 3))
JOB, OTHERS_JOB, TEAM = (str(uuid.UUID(int=at)) for at in (11, 12, 21))
TOKEN, OTHERS_TOKEN = "token-of-the-job", "token-of-another"
ACTORS = {
    "anon": ("anon", "", ""),
    "other pod": ("anon", "", OTHERS_TOKEN),
    "pod": ("anon", "", TOKEN),
    "other user": ("authenticated", OTHER, ""),
    "mate": ("authenticated", MATE, ""),
    "owner": ("authenticated", OWNER, ""),
}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def event(seq: int, type: str = "train", step: int = 10, **data: Any) -> dict[str, Any]:
    return {
        "seq": seq,
        "ts": "2026-11-21T10:00:00.000Z",
        "attempt": 1,
        "type": type,
        "step": step,
        "data": data,
    }


@pytest.fixture
def team(hosted: str) -> str:
    """A project with a job of a team, with rows of every kind, and one of somebody else's."""
    with psycopg.connect(hosted) as db:
        db.execute("INSERT INTO training_teams (id, name, owner_id) VALUES (%s, 'us', %s)", (TEAM, OWNER))
        db.execute("INSERT INTO training_team_members VALUES (%s, %s)", (TEAM, MATE))
        for job, user, name in ((JOB, OWNER, TEAM), (OTHERS_JOB, OTHER, None)):
            db.execute(
                "INSERT INTO local_training_jobs (id, user_id, team_id, name) VALUES (%s, %s, %s, 'a')",
                (job, user, name),
            )
        for job, token in ((JOB, TOKEN), (OTHERS_JOB, OTHERS_TOKEN)):
            db.execute(
                "INSERT INTO training_job_tokens (job_id, token_sha256, expires_at) "
                "VALUES (%s, %s, now() + interval '1 hour')",
                (job, sha256(token)),
            )
        events = [
            event(1, loss=2.0),
            event(2, "checkpoint", path="checkpoints/checkpoint-10"),
            event(3, "prediction", sample_index=0, prompt="p"),
        ]
        db.execute("SELECT training_take_events(%s, %s)", (JOB, json.dumps(events)))
        db.execute(
            "INSERT INTO training_comparisons (id, user_id, team_id, name, job_ids) "
            "VALUES ('c', %s, %s, 'ours', '[]')",
            (OWNER, TEAM),
        )
    return hosted


def seen(table: str, column: str = "job_id", value: str = JOB) -> Callable[[Db, str, str], bool]:
    return lambda db, user, token: bool(
        db.execute(f"SELECT 1 FROM {table} WHERE {column} = %s", (value,)).fetchall()
    )


def changed(query: str, *values: Any) -> Callable[[Db, str, str], bool]:
    """Did the statement change a row? `:user` stands for who acts."""
    return lambda db, user, token: (
        db.execute(
            query,
            tuple(user or OTHER if value == ":user" else value for value in values),
        ).rowcount
        > 0
    )


def report(db: Db, user: str, token: str) -> bool:
    found = db.execute("SELECT report_events(%s, %s, %s)", (JOB, token, json.dumps([event(9)]))).fetchone()
    return found == (9,)


def revoke(db: Db, user: str, token: str) -> bool:
    db.execute("SELECT revoke_job_tokens(%s)", (JOB,))
    db.execute("RESET ROLE")
    return db.execute(
        "SELECT revoked_at IS NOT NULL FROM training_job_tokens WHERE job_id = %s", (JOB,)
    ).fetchone() == (True,)


_PURGE = "DELETE FROM local_training_jobs WHERE id = %s"


def purge_deleted(db: Db, user: str, token: str) -> bool:
    role = db.execute("SELECT current_role").fetchone()
    assert role is not None
    db.execute("RESET ROLE")
    db.execute("UPDATE local_training_jobs SET deleted_at = now() WHERE id = %s", (JOB,))
    db.execute(f"SET LOCAL ROLE {role[0]}".encode())
    return db.execute(_PURGE, (JOB,)).rowcount > 0


DEEDS: dict[str, Callable[[Db, str, str], bool]] = {
    "read the job": seen("local_training_jobs", "id"),
    "read its events": seen("training_events"),
    "read its metrics": seen("local_training_metrics"),
    "read its predictions": seen("training_predictions"),
    "read its checkpoints": seen("training_checkpoints"),
    "read its tokens": seen("training_job_tokens"),
    "report its events": report,
    "push its events": lambda db, user, token: (
        db.execute("SELECT push_events(%s, %s)", (JOB, json.dumps([event(9)]))).fetchone() == (9,)
    ),
    "insert an event past the functions": changed(
        "INSERT INTO training_events (job_id, seq, ts, type) VALUES (%s, 99, now(), 'train')", JOB
    ),
    "insert a metric past the functions": changed(
        "INSERT INTO local_training_metrics (job_id, kind, step) VALUES (%s, 'train', 99)", JOB
    ),
    "rename the job": changed("UPDATE local_training_jobs SET name = 'b' WHERE id = %s", JOB),
    "give the job away": changed("UPDATE local_training_jobs SET user_id = %s WHERE id = %s", OTHER, JOB),
    "change when it was made": changed(
        "UPDATE local_training_jobs SET created_at = now() - interval '9 days' WHERE id = %s", JOB
    ),
    "make a job of one's own": changed(
        "INSERT INTO local_training_jobs (user_id, name) VALUES (%s, 'mine')", ":user"
    ),
    "make a job in another's name": changed(
        "INSERT INTO local_training_jobs (user_id, name) VALUES (%s, 'theirs')", str(uuid.UUID(int=99))
    ),
    "put a job into the team": changed(
        "INSERT INTO local_training_jobs (user_id, team_id, name) VALUES (%s, %s, 'ours')", ":user", TEAM
    ),
    "remove the job while it is not in the trash": changed(_PURGE, JOB),
    "remove the job from the trash": purge_deleted,
    "grant a token for the job": lambda db, user, token: (
        db.execute("SELECT grant_job_token(%s, %s, 1)", (JOB, sha256("new"))).fetchone() is not None
    ),
    "revoke its tokens": revoke,
    "read a comparison of the team": seen("training_comparisons", "id", "c"),
    "change that comparison": changed("UPDATE training_comparisons SET notes = 'x' WHERE id = 'c'"),
    "put a comparison into the team": lambda db, user, token: changed(
        "INSERT INTO training_comparisons (id, user_id, team_id, name, job_ids) "
        "VALUES ('n', %s, %s, 'n', '[]')",
        user or OTHER,
        TEAM,
    )(db, user, token),
    "read the team": seen("training_teams", "id", TEAM),
    "add a member to the team": changed("INSERT INTO training_team_members VALUES (%s, %s)", TEAM, OTHER),
}


def matrix() -> Iterator[tuple[str, str, bool]]:
    """The table of the page: what, who, may they?"""
    page = (Path(__file__).parents[2] / "docs" / "HOSTED.md").read_text(encoding="utf-8")
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("|")
    ]
    for what, *cells in rows:
        for who, cell in zip(head[1:], cells, strict=True):
            assert cell in ("yes", "no")
            yield what, who, cell == "yes"


def test_the_page_names_every_deed_and_every_actor() -> None:
    told = list(matrix())
    assert {what for what, _, _ in told} == set(DEEDS)
    assert {who for _, who, _ in told} == set(ACTORS)


@pytest.mark.parametrize("what", sorted(DEEDS))
def test_who_may(team: str, what: str) -> None:
    wanted = {who: may for deed, who, may in matrix() if deed == what}
    found = {}
    for who, (role, user, token) in ACTORS.items():
        with acting(team, role, user) as db:
            try:
                found[who] = DEEDS[what](db, user, token)
            except psycopg.Error as error:
                # Refused, not broken.
                assert re.search(r"denied|policy|refused|not your job|fixed|foreign key", str(error)), error
                found[who] = False
            db.rollback()
    assert found == wanted


@pytest.mark.parametrize(
    "change",
    ["revoked_at = now()", "expires_at = now() - interval '1 second'", "token_sha256 = repeat('0', 64)"],
)
def test_a_token_that_was_revoked_expired_or_is_another_is_refused(team: str, change: str) -> None:
    with psycopg.connect(team) as db:
        db.execute(f"UPDATE training_job_tokens SET {change} WHERE job_id = %s".encode(), (JOB,))
    with acting(team, "anon") as db, pytest.raises(psycopg.Error, match="token is refused") as error:
        report(db, "", TOKEN)
    assert error.value.sqlstate == "PT401"


def test_what_a_pod_reports_changes_progress_and_nothing_else(team: str) -> None:
    columns = "id, user_id, team_id, name, created_at, config, metadata, tags, note, archived_at, deleted_at"
    query = f"SELECT {columns}, cost_per_hour FROM local_training_jobs WHERE id = %s".encode()
    with psycopg.connect(team) as db:
        before = db.execute(query, (JOB,)).fetchone()
    evil: dict[str, Any] = {
        "name": "evil",
        "user_id": OTHER,
        "tags": ["x"],
        "cost_per_hour": 0,
        "config": {"x": 1},
    }
    events = [
        event(10, "start", **evil),
        event(11, "state", status="failed", error="x", **evil),
        event(12, "job", **evil),
    ]
    with acting(team, "anon") as db:
        db.execute("SELECT report_events(%s, %s, %s)", (JOB, TOKEN, json.dumps(events)))
    with psycopg.connect(team) as db:
        assert db.execute(query, (JOB,)).fetchone() == before
        assert db.execute("SELECT status FROM local_training_jobs WHERE id = %s", (JOB,)).fetchone() == (
            "failed",
        )


def reported(team: str, *events: dict[str, Any]) -> None:
    with acting(team, "anon") as db:
        db.execute("SELECT report_events(%s, %s, %s)", (JOB, TOKEN, json.dumps(events)))


def test_figures_that_are_added_to_a_step_join_its_row(team: str) -> None:
    reported(
        team,
        event(10, step=20, loss=1.5, epoch=2, lr=0.1),
        event(11, "metric", step=20, kind="train", loss_ptr=0.25, grad_norm=3),
        event(12, "metric", step=20, kind="more", loss_ptr=0.5, f1="NaN"),
        event(13, "metric", step=5, kind="eval", eval_loss=2.5, epoch=1),
    )
    reported(team, event(14, "metric", step=20, f2=0.75))
    with psycopg.connect(team) as db:
        found = db.execute(
            "SELECT kind, step, epoch, train_loss, eval_loss, grad_norm, extra FROM local_training_metrics "
            "WHERE step <> 10 ORDER BY step"
        ).fetchall()
    more = {"lr": 0.1, "loss_ptr": 0.5, "f1": "NaN", "f2": 0.75}
    assert found == [("eval", 5, 1, None, 2.5, None, {}), ("train", 20, 2, 1.5, None, 3, more)]


def test_an_event_that_comes_late_is_kept_and_takes_the_job_back_to_nothing(team: str) -> None:
    reported(team, event(10, step=90, loss=0.5), event(12, "state", status="completed"))
    reported(team, event(9, "state", status="running"), event(11, step=50, loss=2.0))
    with psycopg.connect(team) as db:
        assert db.execute(
            "SELECT status, current_step, loss FROM local_training_jobs WHERE id = %s", (JOB,)
        ).fetchone() == ("completed", 90, 0.5)
        assert db.execute("SELECT count(*) FROM training_events WHERE seq >= 9").fetchone() == (4,)
        assert db.execute("SELECT train_loss FROM local_training_metrics WHERE step = 50").fetchone() == (2,)
