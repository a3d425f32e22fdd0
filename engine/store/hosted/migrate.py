"""Bring a hosted database to the current schema, say what is missing, and prove that its policies stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.errors import BadInput, Missing, StoreError

if TYPE_CHECKING:
    from psycopg import Connection

SCHEMA: Final = Path(__file__).parent / "schema"
"""The folder of the migrations, one numbered SQL file each."""

TABLES: Final = (
    "local_training_jobs",
    "training_events",
    "local_training_metrics",
    "training_predictions",
    "training_checkpoints",
    "training_comparisons",
    "training_teams",
    "training_team_members",
    "training_job_tokens",
)
"""The tables that are ours, the old system's among them."""

_POLICY: Final = re.compile(r"CREATE POLICY (\w+) ON public\.(\w+)")

FOR_PODS: Final = ("report_events",)
"""The functions that may be called without signing in: what a pod has."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: What.
        ok: Is it as it must be?
        advice: What to do about it; empty when it is.
    """

    what: str
    ok: bool
    advice: str = ""


def script() -> str:
    """All migrations as one text, for a project's SQL editor when its database can't be reached."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(SCHEMA.glob("*.sql")))


def migrate(url: str) -> list[str]:
    """Apply what is missing, each migration in a transaction; rows are never changed.

    Args:
        url: The database's connection string, `postgresql://…`, of its owner.

    Returns:
        The names of the migrations that were applied.

    Raises:
        BadInput: It is no such string.
        StoreError: The database can't be reached, or refuses.
        Missing: The library for it is not installed.
    """
    yoyo, psycopg = _libraries()
    try:
        backend = yoyo.get_backend(_with_driver(url))
        try:
            with backend.lock(timeout=30):
                missing = backend.to_apply(yoyo.read_migrations(str(SCHEMA)))
                names = [migration.id for migration in missing]
                backend.apply_migrations(missing)
        finally:
            backend.connection.close()
    except psycopg.Error as error:
        raise _explained(error) from None
    return names


def check(url: str) -> list[Finding]:
    """What stands, what does not, and what to do about it.

    Raises:
        StoreError: The database can't be reached.
    """
    yoyo, psycopg = _libraries()
    try:
        backend = yoyo.get_backend(_with_driver(url))
        try:
            missing = [migration.id for migration in backend.to_apply(yoyo.read_migrations(str(SCHEMA)))]
        finally:
            backend.connection.close()
        with _connected(url) as db:
            return [
                Finding("the schema is current", not missing, "podium store migrate." if missing else ""),
                *_protected(db),
                _policies(db),
                _without_grants(db),
                _functions(db),
            ]
    except psycopg.Error as error:
        raise _explained(error) from None


def _protected(db: Connection[Any]) -> Iterator[Finding]:
    found = dict(
        db.execute(
            "SELECT relname, relrowsecurity FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE nspname = 'public' AND relname = ANY(%s)",
            (list(TABLES),),
        ).fetchall()
    )
    for name in TABLES:
        advice = ""
        if name not in found:
            advice = "podium store migrate."
        elif not found[name]:
            advice = f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY."
        yield Finding(f"{name} is there, with row-level security", not advice, advice)


def _policies(db: Connection[Any]) -> Finding:
    """Are ours there, and no others? Policies add up: one that admits anybody undoes all."""
    wanted = {(table, name) for name, table in _POLICY.findall(script())}
    found = {
        (table, name): roles
        for table, name, roles in db.execute(
            "SELECT tablename, policyname, roles::text[] FROM pg_policies "
            "WHERE schemaname = 'public' AND tablename = ANY(%s)",
            (list(TABLES),),
        )
    }
    strange = sorted(key for key in found if key not in wanted or found[key] != ["authenticated"])
    advice = "".join(f"DROP POLICY {name} ON {table}. " for table, name in strange)
    if missing := ", ".join(name for _, name in sorted(wanted - found.keys())):
        advice += f"{missing}: paste what podium store migrate --print prints into the project's SQL editor."
    return Finding("all policies are there, and no others", not advice, advice.strip())


def _without_grants(db: Connection[Any]) -> Finding:
    granted = db.execute(
        "SELECT DISTINCT table_name FROM information_schema.role_table_grants "
        "WHERE table_schema = 'public' AND grantee IN ('anon', 'PUBLIC') AND table_name = ANY(%s) ORDER BY 1",
        (list(TABLES),),
    ).fetchall()
    names = ", ".join(row[0] for row in granted)
    advice = f"REVOKE ALL ON {names} FROM anon, public." if names else ""
    return Finding("a pod has no grant on any table", not names, advice)


def _functions(db: Connection[Any]) -> Finding:
    open_to_all = db.execute(
        "SELECT proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace "
        "WHERE nspname = 'public' "
        "AND proname LIKE ANY(ARRAY['training\\_%', '%\\_events', '%job\\_token%']) AND prosecdef "
        "AND has_function_privilege('anon', pg_proc.oid, 'EXECUTE') ORDER BY 1"
    ).fetchall()
    names = [row[0] for row in open_to_all]
    return Finding(
        "a pod may call report_events and nothing else",
        names == list(FOR_PODS),
        ""
        if names == list(FOR_PODS)
        else f"It may call {', '.join(names) or 'nothing'}: podium store migrate.",
    )


@contextmanager
def _connected(url: str) -> Iterator[Connection[Any]]:
    import psycopg

    with psycopg.connect(url, connect_timeout=15, autocommit=True) as db:
        yield db


def _libraries() -> tuple[Any, Any]:
    try:
        import psycopg
    except ImportError:
        raise Missing("psycopg is not installed", "pip install 'podium[supabase]'.") from None
    import yoyo

    return yoyo, psycopg


def _with_driver(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in ("postgres", "postgresql"):
        raise BadInput(
            "the database's address must begin with postgresql://", "Copy it from the project's page."
        )
    return f"postgresql+psycopg://{rest}"


def _explained(error: Exception) -> StoreError:
    """The server's own words, one line, without the address: it holds a password."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return StoreError(f"the hosted database refused: {lines[0] if lines else type(error).__name__}")
