"""The hosted store's numbers: a backlog of events sent, a history of many runs taken in and listed.

    python benchmarks/hosted.py [--events N] [--jobs N] [--json]

On a real PostgreSQL behind a small Supabase server of the tests' own (`make test` installs both), all on this
machine. Every figure is of work whose result is counted afterwards; a wrong count ends in an error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg

from benchmarks.store import CONFIG, events, require
from engine.job.events import Status
from engine.records import Job
from engine.store.hosted import account, wire
from engine.store.hosted.project import Project
from engine.store.supabase import SupabaseStore
from tests.hosted import small
from tests.hosted.gateway import Gateway
from tests.store.wire import START

EMAIL, PASSWORD = "bench@example.com", "correct horse battery staple"


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_step(store: SupabaseStore) -> None:
    store.sync()
    require(store.state.standing == "synced", store.standing)


def backlog(folder: Path, project: Project, url: str, count: int) -> dict[str, float]:
    """Seconds to send a run's events that all wait here."""
    job_id = str(uuid.uuid4())
    store = SupabaseStore(folder / "sender.db", project, live=False)
    store.add(Job(id=job_id, name="backlog", status=Status.RUNNING, created_at=START))
    store.ingest(job_id, b"".join(events(count)), 0)
    took = timed(lambda: in_step(store))
    store.close()
    with psycopg.connect(url) as db:
        found = db.execute("SELECT count(*), count(DISTINCT seq), max(seq) FROM training_events").fetchone()
    require(found == (count, count, count), f"the events there: {found}")
    reader = SupabaseStore(folder / "reader.db", project, live=False)
    fetched = timed(lambda: in_step(reader))
    require(len(reader.events(job_id)) == count, "the events of a second machine")
    reader.close()
    return {"backlog_s": took, "backlog_events_per_second": count / took, "backlog_fetched_s": fetched}


def history(folder: Path, project: Project, url: str, count: int) -> dict[str, float]:
    """Seconds until a machine that has never seen them has all runs, and to list them from then on."""
    with psycopg.connect(url) as db:
        db.execute("DELETE FROM local_training_jobs")
        db.execute(
            "INSERT INTO local_training_jobs (id, user_id, name, status, number, base_model, config, loss) "
            "SELECT gen_random_uuid(), %s, 'run-' || n, 'completed', n, 'm/' || n %% 20, %s, 0.5 "
            "FROM generate_series(1, %s) AS n",
            (project.user_id, json.dumps(CONFIG), count),
        )
    store = SupabaseStore(folder / "history.db", project, live=False)
    first = timed(lambda: in_step(store))
    require(len(store.jobs()) == count, "the number of runs")
    nothing_new = timed(lambda: in_step(store))
    store.close()

    def listed() -> None:
        again = SupabaseStore(folder / "history.db", project, live=False)
        require(len(again.jobs()) == count, "the number of runs")
        again.close()

    return {"history_first_s": first, "history_opened_s": timed(listed), "history_poll_s": nothing_new}


def measured(events_: int, jobs: int) -> dict[str, float]:
    if why := small.missing():
        sys.exit(why)
    with tempfile.TemporaryDirectory() as name:
        os.environ.setdefault("XDG_RUNTIME_DIR", name)
        import pgserver.postgres_server

        place = Path(f"/tmp/podium-pg-{uuid.uuid4().hex[:8]}")
        running = pgserver.postgres_server.get_server(place, cleanup_mode="delete")
        try:
            url, folder = running.get_uri(), Path(name)
            (folder / "small").mkdir()
            with small.serving(url, folder / "small") as (port, key), Gateway(port).open() as gateway:
                project = Project(gateway.url, key)
                client = wire.client(project)
                client.auth.sign_up({"email": EMAIL, "password": PASSWORD})
                session = account.with_password(client, EMAIL, PASSWORD)
                os.environ["PODIUM_SUPABASE_TOKEN"] = session["access_token"]
                project = project.by(session["user_id"], EMAIL)
                return backlog(folder, project, url, events_) | history(folder, project, url, jobs)
        finally:
            running.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = {"events": given.events, "jobs": given.jobs} | measured(given.events, given.jobs)
    if given.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:30} {value:12,.2f}")


if __name__ == "__main__":
    main()
