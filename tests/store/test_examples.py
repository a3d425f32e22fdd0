"""With the losses of single examples, checkpoints that pairs can tell apart are no ties."""

from __future__ import annotations

import random
from typing import Any

from tests.store.test_delivery import empty_store
from tests.store.wire import Wire, a_job


def a_run(order: str = "rows", shift: float = 0.01) -> Wire:
    """Six evaluations whose curve is noisy; each example is a little better at the best of them."""
    dice, wire = random.Random(0), Wire().start()
    hard = [dice.uniform(0.5, 3.0) for _ in range(40)]
    mean = sum(hard) / len(hard)
    for step, above in ((10, 0.3), (20, 0.0), (30, 0.25), (40, shift), (50, 0.28), (60, 0.2)):
        losses: list[Any] = [loss + above + dice.gauss(0, 0.001) for loss in hard]
        wire.evaluate(step, mean + above, train_loss=mean)
        wire.write("examples", step, losses=losses, order="rows" if step == 20 else order)
    return wire


def ties(wire: Wire) -> tuple[int, list[int]]:
    with empty_store() as store:
        store.add(a_job())
        store.ingest("job-1", wire.bytes, 0)
        found = store.checkpoints("job-1")
    return next(item.step for item in found if item.is_best), [item.step for item in found if item.tied]


def test_pairs_tell_apart_what_the_curve_can_not() -> None:
    wire = a_run()
    without = Wire()
    without.lines = [line for line in wire.lines if b'"type":"examples"' not in line]
    best, tied = ties(without)
    assert best == 20 and 40 in tied
    assert ties(wire) == (20, [])


def test_the_same_losses_but_for_noise_are_tied() -> None:
    assert ties(a_run(shift=0.0))[1] == [40]


def test_examples_in_another_order_are_no_pairs() -> None:
    assert 40 in ties(a_run(order="2x4"))[1]


def test_a_later_attempt_replaces_them_and_another_shape_is_left_out() -> None:
    wire = Wire().start().write("examples", 10, losses=[1.0, 2.0], order="rows")
    wire.write("examples", 20, losses="many", order="rows").write("examples", None, losses=[1], order="rows")
    wire.write("examples", 10, losses=[0.5, "NaN", "x"], order="rows")
    with empty_store() as store:
        store.add(a_job())
        store.ingest("job-1", wire.bytes, 0)
        found = store.example_losses("job-1")
        assert list(found) == [10]
        assert found[10][0] == 0.5 and all(loss != loss for loss in found[10][1:])
