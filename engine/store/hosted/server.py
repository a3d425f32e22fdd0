"""What is asked of a hosted project, as the user who is signed in. Blocks; any call may be made again.

All methods raise:
    HostedDown: It can't be reached, or fails: nobody knows whether a write took place.
    SignedOut: The session is refused, also after it was renewed.
    Refused: The server understood, and will not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from engine.errors import SignedOut
from engine.store.hosted import wire
from engine.store.hosted.account import Session
from engine.store.hosted.columns import FETCHED, Row
from engine.store.hosted.project import Project
from engine.store.hosted.wire import Refused, data_of

PAGE: Final = 1000
"""Rows that one answer may have: the server cuts off what is beyond."""

JOBS: Final = "local_training_jobs"
COMPARISONS: Final = "training_comparisons"
_DOUBLE: Final = "23505"
_COLUMNS: Final = ",".join(FETCHED)


class Server:
    """A hosted project.

    Args:
        project: Which.
        read_seconds: How long to wait for an answer.
    """

    def __init__(self, project: Project, *, read_seconds: float = wire.READ_SECONDS) -> None:
        self.project = project
        self._client = wire.client(project, read_seconds=read_seconds)
        self._session = Session(project, self._client)

    def token(self) -> str:
        """The access token that it is asked with."""
        return self._session.token()

    # ---- jobs

    def news(self, after: int) -> dict[str, int]:
        """The newest revision of each job that changed after a revision, oldest first; at most a page."""
        rows = self._ask(
            lambda db: (
                db.table(JOBS).select("id,revision").gt("revision", after).order("revision").limit(PAGE)
            )
        )
        return {str(row["id"]): int(row["revision"]) for row in rows}

    def jobs(self, first: int, last: int) -> list[Row]:
        """The jobs with a revision from `first` to `last`, at most a page, in that order."""
        found: list[Row] = self._ask(
            lambda db: (
                db.table(JOBS)
                .select(_COLUMNS)
                .gte("revision", first)
                .lte("revision", last)
                .order("revision")
                .limit(PAGE)
            )
        )
        return found

    def old_jobs(self, after: str) -> list[Row]:
        """Jobs that nothing has changed since the old system, by id, at most a page."""
        found: list[Row] = self._ask(
            lambda db: (
                db.table(JOBS).select(_COLUMNS).eq("revision", 0).gt("id", after).order("id").limit(PAGE)
            )
        )
        return found

    def job(self, hosted_id: str) -> Row | None:
        """One job; None where it is not there, or is not to be seen."""
        rows = self._ask(lambda db: db.table(JOBS).select(_COLUMNS).eq("id", hosted_id).limit(1))
        return rows[0] if rows else None

    def ids(self, after: str) -> list[str]:
        """The ids of all jobs, a page of them."""
        rows = self._ask(lambda db: db.table(JOBS).select("id").gt("id", after).order("id").limit(PAGE))
        return [str(row["id"]) for row in rows]

    def insert(self, row: Row) -> bool:
        """Insert a job; False if there is one with that id already."""
        try:
            self._ask(lambda db: db.table(JOBS).insert(row, returning="minimal"))
        except Refused as error:
            if error.code != _DOUBLE:
                raise
            return False
        return True

    def update(self, hosted_id: str, columns: Row, revision: int) -> int | None:
        """Change a job that is still at that revision, and return its new one; None if it is not."""
        rows = self._ask(
            lambda db: (
                db.table(JOBS).update(columns).eq("id", hosted_id).eq("revision", revision).select("revision")
            )
        )
        return int(rows[0]["revision"]) if rows else None

    def delete(self, hosted_id: str) -> None:
        """Remove a job that is in the trash."""
        self._ask(lambda db: db.table(JOBS).delete(returning="minimal").eq("id", hosted_id))

    # ---- events

    def push_events(self, hosted_id: str, events: Sequence[Row]) -> int:
        """Hand on events; returns the newest seq that is there."""
        return int(
            self._ask(lambda db: db.rpc("push_events", {"job_id": hosted_id, "events": list(events)})) or 0
        )

    def events(self, hosted_id: str, after: int) -> list[Row]:
        """Events after a seq, in order, at most a page."""
        found: list[Row] = self._ask(
            lambda db: (
                db.table("training_events")
                .select("seq,ts,attempt,type,step,data")
                .eq("job_id", hosted_id)
                .gt("seq", after)
                .order("seq")
                .limit(PAGE)
            )
        )
        return found

    def old_rows(self, table: str, hosted_id: str, after: int) -> list[Row]:
        """Rows of the old system about a job, by their ids, at most a page."""
        mark = "kind" if table == "local_training_metrics" else "attempt"
        found: list[Row] = self._ask(
            lambda db: (
                db.table(table)
                .select("*")
                .eq("job_id", hosted_id)
                .is_(mark, "null")
                .gt("id", after)
                .order("id")
                .limit(PAGE)
            )
        )
        return found

    # ---- tokens

    def grant(self, hosted_id: str, token_sha256: str, hours: float) -> None:
        """Let whoever has the token with that hash report events of a job."""
        told = {"job_id": hosted_id, "token_sha256": token_sha256, "hours": hours}
        self._ask(lambda db: db.rpc("grant_job_token", told))

    def revoke(self, hosted_id: str) -> None:
        """Make all tokens of a job worthless."""
        self._ask(lambda db: db.rpc("revoke_job_tokens", {"job_id": hosted_id}))

    # ---- comparisons

    def comparisons(self) -> list[Row]:
        """All comparisons that are to be seen."""
        found: list[Row] = []
        while True:
            page = self._comparisons_after(found[-1]["id"] if found else "")
            found += page
            if len(page) < PAGE:
                return found

    def _comparisons_after(self, after: str) -> list[Row]:
        found: list[Row] = self._ask(
            lambda db: db.table(COMPARISONS).select("*").gt("id", after).order("id").limit(PAGE)
        )
        return found

    def save_comparison(self, row: Row) -> None:
        """Insert or replace one."""
        self._ask(lambda db: db.table(COMPARISONS).upsert(row, returning="minimal"))

    def delete_comparison(self, comparison_id: str) -> None:
        """Forget one."""
        self._ask(lambda db: db.table(COMPARISONS).delete(returning="minimal").eq("id", comparison_id))

    def _ask(self, build: Callable[[Any], Any]) -> Any:
        """Ask as who is signed in; of a session that is refused, once more with a renewed one."""
        token = self._session.token()
        try:
            return self._once(build, token)
        except SignedOut:
            self._session.renew(token)
            return self._once(build, self._session.token())

    def _once(self, build: Callable[[Any], Any], token: str) -> Any:
        self._client.postgrest.auth(token)
        with wire.explained():
            return data_of(build(self._client).execute())

    def close(self) -> None:
        """Close the connections."""
        if self._client.options.httpx_client is not None:
            self._client.options.httpx_client.close()
