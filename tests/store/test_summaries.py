"""A metric in four numbers costs the same however long the run was."""

from __future__ import annotations

from pathlib import Path

from engine.store.sqlite import SQLiteStore
from tests.store.wire import Wire, a_job


def effort(path: Path, steps: int) -> int:
    """How many hundreds of instructions the database carries out for the summaries of a run."""
    store = SQLiteStore(path / f"{steps}.db")
    store.add(a_job())
    wire = Wire().start(total_steps=steps)
    for step in range(1, steps + 1):
        wire.train(step, 4 - step / steps)
    wire.evaluate(10, 2.0)
    store.ingest("job-1", wire.bytes, 0)
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    db = store._database._connection()
    db.set_progress_handler(count, 100)
    assert store.summaries("job-1", best_step=10)["loss"].at_best is not None
    db.set_progress_handler(None, 100)
    store.close()
    return counted


def test_ten_times_the_steps_are_no_more_work(tmp_path: Path) -> None:
    assert effort(tmp_path, 10_000) < 1.5 * effort(tmp_path, 1_000)
