"""Ticks, smoothing and outliers, by what is true of them."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.widgets import scales

finite = st.floats(-1e12, 1e12)


@given(finite, st.floats(1e-6, 1e12), st.integers(1, 12))
def test_ticks_are_few_round_evenly_apart_and_inside(low: float, span: float, most: int) -> None:
    high = low + span
    ticks = scales.nice_ticks(low, high, most)
    assert len(ticks) <= most
    assert all(low - span * 1e-6 <= tick <= high + span * 1e-6 for tick in ticks)
    gaps = {f"{after - before:.6g}" for before, after in pairwise(ticks)}
    assert len(gaps) <= 1 or span < abs(low) * 1e-9


def test_ticks_are_multiples_of_one_two_and_five() -> None:
    assert scales.nice_ticks(0, 1220, 7) == [0, 200, 400, 600, 800, 1000, 1200]
    assert scales.nice_ticks(0.4, 2.4, 5) == [0.5, 1.0, 1.5, 2.0]


def test_ticks_are_written_with_the_decimals_that_tell_them_apart() -> None:
    assert scales.written([0.5, 1.0, 1.5]) == ["0.5", "1.0", "1.5"]
    assert scales.written([0.02, 0.04, 0.1]) == ["0.02", "0.04", "0.10"]
    assert scales.written([200, 400]) == ["200", "400"]
    assert scales.written([0.01, 1, 100]) == ["0.01", "1", "100"]
    assert scales.written([1e-3, 0.1, 10]) == ["0.001", "0.1", "10"]
    assert scales.written([1e-4, 2e-4]) == ["1.0e-4", "2.0e-4"]
    assert scales.written([0, 20_000, 40_000]) == ["0", "20k", "40k"]


def test_a_logarithmic_axis_has_powers_of_ten_where_it_spans_them() -> None:
    assert scales.log_ticks(-3, 2, 6) == [-3, -2, -1, 0, 1, 2]
    near = [round(10**tick, 6) for tick in scales.log_ticks(math.log10(0.5), math.log10(2.5), 5)]
    assert near == [0.5, 1.0, 1.5, 2.0, 2.5]


@given(st.lists(finite, min_size=1, max_size=60), st.floats(0, 1))
def test_smoothing_leaves_both_ends_where_they_are(values: list[float], strength: float) -> None:
    smoothed = scales.smooth(values, [1] * len(values), strength)
    assert len(smoothed) == len(values)
    assert smoothed[0] == pytest.approx(values[0], rel=1e-6, abs=1e-2)
    assert smoothed[-1] == pytest.approx(values[-1], rel=1e-6, abs=1e-2)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=60), st.floats(0, 1))
def test_smoothing_stays_within_what_there_was(values: list[float], strength: float) -> None:
    smoothed = scales.smooth(values, [1] * len(values), strength)
    assert min(smoothed) >= min(values) - 1e-9
    assert max(smoothed) <= max(values) + 1e-9


def test_smoothing_has_no_lag() -> None:
    line = [float(index) for index in range(100)]
    assert scales.smooth(line, [1] * 100, 0.05) == pytest.approx(line)


def test_smoothing_weighs_buckets_by_their_points() -> None:
    assert scales.smooth([0.0, 0.0, 9.0], [1, 1, 1], 0.34)[1] == 3.0
    assert scales.smooth([0.0, 0.0, 9.0], [1, 1, 7], 0.34)[1] == 7.0


def test_outliers_are_outside_the_usual_range_and_nothing_else_is() -> None:
    values = [1 + index / 1000 for index in range(1000)]
    low, high = scales.usual_range([*values, 1e9, -1e9])
    assert low >= 0.5
    assert high <= 2.5
    assert scales.usual_range(values) == (1.0, 1.999)


def test_a_range_of_one_value_is_given_room() -> None:
    low, high = scales.padded(2.0, 2.0)
    assert low < 2.0 < high
