"""`podium store`: set up, sign in, copy, look, sign out, with real processes, a real server and a keyring."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.analysis.snapshot import Question
from engine.home import Home
from engine.job.events import Status
from engine.store.hosted.project import Project, checked, keep
from engine.store.opening import in_use, open_store
from engine.store.sqlite import SQLiteStore
from tests.conftest import Podium
from tests.hosted.conftest import PASSWORD, Cloud
from tests.store.wire import a_job, a_run
from tui.desk import EngineDesk

ROOT = Path(__file__).parents[2]
JOB = "9f0c1f36-6d56-4a52-9b07-0c2f3f5a7d11"


def told(result: Any) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_from_set_up_to_sign_out(podium: Podium, cloud: Cloud, home: Path) -> None:
    cloud.sign_in()
    env = {"PYTHONPATH": str(ROOT)}
    Home(home).create()
    alone = SQLiteStore(Home(home).database)
    alone.add(a_job(JOB, status=Status.COMPLETED))
    alone.ingest(JOB, a_run().bytes, 0)
    alone.close()

    args = ("store", "sign-in", "--email", "ada@example.com", "--password-stdin")
    early = podium(*args, input=PASSWORD, env=env)
    assert early.returncode == 2 and "podium store init" in early.stderr
    told(podium("store", "init", cloud.project.url, cloud.project.key, "--json", env=env))
    assert told(podium("store", "status", "--json", env=env))["store"]["in_use"] == "local"

    wrong = podium(*args, input="wrong\n", env=env)
    assert wrong.returncode == 2 and "wrong" not in wrong.stderr
    signed = podium(*args, "--json", input=f"{PASSWORD}\n", env=env)
    assert told(signed)["store"]["email"] == "ada@example.com"
    kept = json.loads(Path(os.environ["PODIUM_TEST_KEYS"]).read_text())
    for path in home.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes()
            for session in map(json.loads, kept.values()):
                assert session["access_token"].encode() not in path.read_bytes()
                assert session["refresh_token"].encode() not in path.read_bytes()

    assert told(podium("store", "copy", "--to", "hosted", "--json", env=env))["copied"] == 1
    assert cloud.rows("SELECT count(*) FROM training_events") == [(39,)]
    told(podium("tag", JOB, "+final", "--json", env=env))
    assert cloud.rows("SELECT tags FROM local_training_jobs") == [(["final"],)]
    standing = told(podium("store", "status", "--json", env=env))["store"]
    assert (standing["standing"], standing["waiting_events"]) == ("synced", 0)

    with cloud.gateway.failing("drop"):
        away = podium("jobs", "--json", env=env)
        assert [job["id"] for job in told(away)["jobs"]] == [JOB]
        assert len(away.stderr.splitlines()) == 1 and "offline" in away.stderr
        assert podium("store", "status", env=env).returncode == 1
    told(podium("store", "sign-out", "--json", env=env))
    assert json.loads(Path(os.environ["PODIUM_TEST_KEYS"]).read_text()) == {}
    assert in_use(Home(home)) is None


def test_a_second_machine_reads_what_it_has_never_seen(podium: Podium, cloud: Cloud, tmp_path: Path) -> None:
    cloud.sign_in()
    env = {
        "PYTHONPATH": str(ROOT), "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "PODIUM_SUPABASE_EMAIL": "ada@example.com", "PODIUM_SUPABASE_PASSWORD": PASSWORD,
    }  # fmt: skip
    told(podium("store", "init", cloud.project.url, cloud.project.key, "--json", env=env))
    told(podium("store", "sign-in", "--json", env=env))
    with psycopg.connect(cloud.url) as db:
        db.execute(
            "INSERT INTO local_training_jobs (id, user_id, name, status) VALUES (%s, %s, 'far', 'running')",
            (JOB, cloud.sign_in().user_id),
        )
        events = [json.loads(line) for line in a_run().bytes.splitlines()[:-1]]
        db.execute("SELECT training_take_events(%s, %s)", (JOB, json.dumps(events)))
    rows = told(podium("metrics", JOB, "--json", env=env))
    assert len(rows["metrics"]) >= 30
    refused = podium("stop", JOB, env=env)
    assert refused.returncode == 2 and "another machine" in refused.stderr


def test_without_a_keyring_no_session_is_kept_and_the_way_out_is_said(podium: Podium, cloud: Cloud) -> None:
    cloud.sign_in()
    env = {"PYTHONPATH": str(ROOT), "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    told(podium("store", "init", cloud.project.url, cloud.project.key, "--json", env=env))
    args = ("store", "sign-in", "--email", "ada@example.com", "--password-stdin")
    result = podium(*args, input=PASSWORD, env=env)
    assert result.returncode == 1
    assert "PODIUM_SUPABASE_TOKEN" in result.stderr and PASSWORD not in result.stderr


def test_a_database_is_migrated_and_checked_and_no_password_is_taken_from_an_argument(
    podium: Podium, project: str
) -> None:
    env = {"PODIUM_DATABASE_URL": project}
    assert podium("store", "check", env=env).returncode == 1
    assert told(podium("store", "migrate", "--json", env=env))["applied"]
    assert all(item["ok"] for item in told(podium("store", "check", "--json", env=env))["findings"])
    assert "CREATE POLICY" in podium("store", "migrate", "--print").stdout
    open_to_all = podium("store", "check", "--database-url", "postgresql://me:hunter2@localhost/x")
    assert open_to_all.returncode == 2
    assert "hunter2" not in open_to_all.stderr and "PODIUM_DATABASE_URL" in open_to_all.stderr


@pytest.mark.parametrize(
    "url, key, said",
    [
        ("ftp://x.example", "sb_publishable_x", "no address"),
        ("https://me:hunter2@x.example", "sb_publishable_x", "no address"),
        ("http://x.example", "sb_publishable_x", "https"),
        ("https://x.example", "sb_secret_hunter2", "secret key"),
        ("https://x.example", "e30.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.hunter2", "secret key"),
        ("https://x.example", "", "missing"),
    ],
)
def test_what_is_no_project_is_refused_without_repeating_secrets(url: str, key: str, said: str) -> None:
    with pytest.raises(Exception, match=said) as error:
        checked(Project(url, key))
    assert "hunter2" not in str(error.value)


def test_the_local_store_is_used_where_it_is_wanted(
    cloud: Cloud, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(Home(home), cloud.sign_in())
    assert in_use(Home(home)) is not None
    monkeypatch.setenv("PODIUM_STORE", "local")
    store = open_store(Home(home), live=True)
    assert type(store) is SQLiteStore
    store.close()


async def test_the_screen_says_in_one_line_that_the_server_is_away(cloud: Cloud, home: Path) -> None:
    keep(Home(home), cloud.sign_in())
    with cloud.gateway.failing("drop"):
        desk = EngineDesk(Home(home))
        await desk.open(lambda: None)
        try:
            async with asyncio.timeout(60):
                # What is waited for is on the screen; there is no event of it.
                trouble = ""
                while "offline" not in trouble:
                    trouble = (await asyncio.to_thread(desk.take, Question())).trouble
                    await asyncio.sleep(0.1)
        finally:
            await desk.close()
    assert trouble.startswith("Hosted store: offline since") and "\n" not in trouble
