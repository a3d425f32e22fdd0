"""What changed here goes to the hosted store: jobs, events, what was purged. All may be repeated."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from engine.job.events import stamp
from engine.store.database import Database
from engine.store.hosted import ledger
from engine.store.hosted.columns import FACTS, FROM_EVENTS, USERS, Row, harmless, said, sent
from engine.store.hosted.ledger import Copy
from engine.store.hosted.server import Server
from engine.store.hosted.taking import local_row, take_row
from engine.store.hosted.wire import Gone, Refused
from engine.store.values import json_object

BATCH: Final = 1000
"""Events in one request at most."""

BATCH_BYTES: Final = 1_000_000
"""Their data at most, characters."""

_TRIES: Final = 8
_BIG: Final = 2**31 - 1
_UNUSABLE: Final = ("22", "23", "P0", "PT400", "PGRST102")
"""How the codes begin that say that something of what was sent can't be stored."""


class Push:
    """Sends what this machine has and the hosted store has not.

    Args:
        database: What this machine has.
        server: Where it goes.
    """

    def __init__(self, database: Database, server: Server) -> None:
        self._database, self._server = database, server
        self._account = server.project.account

    def job(self, job_id: str) -> bool:
        """Send one job; True if it changed here, merged with what others had said.

        Raises:
            HostedDown, SignedOut: It is to be sent again.
            Refused: The server will not have it.
        """
        copy, local = self._read(job_id)
        if copy is None or local is None:
            return False
        if local["user_id"] not in (None, "", self._server.project.user_id):
            # A mate's: what was said of it while the hosted store was not in use stays here.
            with self._database.writing() as db:
                ledger.note(db, self._account, job_id, sent=local["revision"])
            return False
        if not copy.base:
            self._insert(copy, local)
        newest = self._events(copy) if copy.here else 0
        changed = False
        for _ in range(_TRIES):
            copy, local = self._read(job_id)
            if copy is None or local is None:
                return changed
            if self._settled(copy, local, newest):
                return changed
            remote = self._server.job(copy.hosted_id)
            if remote is None:
                raise Gone(f"run {local['name']} is no longer in the hosted store")
            with self._database.writing() as db:
                changed = take_row(db, self._account, remote) is not None or changed
        raise Refused(
            f"run {local['name'] if local else job_id} changes there all the time", "It is sent later."
        )

    def purged(self, copy: Copy) -> None:
        """Remove a job there that was removed here for good, unless it was got out of the trash since."""
        for _ in range(_TRIES):
            # Whatever is known of it here: the answer that it was inserted may have got lost.
            remote = self._server.job(copy.hosted_id)
            if remote is None or remote["user_id"] != self._server.project.user_id:
                break
            if remote["deleted_at"] is None:
                if copy.base.get("deleted_at") is not None:
                    break  # it was restored there, and comes back
                now = stamp(datetime.now(UTC))
                self._server.update(copy.hosted_id, {"deleted_at": now}, int(remote["revision"]))
            else:
                self._server.delete(copy.hosted_id)
        with self._database.writing() as db:
            db.execute(
                "DELETE FROM hosted_jobs WHERE project = ? AND job_id = ?", (self._account, copy.job_id)
            )

    def _read(self, job_id: str) -> tuple[Copy | None, dict[str, Any] | None]:
        with self._database.reading() as db:
            return ledger.copy_of(db, self._account, job_id), local_row(db, job_id)

    def _insert(self, copy: Copy, local: dict[str, Any]) -> None:
        row = sent(local)
        project = self._server.project
        fixed: Row = {
            "id": copy.hosted_id,
            "user_id": project.user_id,
            "team_id": project.team or None,
            "number": local["number"],
            "created_at": said("created_at", local["created_at"]),
        }
        if self._server.insert({**fixed, **row}):
            with self._database.writing() as db:
                ledger.note(db, self._account, copy.job_id, base=row)
        # Whether it is new or was inserted by a request whose answer got lost: its revision is to be known.
        remote = self._server.job(copy.hosted_id)
        if remote is None:
            raise Refused(f"run {local['name']}: another user has a run with its id")
        with self._database.writing() as db:
            take_row(db, self._account, remote)

    def _settled(self, copy: Copy, local: dict[str, Any], newest: int) -> bool:
        """Send the columns that changed; False when somebody else changed the row first."""
        row = sent(local)
        names = [*USERS, *(FACTS if copy.here else ())]
        if copy.here and self._complete(copy, newest):
            names += FROM_EVENTS
        changes = {name: row[name] for name in names if row[name] != copy.base.get(name)}
        revision: int | None = copy.revision
        if changes:
            revision = self._server.update(copy.hosted_id, changes, copy.revision)
            if revision is None:
                return False
        with self._database.writing() as db:
            ledger.note(
                db, self._account, copy.job_id,
                base={**copy.base, **changes}, revision=revision, sent=local["revision"],
            )  # fmt: skip
        return True

    def _complete(self, copy: Copy, newest: int) -> bool:
        """Are all events here that are there? Else what was made of them there is newer."""
        with self._database.reading() as db:
            return _newest(db, copy.job_id) >= newest

    def _events(self, copy: Copy) -> int:
        """Send the events that are not there; returns the newest seq that is."""
        after = copy.sent_seq
        told = -1
        for batch in self._batches(copy.job_id, after):
            told = self._hand_on(copy.hosted_id, batch)
            self._remember(copy, max(told, batch[-1]["seq"]))
        if told < 0:
            told = self._server.push_events(copy.hosted_id, [])
            self._remember(copy, told)
        return told

    def _remember(self, copy: Copy, seq: int) -> None:
        with self._database.writing() as db:
            ledger.note(db, self._account, copy.job_id, sent_seq=seq)

    def _hand_on(self, hosted_id: str, batch: list[Row]) -> int:
        """Send a batch; of one that can't be stored, all but what spoils it."""
        try:
            return self._server.push_events(hosted_id, batch)
        except Refused as error:
            if not error.code.startswith(_UNUSABLE):
                raise
        if len(batch) == 1:
            return self._server.push_events(hosted_id, [{**batch[0], "data": {"unreadable": True}}])
        half = len(batch) // 2
        self._hand_on(hosted_id, batch[:half])
        return self._hand_on(hosted_id, batch[half:])

    def _batches(self, job_id: str, after: int) -> Iterator[list[Row]]:
        while True:
            with self._database.reading() as db:
                found = db.execute(
                    "SELECT seq, ts, attempt, type, step, data FROM training_events "
                    "WHERE job_id = ? AND seq > ? ORDER BY seq LIMIT ?",
                    (job_id, after, BATCH),
                ).fetchall()
            if not found:
                return
            batch: list[Row] = []
            size = 0
            for row in found:
                size += len(row[5]) + 100
                if batch and size > BATCH_BYTES:
                    break
                batch.append(_event(row))
            yield batch
            after = batch[-1]["seq"]


def _event(row: Any) -> Row:
    """A stored event as the hosted store takes it."""
    seq, ts, attempt, type, step, data = row
    return {
        "seq": seq,
        "ts": ts,
        "attempt": max(1, min(attempt, _BIG)),
        "type": harmless(type)[:60],
        "step": step if step is None or 0 <= step < 2**53 else None,
        "data": harmless(json_object(data)) if "\\u" in data else json.loads(data),
    }


def _newest(db: sqlite3.Connection, job_id: str) -> int:
    found = db.execute("SELECT max(seq) FROM training_events WHERE job_id = ?", (job_id,)).fetchone()
    return int(found[0] or 0)
