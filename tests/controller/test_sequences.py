"""Archive, delete, restore, undo and purge in any order: no folder is lost, and none comes back."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.controller import Controller
from engine.controller.curator import Curator
from engine.errors import BadInput
from engine.home import Home
from engine.job.events import Status
from engine.store.sqlite import SQLiteStore
from tests.store.wire import a_job

JOBS = tuple(f"job-{at}" for at in range(4))
State = dict[str, tuple[bool, bool]]
"""Archived and deleted, by the id of each run that there is."""

chosen = st.lists(st.sampled_from(JOBS), min_size=1, max_size=4, unique=True)
steps: st.SearchStrategy[tuple[str, list[str]]] = st.one_of(
    st.just(("undo", [])),
    st.tuples(st.sampled_from(("archive", "restore", "delete", "purge")), chosen),
)


@contextmanager
def opened() -> Iterator[tuple[Home, SQLiteStore]]:
    """A home with four finished runs, each with a folder of its own content."""
    path = Path(tempfile.mkdtemp())
    home = Home(path)
    home.create()
    store = SQLiteStore(home.database)
    for job_id in JOBS:
        store.add(a_job(job_id, status=Status.COMPLETED, provider="local"))
        home.job(job_id).path.mkdir()
        (home.job(job_id).path / "content").write_text(job_id)
    try:
        yield home, store
    finally:
        store.close()
        shutil.rmtree(path)


def after(action: str, before: tuple[bool, bool]) -> tuple[bool, bool]:
    archived, deleted = before
    return {"archive": (True, deleted), "delete": (archived, True), "restore": (False, False)}[action]


class Model:
    """What must be so: the states, and what each action can take back."""

    def __init__(self) -> None:
        self.states: State = dict.fromkeys(JOBS, (False, False))
        self.done: list[dict[str, tuple[tuple[bool, bool], tuple[bool, bool]]]] = []

    def act(self, action: str, job_ids: list[str]) -> None:
        changed = {
            job_id: (self.states[job_id], after(action, self.states[job_id]))
            for job_id in job_ids
            if after(action, self.states[job_id]) != self.states[job_id]
        }
        if changed:
            self.done.append(changed)
            self.states |= {job_id: new for job_id, (_, new) in changed.items()}

    def undo(self) -> None:
        if self.done:
            for job_id, (old, _) in self.done.pop().items():
                self.states[job_id] = old

    def purge(self, job_ids: list[str]) -> None:
        for job_id in job_ids:
            del self.states[job_id]
        # What is gone for good is taken back by nobody, and an action on nothing is none.
        self.done = [{k: v for k, v in each.items() if k not in job_ids} for each in self.done]
        self.done = [each for each in self.done if each]


async def follow(home: Home, store: SQLiteStore, sequence: list[tuple[str, list[str]]]) -> None:
    controller, model = Controller(store, home), Model()
    for action, wanted in sequence:
        there = [job_id for job_id in wanted if job_id in model.states]
        if action == "undo":
            done = await controller.undo()
            assert (done is None) == (not model.done)
            model.undo()
        elif action == "purge":
            trashed = [job_id for job_id in there if model.states[job_id][1]]
            curator = Curator(store, home)
            if trashed != there:
                try:
                    curator.named([store.job(job_id) for job_id in there])
                    raise AssertionError("a run outside the trash may be purged")
                except BadInput:
                    pass
            curator.purge(curator.named([store.job(job_id) for job_id in trashed]))
            model.purge(trashed)
        elif there:
            await getattr(controller, action)(there)
            model.act(action, there)
        check(home, store, model.states)
    await controller.close()


def check(home: Home, store: SQLiteStore, states: State) -> None:
    """Rows as they must be, and each run's folder where it belongs with what it held, and nowhere else."""
    jobs = store.jobs(archived=True, deleted=True)
    assert {job.id: (job.archived, job.deleted) for job in jobs} == states
    beside = {path.name: (path / "content").read_text() for path in home.jobs.iterdir()}
    trash = {
        path.name: (path / "content").read_text()
        for path in home.trash.iterdir()
        if not path.name.startswith(".lock")
    }
    assert beside == {job_id: job_id for job_id, (_, deleted) in states.items() if not deleted}
    assert trash == {job_id: job_id for job_id, (_, deleted) in states.items() if deleted}


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, max_size=10))
def test_any_sequence_agrees_with_a_model_of_rows_and_folders(sequence: list[tuple[str, list[str]]]) -> None:
    with opened() as (home, store):
        asyncio.run(follow(home, store, sequence))


def test_what_was_purged_is_not_brought_back_by_undo() -> None:
    with opened() as (home, store):
        sequence = [("delete", ["job-0", "job-1"]), ("purge", ["job-0"]), ("undo", []), ("undo", [])]
        asyncio.run(follow(home, store, sequence))
        assert home.job("job-1").path.exists() and not home.job("job-0").path.exists()


def test_the_time_of_a_deletion_is_that_of_the_action() -> None:
    with opened() as (home, store):
        before = datetime.now(UTC)
        asyncio.run(follow(home, store, [("delete", ["job-0"])]))
        deleted = store.job("job-0").deleted_at
        assert deleted is not None and before.replace(microsecond=0) <= deleted <= datetime.now(UTC)
