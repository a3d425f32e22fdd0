"""What changed in the hosted store comes here: jobs, and the events of those that somebody looks at."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

from engine.job.events import Event, Status, stamp
from engine.store import housekeeping
from engine.store.database import Database
from engine.store.hosted import ledger
from engine.store.hosted.columns import FACTS, FROM_EVENTS, Row, stored
from engine.store.hosted.ledger import Copy
from engine.store.hosted.server import PAGE, Server
from engine.store.hosted.taking import event_of, local_row, old_metrics, old_predictions, take_rows
from engine.store.ingest import take_events
from engine.store.values import json_object
from engine.store.writes import write_job

OVERLAP: Final = 100
"""Revisions before the cursor that are looked at again: sequences are not handed out in order of commit."""

_FIGURES: Final = (*FROM_EVENTS, *FACTS)
_LAST: Final = 2**53 - 1  # servers that are written in JavaScript round what is larger
_FIRST: Final = "00000000-0000-0000-0000-000000000000"


class Pull:
    """Takes in what the hosted store has and this machine has not.

    Args:
        database: Where it goes.
        server: Where it comes from.
        came: Called with each page of jobs that came, by how many there are so far.
    """

    def __init__(
        self, database: Database, server: Server, came: Callable[[int], None] = lambda count: None
    ) -> None:
        self._database, self._server, self._came = database, server, came
        self._account = server.project.account

    def jobs(self) -> set[str]:
        """Take in the jobs that changed; returns their ids here."""
        with self._database.reading() as db:
            cursor = ledger.cursor(db, self._account)
        if cursor < 0:
            return self._all()
        changed: set[str] = set()
        low = max(0, cursor - OVERLAP)
        while news := self._server.news(low):
            with self._database.reading() as db:
                known = ledger.revisions(db, self._account, list(news))
            newer = [revision for hosted, revision in news.items() if revision > known.get(hosted, -1)]
            if newer:
                changed |= self._take(self._server.jobs(min(newer), max(newer)))
            low = max(news.values())
            if low > cursor:
                self._move(low)
            if len(news) < PAGE:
                break
        return changed

    def _all(self) -> set[str]:
        """Take in all jobs for the first time: nothing need be asked but them."""
        changed = self._old_jobs()
        self._move(0)
        # Each page is on its way while the one before it is stored.
        with ThreadPoolExecutor(1) as ahead:
            page = ahead.submit(self._server.jobs, 1, _LAST)
            while rows := page.result():
                newest = int(rows[-1]["revision"])
                if len(rows) == PAGE:
                    page = ahead.submit(self._server.jobs, newest + 1, _LAST)
                changed |= self._take(rows)
                self._move(newest)
                self._came(len(changed))
                if len(rows) < PAGE:
                    break
        return changed

    def _move(self, revision: int) -> None:
        with self._database.writing() as db:
            ledger.move_cursor(db, self._account, revision, stamp(datetime.now(UTC)))

    def _old_jobs(self) -> set[str]:
        changed: set[str] = set()
        after = _FIRST
        while rows := self._server.old_jobs(after):
            changed |= self._take(rows)
            after = str(rows[-1]["id"])
            self._came(len(changed))
            if len(rows) < PAGE:
                break
        return changed

    def _take(self, rows: Sequence[Row]) -> set[str]:
        with self._database.writing() as db:
            return take_rows(db, self._account, rows)

    def events(self, attended: Collection[str]) -> set[str]:
        """Take in the events of live jobs and of attended ones that are followed elsewhere."""
        with self._database.reading() as db:
            copies = ledger.untaken(db, self._account, attended)
        return {copy.job_id for copy in copies if self._events(copy)}

    def _events(self, copy: Copy) -> bool:
        """Take in one job's events; are there new ones?"""
        with self._database.reading() as db:
            found = db.execute(
                "SELECT max(seq) FROM training_events WHERE job_id = ?", (copy.job_id,)
            ).fetchone()
        after = first = int(found[0] or 0)
        while rows := self._server.events(copy.hosted_id, after):
            self._store(copy, [event for row in rows if (event := event_of(row)) is not None])
            after = int(rows[-1]["seq"])
            if len(rows) < PAGE:
                break
        new = after > first or (not copy.base.get("last_heartbeat_at") and self._old_events(copy, first))
        with self._database.writing() as db:
            ledger.note(db, self._account, copy.job_id, taken=copy.revision)
        return new

    def _old_events(self, copy: Copy, newest: int) -> bool:
        """Of a job of the old system, which told no events: its rows of metrics and predictions."""
        new = False
        for table, retell in (
            ("local_training_metrics", old_metrics),
            ("training_predictions", old_predictions),
        ):
            after = newest // 2
            while rows := self._server.old_rows(table, copy.hosted_id, after):
                new = self._store(copy, retell(rows), figures=copy.base) or new
                after = int(rows[-1]["id"])
                if len(rows) < PAGE:
                    break
        return new

    def _store(self, copy: Copy, events: Sequence[Event], figures: Row | None = None) -> bool:
        """Store events; with the figures that the job's row is to keep all the same."""
        with self._database.writing() as db:
            new = take_events(db, copy.job_id, events)
            if figures is not None and (local := local_row(db, copy.job_id)):
                kept = {name: figures[name] for name in _FIGURES if name in figures}
                write_job(db, copy.job_id, stored(kept, json_object(local["metadata"])))
        return new > 0

    def gone(self) -> set[str]:
        """Find the jobs that are no longer there, and let go of them; returns their ids here.

        One that is followed from here goes to the trash, where its owner may fetch it from.
        """
        with self._database.reading() as db:  # first: what is sent meanwhile must not be missed there
            known = ledger.known(db, self._account)
        there: set[str] = set()
        after = _FIRST
        while page := self._server.ids(after):
            there.update(page)
            after = page[-1]
            if len(page) < PAGE:
                break
        with self._database.reading() as db:
            copies = [ledger.copy_with(db, self._account, hosted) for hosted in known if hosted not in there]
        lost = [copy for copy in copies if copy and copy.base and copy.revision]
        if not there and len(lost) > 1:
            return set()  # more likely a mistake of the server's than nothing at all
        with self._database.writing() as db:
            for copy in lost:
                self._let_go(db, copy)
        return {copy.job_id for copy in lost}

    def _let_go(self, db: sqlite3.Connection, copy: Copy) -> None:
        local = local_row(db, copy.job_id)
        db.execute("DELETE FROM hosted_jobs WHERE project = ? AND job_id = ?", (self._account, copy.job_id))
        if local is None or (copy.here and Status(local["status"]).live):
            return
        if local["deleted_at"] is None:
            write_job(db, copy.job_id, {"deleted_at": datetime.now(UTC)})
        if not copy.here:
            housekeeping.forget(db, [copy.job_id])
