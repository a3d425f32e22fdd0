"""The hosted store: this machine's own SQLite store, kept in step with a team's Supabase project.

All reads are of the SQLite file, so they are as fast as ever and work without a network; what changes here is
sent, and what changes there is taken in, by `engine.store.hosted.sync`.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.errors import BadInput, HostedDown, SignedOut
from engine.job.events import Event
from engine.records import Axis, Checkpoint, Curve, HostSample, Job, MetricSummary
from engine.store.base import Action, Done
from engine.store.hosted import ledger
from engine.store.hosted.project import Project
from engine.store.hosted.realtime import Realtime
from engine.store.hosted.server import Server
from engine.store.hosted.state import State
from engine.store.hosted.sync import LONGEST_WAIT, PACE, Sync
from engine.store.hosted.wire import READ_SECONDS, Refused
from engine.store.sqlite import SQLiteStore


class SupabaseStore(SQLiteStore):
    """Jobs that a team shares.

    Args:
        path: The SQLite file.
        project: The hosted project, and who is signed in.
        live: Keep in step in the background; else only when `sync` is called, and a job that is looked at is
            fetched at once.
        pace: Seconds between two looks for what is new.
        longest_wait: Seconds between two tries at most, while the server is away.
        read_seconds: How long to wait for an answer.
    """

    def __init__(
        self,
        path: Path,
        project: Project,
        *,
        live: bool = True,
        pace: float = PACE,
        longest_wait: float = LONGEST_WAIT,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        super().__init__(path)
        self._project, self._live = project, live
        self._fetched: set[str] = set()
        self._sync = Sync(
            self._database,
            lambda: Server(project, read_seconds=read_seconds),
            project.account,
            lambda jobs: self._announce(jobs),
            pace=pace,
            longest_wait=longest_wait,
            realtime=Realtime(project, lambda: self._sync.wake()) if live else None,
        )
        if live:
            self._sync.start()

    # ---- in step

    @property
    def state(self) -> State:
        """How the hosted store stands to this machine."""
        return self._sync.state

    @property
    def standing(self) -> str:  # type: ignore[override]
        """What the user must know of it, one line; empty while all is well."""
        return self._sync.state.line

    def sync(self) -> None:
        """Send and take in everything once, now; what keeps it from being done is in the state."""
        self._sync.tried()

    def share(self, job_ids: Sequence[str]) -> int:
        """Bring jobs of this machine to the hosted store; returns how many were not there yet.

        Those that are followed elsewhere, which another user of this machine has from there, are not its own.
        """
        with self._database.writing() as db:
            new = [job for job in job_ids if not ledger.copied(db, self._project.account, job)]
            for job_id in new:
                ledger.track(db, self._project.account, job_id)
            # Who looks whether there is something to send looks at this first.
            db.execute("UPDATE revision SET value = value + 1")
        self._sync.wake()
        return len(new)

    def fetch(self, job_id: str) -> None:
        """Take in the events of a job that is followed elsewhere.

        Raises:
            HostedDown, SignedOut: They can't be had.
        """
        self._sync.fetch(job_id)

    def grant(self, job_id: str, hours: float) -> dict[str, str]:
        """The variables with which a job's pod reports: with a new token for that job alone.

        Raises:
            HostedDown, SignedOut, Refused: It can't be done now.
        """
        token = secrets.token_urlsafe(32)
        hosted = self._sync.grant(job_id, hashlib.sha256(token.encode()).hexdigest(), hours)
        return {
            "PODIUM_REPORT_URL": self._project.url,
            "PODIUM_REPORT_KEY": self._project.key,
            "PODIUM_REPORT_JOB": hosted,
            "PODIUM_JOB_TOKEN": token,
        }

    def revoke(self, job_id: str) -> None:
        """Make all tokens of a job worthless.

        Raises:
            HostedDown, SignedOut, Refused: It can't be done now.
        """
        self._sync.revoke(job_id)

    def close(self) -> None:
        """Stop keeping in step, and close the file."""
        self._sync.close()
        super().close()

    def _announce(self, job_ids: set[str]) -> None:
        """Tell the listeners of what came, or with no job of a new standing."""
        with self._guard:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(frozenset(job_ids))

    def _added(self, db: sqlite3.Connection, job: Job) -> None:
        ledger.track(db, self._project.account, job.id)

    def _tell(self, *job_ids: str) -> None:
        super()._tell(*job_ids)
        self._sync.wake()

    # ---- what only a run's owner may do

    def act(self, action: Action, job_ids: Sequence[str]) -> Done:
        """As of any store; of one's own runs."""
        self._own(job_ids)
        return super().act(action, job_ids)

    def annotate(
        self,
        job_ids: Sequence[str],
        *,
        name: str | None = None,
        note: str | None = None,
        add: Collection[str] = (),
        drop: Collection[str] = (),
    ) -> Done:
        """As of any store; of one's own runs."""
        self._own(job_ids)
        return super().annotate(job_ids, name=name, note=note, add=add, drop=drop)

    def forget(self, job_ids: Sequence[str]) -> None:
        """As of any store; of one's own runs."""
        self._own(job_ids)
        super().forget(job_ids)

    def _own(self, job_ids: Sequence[str]) -> None:
        """Refuse what the hosted store would refuse."""
        with self._database.reading() as db:
            for job_id in job_ids:
                found = db.execute(
                    "SELECT name, user_id FROM local_training_jobs WHERE id = ?", (job_id,)
                ).fetchone()
                if found and found[1] not in (None, self._project.user_id):
                    raise BadInput(f"{found[0]} is a mate's run", "Only its owner can change it.")

    # ---- what is looked at

    def _attend(self, job_id: str) -> None:
        if self._live:
            self._sync.attend(job_id)
        elif job_id not in self._fetched:
            self._fetched.add(job_id)
            try:
                self._sync.fetch(job_id)
            except (HostedDown, SignedOut, Refused):
                pass  # what is here is shown, and `standing` says why it may be old

    def events(
        self, job_id: str, types: Collection[str] | None = None, *, after: int = 0, limit: int | None = None
    ) -> list[Event]:
        """As of any store."""
        self._attend(job_id)
        return super().events(job_id, types, after=after, limit=limit)

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """As of any store."""
        self._attend(job_id)
        return super().checkpoints(job_id)

    def curve(
        self,
        job_id: str,
        metric: str,
        *,
        axis: Axis = "step",
        low: float | None = None,
        high: float | None = None,
        columns: int = 400,
    ) -> Curve:
        """As of any store."""
        self._attend(job_id)
        return super().curve(job_id, metric, axis=axis, low=low, high=high, columns=columns)

    def metrics(self, job_id: str) -> list[str]:
        """As of any store."""
        self._attend(job_id)
        return super().metrics(job_id)

    def summaries(self, job_id: str, *, best_step: int | None = None) -> dict[str, MetricSummary]:
        """As of any store."""
        self._attend(job_id)
        return super().summaries(job_id, best_step=best_step)

    def metric_rows(self, job_id: str, *, limit: int | None = None) -> list[dict[str, Any]]:
        """As of any store."""
        self._attend(job_id)
        return super().metric_rows(job_id, limit=limit)

    def predictions(self, job_id: str, *, step: int | None = None) -> list[dict[str, Any]]:
        """As of any store."""
        self._attend(job_id)
        return super().predictions(job_id, step=step)

    def host_samples(
        self, job_id: str, limit: int = 120, *, until: datetime | None = None
    ) -> list[HostSample]:
        """As of any store."""
        self._attend(job_id)
        return super().host_samples(job_id, limit, until=until)
