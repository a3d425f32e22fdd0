"""Figures that come late, or from another file, are added to their step; nothing is taken back."""

from __future__ import annotations

import random

import pytest

from tests.store.test_delivery import contents, empty_store
from tests.store.wire import Wire, a_job


def a_script() -> Wire:
    """Epochs in order, other figures of each a little later, and a whole file of them at the end."""
    wire = Wire().start()
    for step in range(1, 30):
        wire.train(step, 9.0 / step, epoch=step)
        wire.write("eval", step, eval_loss=10.0 / step, epoch=step)
        if step > 2:
            wire.write("metric", step - 2, kind="more", **{"stats/val/separation": step / 100})
    for step in range(1, 30):
        wire.write("metric", step, kind="more", epoch=step, **{"late/column": float(step)})
    return wire.write("metric", 12, kind="eval", span_f1=0.5, epoch=12)


def test_late_figures_join_their_steps_and_take_nothing_back() -> None:
    with empty_store() as store:
        store.add(a_job())
        store.ingest("job-1", a_script().bytes, 0)
        for metric in ("loss", "eval_loss", "late/column"):
            assert [point.x for point in store.curve("job-1", metric).points] == list(range(1, 30))
        late = store.curve("job-1", "late/column")
        assert [point.mean for point in late.points] == [float(step) for step in range(1, 30)]
        assert [(p.x, p.mean) for p in store.curve("job-1", "span_f1").points] == [(12.0, 0.5)]
        assert store.job("job-1").current_step == 29
        assert store.job("job-1").loss == pytest.approx(9 / 29)


@pytest.mark.parametrize("seed", range(5))
def test_a_delivery_cut_anywhere_gives_the_same_tables(seed: int) -> None:
    lines, dice = a_script().lines, random.Random(seed)
    found = []
    for cuts in ([], sorted(dice.sample(range(1, len(lines)), 7))):
        with empty_store() as store:
            store.add(a_job())
            at = 0
            for first, end in zip([0, *cuts], [*cuts, len(lines)], strict=True):
                at = store.ingest("job-1", b"".join(lines[first:end]), at).offset
            found.append(contents(store))
    assert found[0] == found[1]


def test_a_step_that_only_other_files_know_stands_between_its_neighbours() -> None:
    wire = Wire().start().train(10, 1.0, epoch=1).train(30, 0.5, epoch=3)
    wire.write("metric", 20, kind="more", epoch=2, **{"stats/x": 7.0})
    with empty_store() as store:
        store.add(a_job())
        store.ingest("job-1", wire.bytes, 0)
        for axis, x in (("step", 20.0), ("epoch", 2.0)):
            assert [(p.x, p.mean) for p in store.curve("job-1", "stats/x", axis=axis).points] == [(x, 7.0)]
        assert [point.x for point in store.curve("job-1", "loss").points] == [10.0, 30.0]


def test_a_later_attempt_takes_back_what_an_earlier_one_added() -> None:
    wire = a_script()
    wire.attempt = 2
    wire.train(20, 0.1)
    with empty_store() as store:
        store.add(a_job())
        store.ingest("job-1", wire.bytes, 0)
        assert store.curve("job-1", "late/column").points[-1].x == 19
