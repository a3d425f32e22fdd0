"""A real PostgreSQL that looks like a Supabase project: its roles, its auth schema, its default grants."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keyring
import psycopg
import pytest

from engine.errors import SignedOut
from engine.store.hosted import account, secrets, wire
from engine.store.hosted.migrate import migrate
from engine.store.hosted.project import Project
from engine.store.sqlite import SQLiteStore
from tests.hosted import small
from tests.hosted.gateway import Gateway
from tests.hosted.keys import Keys
from tests.quick import quick

PASSWORD = "correct horse battery staple"
Running = tuple[Gateway, str, str, Path]
_SESSIONS: dict[tuple[str, str], dict[str, Any]] = {}

SUPABASE = """
CREATE SCHEMA auth;
DO $$ BEGIN
    CREATE ROLE anon NOLOGIN; CREATE ROLE authenticated NOLOGIN; CREATE ROLE service_role NOLOGIN BYPASSRLS;
EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT USAGE ON SCHEMA public, auth TO anon, authenticated, service_role;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('request.jwt.claims', true)::json ->> 'sub', '')::uuid
$$;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of a server of this session's own, on a Unix socket."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pgserver.postgres_server

    # A socket's path may have no more than 107 bytes.
    folder = Path(quick()) / f"podium-pg-{uuid.uuid4().hex[:8]}"
    running = pgserver.postgres_server.get_server(folder, cleanup_mode="delete")
    yield running.get_uri()
    running.cleanup()


@contextmanager
def database(server: str, template: str = "template1") -> Iterator[str]:
    """A database made from another one, and dropped at the end."""
    name = f"project_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    yield server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def name_of(url: str) -> str:
    """The database of a connection string."""
    return url.split("/")[3].split("?")[0]


@pytest.fixture(scope="session")
def fresh(server: str) -> Iterator[str]:
    """What each project begins as."""
    with database(server) as url:
        with psycopg.connect(url, autocommit=True) as db:
            db.execute(SUPABASE.encode())
        yield url


@pytest.fixture(scope="session")
def migrated(server: str, fresh: str) -> Iterator[str]:
    """A project with our schema, to be copied."""
    with database(server, name_of(fresh)) as url:
        migrate(url)
        yield url


@pytest.fixture
def project(server: str, fresh: str) -> Iterator[str]:
    """A fresh project without our tables."""
    with database(server, name_of(fresh)) as url:
        yield url


@pytest.fixture
def hosted(server: str, migrated: str) -> Iterator[str]:
    """A project with our schema."""
    with database(server, name_of(migrated)) as url:
        yield url


@contextmanager
def acting(url: str, role: str, user: str = "") -> Iterator[psycopg.Connection[Any]]:
    """A transaction as the REST server makes one: under a role, with the claims of who is signed in."""
    with psycopg.connect(url) as db:
        db.execute(f"SET LOCAL ROLE {role}")
        db.execute("SELECT set_config('request.jwt.claims', %s, true)", (json.dumps({"sub": user}),))
        yield db


@pytest.fixture(scope="session")
def cloud_server(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A small Supabase server of this session's own: its gateway, publishable key, database and files."""
    if why := small.missing():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("small")
    with (
        database(server) as url,
        small.serving(url, folder) as (port, key),
        Gateway(port).open() as gateway,
    ):
        yield gateway, key, url, folder


@pytest.fixture
def cloud(cloud_server: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cloud:
    """That server without any job; and a keyring that is empty."""
    gateway, key, url, folder = cloud_server
    with psycopg.connect(url, autocommit=True) as db:
        for table in ("local_training_jobs", "training_comparisons", "training_teams",
                      "local_training_metrics", "training_predictions"):  # fmt: skip
            db.execute(f"DELETE FROM {table}".encode())
    gateway.fault, gateway.realtime = lambda method, path: None, 0
    for name in (
        "PODIUM_SUPABASE_TOKEN",
        "PODIUM_SUPABASE_EMAIL",
        "PODIUM_SUPABASE_PASSWORD",
        "PODIUM_STORE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PODIUM_TEST_KEYS", str(tmp_path / "keys.json"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.hosted.keys.Keys")
    keyring.set_keyring(Keys())
    return Cloud(gateway, Project(gateway.url, key), url, folder)


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store's file, to be copied: making one anew takes a while."""
    path = tmp_path_factory.mktemp("blank") / "podium.db"
    SQLiteStore(path).close()
    return path


@dataclass(frozen=True)
class Cloud:
    """A hosted project for one test.

    Args:
        gateway: The way to it.
        project: It, with nobody signed in.
        url: Its database.
        folder: Its files, the e-mails that it would send among them.
    """

    gateway: Gateway
    project: Project
    url: str
    folder: Path

    def sign_in(self, email: str = "ada@example.com", *, anew: bool = False) -> Project:
        """Make a user, once, and sign in, anew or with the session that there is; the keyring has it then."""
        if anew or (self.url, email) not in _SESSIONS:
            _SESSIONS[self.url, email] = self._session(email)
        session = _SESSIONS[self.url, email]
        project = self.project.by(session["user_id"], session["email"])
        if anew or not secrets.kept(project.account):
            secrets.keep(project.account, session)
        return project

    def _session(self, email: str) -> dict[str, Any]:
        client = wire.client(self.project)
        try:
            return account.with_password(client, email, PASSWORD)
        except SignedOut:
            client.auth.sign_up({"email": email, "password": PASSWORD})
            return account.with_password(client, email, PASSWORD)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a query of the database finds, past all policies."""
        with psycopg.connect(self.url) as db:
            return db.execute(query, values).fetchall()
