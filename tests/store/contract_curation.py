"""What every backend of the store must do with names, notes, tags, purged runs and dropped checkpoints."""

from __future__ import annotations

import pytest

from engine.errors import BadInput, NoSuchJob
from engine.job.events import Status
from engine.store.base import Store
from tests.store.contract import FILE, Connect
from tests.store.wire import Wire, a_job, a_run


class CurationContract:
    """The tests; `store` and `connect` come from the backend's module."""

    def test_a_name_a_note_and_tags_are_kept(self, store: Store, connect: Connect) -> None:
        store.add(a_job(tags=("old", "x"), metadata={"rows": 7}))
        store.annotate(["job-1"], name="the good one", note="keep", add=("final", "x"), drop=("old",))
        found = connect().job("job-1")
        assert (found.name, found.tags) == ("the good one", ("x", "final"))
        assert dict(found.metadata) == {"rows": 7, "note": "keep"}
        store.annotate(["job-1"], note="")
        assert dict(store.job("job-1").metadata) == {"rows": 7}
        assert store.job("job-1").name == "the good one"

    def test_what_the_pod_tells_later_leaves_the_note_alone(self, store: Store) -> None:
        job = store.add(a_job())
        store.annotate([job.id], note="keep", add=("final",))
        store.ingest(job.id, a_run().bytes, 0)
        found = store.job(job.id)
        assert (found.metadata["note"], found.tags) == ("keep", ("final",))

    def test_undo_takes_back_names_notes_and_tags_in_their_turn(self, store: Store, connect: Connect) -> None:
        store.add(a_job(status=Status.COMPLETED, tags=("old",), metadata={"rows": 7}))
        before = store.job("job-1")
        assert store.annotate(["job-1"], name="renamed").action == "rename"
        store.act("archive", ["job-1"])
        assert store.annotate(["job-1"], add=("final",), drop=("old",)).action == "tag"
        assert store.annotate(["job-1"], note="keep").job_ids == ("job-1",)
        assert store.annotate(["job-1"], note="keep").job_ids == ()
        undone = [done.action for done in iter(connect().undo, None)]
        assert undone == ["note", "tag", "archive", "rename"]
        found = store.job("job-1")
        assert (found.name, found.tags, dict(found.metadata)) == (before.name, ("old",), {"rows": 7})

    def test_undo_leaves_alone_what_was_said_otherwise_since(self, store: Store) -> None:
        store.add(a_job())
        store.annotate(["job-1"], name="one")
        store.update("job-1", name="two")
        done = store.undo()
        assert done is not None and done.job_ids == ()
        assert store.job("job-1").name == "two"

    def test_one_unknown_job_among_several_annotates_none(self, store: Store) -> None:
        store.add(a_job())
        with pytest.raises(NoSuchJob):
            store.annotate(["job-1", "nobody"], add=("final",))
        assert store.job("job-1").tags == ()

    def test_a_purged_job_is_gone_with_all_that_is_known_of_it(self, store: Store, connect: Connect) -> None:
        for job_id in ("job-1", "job-2"):
            store.add(a_job(job_id, status=Status.COMPLETED))
            store.ingest(job_id, a_run().bytes, 0)
        assert [job.id for job in store.jobs()] == ["job-2", "job-1"]
        store.act("delete", ["job-1"])
        store.forget(["job-1"])
        for seen in (store, connect()):
            assert [job.id for job in seen.jobs(archived=True, deleted=True)] == ["job-2"]
            assert seen.events("job-1") == []
            assert seen.checkpoints("job-1") == []
            assert seen.metrics("job-1") == []
            assert seen.offset("job-1", FILE) == 0
            with pytest.raises(NoSuchJob):
                seen.job("job-1")
        assert store.events("job-2")
        assert store.undo() is None

    def test_a_job_that_is_not_in_the_trash_is_not_purged_and_neither_are_its_fellows(
        self, store: Store
    ) -> None:
        for job_id in ("job-1", "job-2"):
            store.add(a_job(job_id, status=Status.COMPLETED))
        store.act("delete", ["job-1"])
        with pytest.raises(BadInput, match="not in the trash"):
            store.forget(["job-1", "job-2"])
        assert store.job("job-1").deleted
        store.forget(["nobody"])

    def test_dropped_checkpoints_keep_their_numbers_and_give_up_being_the_best(self, store: Store) -> None:
        job = store.add(a_job())
        wire = Wire().start().evaluate(10, 2.0).evaluate(20, 1.0).evaluate(30, 1.5)
        store.ingest(job.id, wire.bytes, 0)
        assert store.job(job.id).best_step == 20
        store.drop_checkpoints(job.id, [20, 99])
        by_step = {item.step: item for item in store.checkpoints(job.id)}
        assert (by_step[20].path, by_step[20].eval_loss) == (None, 1.0)
        found = store.job(job.id)
        assert (found.best_step, found.checkpoint_count, found.size_bytes) == (30, 2, 2040)
        assert found.best_eval_loss == 1.0
