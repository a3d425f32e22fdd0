"""The verdict on the losses: what each takes, how often it is wrong, and that a restart changes nothing."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer import LossTrend, TrendName
from scorer.slope import fit


def followed(losses: list[float], evals: dict[int, float] | None = None) -> LossTrend:
    trend = LossTrend()
    for step, loss in enumerate(losses, start=1):
        trend.add_train(step, loss)
        if evals and step in evals:
            trend.add_eval(step, evals[step])
    return trend


def noisy(rng: random.Random, correlation: float = 0.0, drop: float = 0.0, count: int = 100) -> list[float]:
    """Losses around 3 nats with noise of 0.15, falling by `drop` from end to end."""
    error, losses = rng.gauss(0, 0.15), []
    for i in range(count):
        losses.append(3.0 - drop * i / (count - 1) + error)
        error = correlation * error + rng.gauss(0, 0.15 * math.sqrt(1 - correlation**2))
    return losses


def called(series: int, correlation: float = 0.0, drop: float = 0.0) -> Counter[TrendName]:
    rng = random.Random(42)
    return Counter(followed(noisy(rng, correlation, drop)).verdict().name for _ in range(series))


QUIET = (TrendName.PLATEAU, TrendName.INCONCLUSIVE)


@pytest.mark.parametrize(("correlation", "most"), [(0.0, 0.05), (0.5, 0.07)])
def test_flat_losses_are_seldom_called_anything_else(correlation: float, most: float) -> None:
    counts = called(300, correlation)
    assert 1 - sum(counts[name] for name in QUIET) / 300 <= most


def test_a_drop_of_a_fifth_of_a_nat_is_mostly_seen() -> None:
    assert called(300, drop=0.2)[TrendName.IMPROVING] / 300 >= 0.7


def test_autocorrelation_is_estimated_and_costs_certainty() -> None:
    rng = random.Random(5)
    fits = [fit([*enumerate(noisy(rng, 0.5, 0.2))]) for _ in range(100)]
    assert 0.4 < median(item.autocorrelation for item in fits) < 0.6
    independent = [fit([*enumerate(noisy(rng, 0.0, 0.2))]) for _ in range(100)]
    assert median(item.z for item in independent) < median(item.z for item in fits) < 0


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(-5, 5)), min_size=3, max_size=12))
def test_the_slope_is_the_median_of_all_pairs(rows: list[tuple[int, float]]) -> None:
    x, points = 0, []
    for gap, y in rows:
        x += gap
        points.append((x, y))
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1 :]]
    found = fit(points)
    assert found.change == pytest.approx(median(slopes) * (points[-1][0] - points[0][0]))
    assert found.low <= found.change <= found.high
    rising, falling = sum(s > 0 for s in slopes), sum(s < 0 for s in slopes)
    assert (found.z > 0) == (rising > falling + 1) and (found.z < 0) == (falling > rising + 1)


def test_a_trend_needs_three_points() -> None:
    with pytest.raises(ValueError, match="at least three"):
        fit([(0, 1.0), (1, 2.0)])


def test_a_long_fall_is_improving_and_the_evidence_says_by_how_much() -> None:
    verdict = followed([3.0 - 0.01 * i for i in range(100)]).verdict()
    assert verdict.name is TrendName.IMPROVING
    assert verdict.evidence.startswith("The loss fell by 0.99 nats (39.5 %) over 100 losses")
    assert verdict.numbers["change"] == pytest.approx(-0.99 / 2.505)


def test_a_loss_that_stays_is_a_plateau() -> None:
    rng = random.Random(1)
    verdict = followed([3.0 + rng.gauss(0, 0.01) for _ in range(100)]).verdict()
    assert verdict.name is TrendName.PLATEAU


def test_a_constant_loss_is_a_plateau() -> None:
    assert followed([2.0] * 60).verdict().name is TrendName.PLATEAU


def test_a_steady_rise_is_diverging() -> None:
    assert followed([2.0 + 0.002 * i for i in range(100)]).verdict().name is TrendName.DIVERGING


def test_five_doubled_losses_in_a_row_are_diverging_but_four_are_a_spike() -> None:
    flat = noisy(random.Random(2))
    assert followed([*flat, *[8.0] * 4]).verdict().name is TrendName.SPIKE
    assert followed([*flat, *[8.0] * 5]).verdict().name is TrendName.DIVERGING


def test_a_spike_is_named_with_its_step_and_forgotten_after_five_losses() -> None:
    flat = noisy(random.Random(2))
    verdict = followed([*flat, 5.0]).verdict()
    assert verdict.name is TrendName.SPIKE
    assert verdict.evidence.startswith("The loss at step 101 is 5, ")
    assert verdict.numbers["step"] == 101
    assert followed([*flat, 5.0, *[3.0] * 5]).verdict().name in QUIET


@pytest.mark.parametrize(
    ("loss", "grad_norm"), [(math.nan, 1.0), ("Infinity", 1.0), (3.0, math.nan), (3.0, "NaN")]
)
def test_anything_not_finite_is_said_first(loss: object, grad_norm: object) -> None:
    trend = followed([*noisy(random.Random(2)), 9.0])
    trend.add_train(102, loss, grad_norm)
    verdict = trend.verdict()
    assert verdict.name is TrendName.NAN
    assert "at step 102 is" in verdict.evidence


def test_a_nan_is_forgotten_after_a_window_and_by_a_resume_from_before_it() -> None:
    losses = [3.0] * 20
    trend = followed(losses)
    trend.add_train(21, math.nan)
    trend.add_train(15, 3.0)
    assert trend.verdict().name is not TrendName.NAN
    assert followed([math.nan, *[3.0] * 100]).verdict().name is TrendName.PLATEAU


def test_an_eval_loss_that_is_nan_counts() -> None:
    trend = followed([3.0] * 40)
    trend.add_eval(40, math.nan)
    assert trend.verdict().name is TrendName.NAN


def test_rising_evals_over_falling_train_losses_are_overfitting() -> None:
    losses = [3.0 - 0.02 * i for i in range(100)]
    verdict = followed(losses, {20: 2.8, 40: 2.6, 60: 2.65, 80: 2.7, 100: 2.8}).verdict()
    assert verdict.name is TrendName.OVERFITTING
    assert "rose 3 times in a row to 2.8, 7.7 % above its lowest (2.6)" in verdict.evidence


@pytest.mark.parametrize(
    ("losses", "evals"),
    [
        ([3.0 - 0.02 * i for i in range(100)], {40: 2.6, 60: 2.62, 80: 2.64, 100: 2.66}),  # 2.3 % only
        ([3.0 - 0.02 * i for i in range(100)], {40: 2.6, 60: 2.9, 80: 2.85, 100: 2.9}),  # not in a row
        ([3.0 - 0.02 * i for i in range(100)], {60: 2.6, 80: 2.9, 100: 3.0}),  # two rises only
        ([2.0] * 100, {20: 2.8, 40: 2.6, 60: 2.65, 80: 2.7, 100: 2.8}),  # the train loss does not fall
    ],
)
def test_less_than_that_is_not_overfitting(losses: list[float], evals: dict[int, float]) -> None:
    assert followed(losses, evals).verdict().name is not TrendName.OVERFITTING


def test_few_losses_claim_nothing() -> None:
    falling = [3.0 - 0.05 * i for i in range(40)]
    assert LossTrend().verdict().name is TrendName.WARMING_UP
    assert followed(falling[:9]).verdict().name is TrendName.WARMING_UP
    assert followed(falling[:29]).verdict().name is TrendName.INCONCLUSIVE
    assert followed(falling[:30]).verdict().name is TrendName.IMPROVING


def test_losses_below_zero_raise_no_alarm_by_themselves() -> None:
    rng = random.Random(3)
    assert followed([-0.01 + rng.gauss(0, 0.005) for _ in range(100)]).verdict().name in QUIET


value = st.one_of(st.floats(0.5, 4.0), st.sampled_from([math.nan, math.inf, 50.0]))
logged = st.lists(st.tuples(st.booleans(), value), max_size=160)


@given(logged, st.integers(0, 160), st.integers(0, 40))
@settings(max_examples=40)
def test_a_restart_anywhere_changes_no_verdict(rows: list[tuple[bool, float]], cut: int, back: int) -> None:
    """`back` steps are repeated at the end, as after a resume from an older checkpoint."""
    whole, parts = LossTrend(), LossTrend()
    for index, (is_eval, loss) in enumerate([*rows, *rows[:5]]):
        if index == cut:
            parts = LossTrend.from_json(json.loads(json.dumps(parts.to_json(), allow_nan=False)))
        step = index if index < len(rows) else max(0, index - back)
        for trend in (whole, parts):
            (trend.add_eval if is_eval else trend.add_train)(step, loss)
    assert parts.verdict() == whole.verdict()
    assert parts.to_json() == whole.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"count": None},
        {"count": -1},
        {"lowest_before": None},
        {"train": [[1, 2.0, None]]},
        {"train": [[1, None, None, 0.0]]},
        {"train": [[1, 2.0, "x", 0.0]]},
        {"train": {}},
        {"evals": [[1, None, None]]},
        {"evals": [[2, 1.0, None], [1, 1.0, None]]},
    ],
)
def test_a_broken_state_is_refused(change: dict[str, object]) -> None:
    state = followed([3.0] * 5).to_json()
    assert LossTrend.from_json(state).to_json() == state
    with pytest.raises(ValueError):
        LossTrend.from_json({**state, **change})


def test_what_is_no_state_at_all_is_refused() -> None:
    with pytest.raises(ValueError):
        LossTrend.from_json([1])
