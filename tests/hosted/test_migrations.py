"""The schema goes onto a fresh project and onto one that has the old tables; the check tells what stands."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest

from engine.errors import BadInput, StoreError
from engine.store.hosted.migrate import SCHEMA, TABLES, check, migrate, script
from tests.hosted.conftest import acting

OLD = """
CREATE TABLE local_training_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid, name text NOT NULL, model_name text,
    status text DEFAULT 'queued', job_token text, config jsonb, loss double precision,
    created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE local_training_metrics (
    id bigserial PRIMARY KEY, job_id uuid REFERENCES local_training_jobs (id) ON DELETE CASCADE, step integer,
    epoch integer, train_loss double precision, created_at timestamptz DEFAULT now());
CREATE TABLE training_predictions (
    id bigserial PRIMARY KEY, job_id uuid, user_id uuid, epoch integer, step integer, sample_index integer,
    prompt text, ground_truth text, prediction text, created_at timestamptz NOT NULL DEFAULT now());
ALTER TABLE local_training_jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY anyone ON local_training_jobs FOR ALL USING (job_token IS NOT NULL);
GRANT ALL ON local_training_jobs, local_training_metrics, training_predictions TO anon, authenticated;
"""
USER = "11111111-1111-1111-1111-111111111111"


def everything(url: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as db:
        return db.execute(query, values).fetchall()


def test_a_fresh_project_gets_all_and_a_second_time_nothing(project: str) -> None:
    assert migrate(project) == sorted(path.stem for path in SCHEMA.glob("*.sql"))
    assert migrate(project) == []
    assert [item for item in check(project) if not item.ok] == []


def test_the_script_for_the_editor_does_the_same_however_often(project: str) -> None:
    for _ in range(2):
        with psycopg.connect(project) as db:
            db.execute(script().encode())
    assert [item.what for item in check(project) if not item.ok] == ["the schema is current"]


def test_old_tables_keep_their_rows_and_are_shown(project: str) -> None:
    with psycopg.connect(project) as db:
        db.execute(OLD.encode())
        job = str(uuid.uuid4())
        db.execute(
            "INSERT INTO local_training_jobs (id, user_id, name, job_token, loss) "
            "VALUES (%s, %s, 'old', 't', 0.5)",
            (job, USER),
        )
        for _ in range(2):
            # The old system doubled rows on a retry.
            db.execute(
                "INSERT INTO local_training_metrics (job_id, step, train_loss) VALUES (%s, 10, 0.6)", (job,)
            )
    migrate(project)
    assert [item for item in check(project) if not item.ok] == []
    with acting(project, "authenticated", USER) as db:
        assert db.execute("SELECT name, loss, best_step FROM local_training_jobs").fetchall() == [
            ("old", 0.5, None)
        ]
        assert db.execute("SELECT count(*) FROM local_training_metrics").fetchall() == [(2,)]


def test_the_old_policy_that_admitted_any_writer_is_gone(project: str) -> None:
    with psycopg.connect(project) as db:
        db.execute(OLD.encode())
    migrate(project)
    assert everything(project, "SELECT policyname FROM pg_policies WHERE policyname = 'anyone'") == []


def test_the_check_tells_of_each_thing_that_was_undone(hosted: str) -> None:
    with psycopg.connect(hosted) as db:
        db.execute("GRANT SELECT ON training_events TO anon")
        db.execute("ALTER TABLE training_job_tokens DISABLE ROW LEVEL SECURITY")
        db.execute("GRANT EXECUTE ON FUNCTION push_events(uuid, jsonb) TO anon")
        db.execute("CREATE POLICY anybody ON local_training_jobs FOR ALL TO public USING (true)")
        db.execute("DROP POLICY jobs_are_purged ON local_training_jobs")
    broken = {item.what: item.advice for item in check(hosted) if not item.ok}
    assert set(broken) == {
        "training_job_tokens is there, with row-level security",
        "all policies are there, and no others",
        "a pod has no grant on any table",
        "a pod may call report_events and nothing else",
    }
    policies = broken["all policies are there, and no others"]
    assert "DROP POLICY anybody ON local_training_jobs." in policies and "jobs_are_purged: paste" in policies
    assert "REVOKE ALL ON training_events" in broken["a pod has no grant on any table"]


def test_an_empty_project_is_told_what_it_lacks(project: str) -> None:
    missing = [item for item in check(project) if not item.ok]
    assert len(missing) >= len(TABLES)
    assert {item.advice for item in missing if "row-level" in item.what} == {"podium store migrate."}


def test_a_server_that_is_not_there_is_said_without_its_password() -> None:
    with pytest.raises(StoreError) as error:
        migrate("postgresql://owner:hunter2@127.0.0.1:1/x")
    assert "hunter2" not in str(error.value)
    with pytest.raises(BadInput, match="postgresql://"):
        migrate("mysql://owner:hunter2@127.0.0.1/x")
