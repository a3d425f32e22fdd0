"""Saved comparisons, here and in the hosted store: few, so all of them are held against each other."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from engine.store.database import Database
from engine.store.hosted import ledger
from engine.store.hosted.columns import Row, harmless, said
from engine.store.hosted.merge import merge
from engine.store.hosted.server import Server
from engine.store.values import json_object, json_text

_SAID: Final = ("name", "job_ids", "reference_job_id", "notes", "created_at")


class Comparisons:
    """Keeps both sides' comparisons the same: a change wins over a removal, and two changes are merged.

    Args:
        database: What this machine has.
        server: What the others have.
    """

    def __init__(self, database: Database, server: Server) -> None:
        self._database, self._server = database, server
        self._account, self._me = server.project.account, server.project.user_id

    def sync(self) -> set[str]:
        """Send and take in; returns the jobs here of comparisons that changed here."""
        remote = {str(row["id"]): row for row in self._server.comparisons()}
        with self._database.reading() as db:
            ids = dict(
                db.execute(
                    "SELECT job_id, hosted_id FROM hosted_jobs WHERE project = ?", (self._account,)
                ).fetchall()
            )
            base = _base(db, self._account)
            local = self._local(db, ids, base)
        jobs = {hosted: job for job, hosted in ids.items()}
        there = {id: _facts(row) for id, row in remote.items()}
        changed: set[str] = set()
        for id in {*local, *there, *base}:
            mine, theirs, agreed = local.get(id), there.get(id), base.get(id)
            if mine == theirs:
                if mine != agreed:
                    self._agree(id, mine)
            elif mine == agreed or (mine is None and theirs != agreed) or not self._may(remote.get(id)):
                changed |= self._keep(id, theirs, jobs)
                self._agree(id, theirs)
            else:
                if mine and theirs and theirs != agreed:
                    mine |= merge(agreed or {}, mine, theirs, _SAID).here
                    # First here: who dies before it is sent merges the same again.
                    changed |= self._keep(id, mine, jobs)
                self._send(id, mine)
        return changed

    def _local(
        self, db: sqlite3.Connection, ids: Mapping[str, str], base: Mapping[str, Row]
    ) -> dict[str, Row]:
        """The comparisons here that are shared, or can be since all their runs are; said as there."""
        found = {}
        for id, name, job_ids, reference, notes, created in db.execute(
            "SELECT id, name, job_ids, reference_job_id, notes, created_at FROM training_comparisons"
        ):
            members = json.loads(job_ids)
            # Of one that is shared a run may be gone since: that takes nothing from the others.
            if id in base or all(job in ids for job in members):
                hosted = {job: ids.get(job) or ledger.hosted_id(self._account, job) for job in members}
                row = {
                    "name": name, "job_ids": list(hosted.values()), "notes": notes or "",
                    "reference_job_id": hosted.get(reference, reference), "created_at": created,
                }  # fmt: skip
                found[id] = _facts(row)
        return found

    def _may(self, row: Mapping[str, Any] | None) -> bool:
        return row is None or row["user_id"] == self._me

    def _send(self, id: str, mine: Row | None) -> None:
        if mine is None:
            self._server.delete_comparison(id)
        else:
            team = self._server.project.team or None
            self._server.save_comparison({"id": id, "user_id": self._me, "team_id": team, **mine})
        self._agree(id, mine)

    def _keep(self, id: str, theirs: Row | None, jobs: Mapping[str, str]) -> set[str]:
        """Have it here as it is there; returns the jobs that it is of."""
        with self._database.writing() as db:
            before = db.execute("SELECT job_ids FROM training_comparisons WHERE id = ?", (id,)).fetchone()
            db.execute("DELETE FROM training_comparisons WHERE id = ?", (id,))
            told: list[str] = json.loads(before[0]) if before else []
            if theirs is not None:
                members = [jobs.get(job, job) for job in theirs["job_ids"]]
                reference = theirs["reference_job_id"]
                db.execute(
                    "INSERT INTO training_comparisons "
                    "(id, name, job_ids, reference_job_id, notes, created_at) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        id, theirs["name"], json_text(members), jobs.get(reference, reference),
                        theirs["notes"], theirs["created_at"],
                    ),
                )  # fmt: skip
                told += members
        return set(told)

    def _agree(self, id: str, value: Row | None) -> None:
        with self._database.writing() as db:
            if value is None:
                db.execute("DELETE FROM hosted_comparisons WHERE project = ? AND id = ?", (self._account, id))
            else:
                db.execute(
                    "INSERT OR REPLACE INTO hosted_comparisons (project, id, base) VALUES (?, ?, ?)",
                    (self._account, id, json_text(value)),
                )


def _base(db: sqlite3.Connection, account: str) -> dict[str, Row]:
    found = db.execute("SELECT id, base FROM hosted_comparisons WHERE project = ?", (account,))
    return {id: json_object(base) for id, base in found}


def _facts(row: Mapping[str, Any]) -> Row:
    """What a comparison says, in one way of saying it."""
    facts = {name: said(name, row.get(name)) for name in _SAID}
    told = row.get("job_ids")
    listed = json.loads(told) if isinstance(told, str) else told
    facts["job_ids"] = [harmless(str(job)) for job in listed] if isinstance(listed, list) else []
    return facts
