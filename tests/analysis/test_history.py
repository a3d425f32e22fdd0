"""The runs of each model as a story."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis.history import best_of, by_model, improvement, spark_values
from engine.job.events import Status
from tests.analysis.made import NAN, a_run


def test_runs_are_grouped_by_model_in_the_order_of_their_first_run() -> None:
    jobs = [a_run(3, base_model="b"), a_run(2, base_model="a"), a_run(1, base_model="b")]
    groups = by_model(jobs)
    assert [(group.model, [job.number for job in group.jobs]) for group in groups] == [
        ("b", [3, 1]),
        ("a", [2]),
    ]
    nameless = by_model([replace(jobs[0], base_model=None)])
    assert nameless[0].model == "unknown model"


def test_the_best_is_the_lowest_and_of_equal_ones_the_oldest() -> None:
    jobs = [a_run(4, NAN), a_run(3, 0.7), a_run(1, None), a_run(2, 0.7), a_run(5, 0.9)]
    group = by_model(jobs)[0]
    assert group.best is not None
    assert group.best.number == 2
    assert group.worse == {"job-2": 0, "job-3": 0, "job-5": pytest.approx(2 / 7)}
    assert best_of([a_run(1, None)]) is None


def test_the_learning_curve_of_the_experimenter_never_rises() -> None:
    found = improvement([a_run(at, loss) for at, loss in enumerate([1.0, 1.2, 0.8, 0.9])])
    assert found.losses == (1.0, 1.2, 0.8, 0.9)
    assert found.best_so_far == (1.0, 1.0, 0.8, 0.8)
    assert (found.gained, found.sentence) == (None, "")


def test_it_says_when_the_last_runs_gained_next_to_nothing() -> None:
    losses = [1.0, 0.8, 0.9, 0.799, 0.85, 0.797, 0.82]
    found = improvement([a_run(at, loss) for at, loss in enumerate(losses)])
    assert found.stalled
    assert found.sentence == "last 5 runs gained 0.4 %: consider stopping"


def test_it_does_not_when_they_gained_something() -> None:
    found = improvement([a_run(at, loss) for at, loss in enumerate([1.0, 0.9, 0.8, 0.85, 0.7, 0.75])])
    assert not found.stalled
    assert found.sentence == "last 5 runs gained 30 %"


def test_only_runs_that_are_over_and_were_evaluated_count_whatever_their_order() -> None:
    jobs = [a_run(at, 1 - at / 100) for at in range(6)]
    noise = [a_run(7, 0.1, status=Status.RUNNING), a_run(8, None, status=Status.FAILED), a_run(9, NAN)]
    assert improvement([*noise, *jobs[::-1]]) == improvement(jobs)
    assert improvement(jobs).runs == 5


def test_losses_at_or_below_zero_have_no_gain() -> None:
    assert improvement([a_run(at, -1.0) for at in range(9)]).gained is None


@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.integers(0, 20))
def test_a_sparkline_gets_no_more_values_than_it_has_cells(values: list[float], columns: int) -> None:
    found = spark_values(values, columns)
    assert len(found) == min(len(values), columns)
    if found:
        assert min(values) - 1e-6 <= min(found) <= max(found) <= max(values) + 1e-6
