"""All jobs in memory, of which a read fetches those alone that changed since the last one."""

from __future__ import annotations

import sqlite3
import threading
from datetime import datetime
from typing import Final

from engine.records import Job
from engine.store.rows import JOB_SELECT, job_of

_CHANGED: Final = f"SELECT {JOB_SELECT} FROM local_training_jobs WHERE revision > ?"


class Roster:
    """The jobs by id, as of the newest revision that was read; safe to use from any thread."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._order: list[Job] = []
        self._revision = -1
        self._guard = threading.Lock()

    def read(self, db: sqlite3.Connection) -> list[Job]:
        """All jobs, live ones first, then newest first, archived and deleted ones too."""
        with self._guard:
            revision = db.execute("SELECT value FROM revision").fetchone()[0]
            if revision > self._revision:
                self._refresh(db)
                self._revision = revision
            return self._order

    def _refresh(self, db: sqlite3.Connection) -> None:
        self._jobs |= {job.id: job for job in map(job_of, db.execute(_CHANGED, (self._revision,)))}
        if len(self._jobs) != db.execute("SELECT count(*) FROM local_training_jobs").fetchone()[0]:
            # Some were purged: there is no telling which.
            self._jobs = {job.id: job for job in map(job_of, db.execute(_CHANGED, (-1,)))}
        self._order = sorted(self._jobs.values(), key=_key, reverse=True)


def _key(job: Job) -> tuple[bool, datetime, int, str]:
    return (job.status.live, job.created_at, job.number, job.id)
