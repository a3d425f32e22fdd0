"""A checkpoint's numbers become a score, whatever the numbers are."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer import (
    FORMULA,
    FORMULA_DPO,
    FORMULA_REWARD,
    CheckpointMetrics,
    Score,
    Validity,
    Weights,
    order_key,
    score,
)
from tests.scorer import transcription

losses = st.floats(0.0, 50.0)
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**300, 10**320),
    st.floats(),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "0.5", " 2 ", "1_0", "", "loss", "9" * 5000]),
    st.text(max_size=5),
    st.lists(st.floats(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
    st.binary(max_size=3),
    st.complex_numbers(),
    st.fractions(),
)


@pytest.mark.parametrize(
    ("eval_loss", "train_loss", "improved", "total"),
    [(0.5, 0.45, True, 0.188244), (0.4, 0.1, False, 0.432459)],
)
def test_worked_values(eval_loss: float, train_loss: float, improved: bool, total: float) -> None:
    result = score(CheckpointMetrics(1, eval_loss, train_loss, improved))
    assert result.total == pytest.approx(total, abs=5e-7)
    assert result.formula == "multi-metric/1"


def test_the_parts_of_a_worked_value() -> None:
    result = score(CheckpointMetrics(step=200, eval_loss=0.5, train_loss=0.45, improved=True))
    assert result.eval_loss == pytest.approx(0.25)
    assert result.gap == pytest.approx(0.03)
    assert result.perplexity == pytest.approx(0.1 * math.exp(0.5) / 20)
    assert result.bonus == pytest.approx(-0.1)
    assert result.metrics == CheckpointMetrics(200, 0.5, 0.45, True)


@given(losses, st.none() | losses, st.booleans())
def test_equals_an_independent_transcription(
    eval_loss: float, train_loss: float | None, improved: bool
) -> None:
    ours = score(CheckpointMetrics(1, eval_loss, train_loss, improved)).total
    theirs = transcription.total(eval_loss, train_loss, improved)
    assert math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-12)


@given(losses, st.none() | losses, st.booleans(), st.floats(0, 1))
def test_the_preference_variant_equals_its_transcription(
    eval_loss: float, train_loss: float | None, improved: bool, accuracy: float
) -> None:
    ours = score(CheckpointMetrics(1, eval_loss, train_loss, improved, accuracy))
    theirs = transcription.total(eval_loss, train_loss, improved, accuracy)
    assert math.isclose(ours.total, theirs, rel_tol=1e-12, abs_tol=1e-12)
    assert ours.formula == FORMULA_DPO


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_rlhf_is_ordered_by_reward_less_kl(reward: float, kl: float) -> None:
    result = score(CheckpointMetrics(1, reward=reward, kl=kl))
    assert result.total == -(reward - kl)
    assert (result.formula, result.eval_loss + result.gap) == (FORMULA_REWARD, result.total)


def test_a_reward_without_a_kl_stands_alone() -> None:
    assert score(CheckpointMetrics(1, reward=2.0)).total == -2.0


@given(losses, st.none() | losses, st.booleans())
def test_the_parts_add_up(eval_loss: float, train_loss: float | None, improved: bool) -> None:
    result = score(CheckpointMetrics(1, eval_loss, train_loss, improved))
    assert result.total == result.eval_loss + result.gap + result.perplexity + result.bonus


@given(losses, losses)
def test_each_part_is_monotone_in_its_own_number(low: float, high: float) -> None:
    low, high = sorted((low, high))
    better, worse = score(CheckpointMetrics(1, low)), score(CheckpointMetrics(1, high))
    assert better.eval_loss <= worse.eval_loss
    assert better.perplexity <= worse.perplexity
    assert better.total <= worse.total


@given(losses, losses, losses)
def test_a_wider_gap_never_scores_better(eval_loss: float, near: float, far: float) -> None:
    near, far = sorted((near, far))
    for sign in (1, -1):
        narrow, wide = (max(0.0, eval_loss + sign * gap) for gap in (near, far))
        assert (
            score(CheckpointMetrics(1, eval_loss, narrow)).total
            <= score(CheckpointMetrics(1, eval_loss, wide)).total
        )


@given(losses, st.none() | losses)
def test_improvement_always_lowers_the_score(eval_loss: float, train_loss: float | None) -> None:
    plain = score(CheckpointMetrics(1, eval_loss, train_loss, False))
    improved = score(CheckpointMetrics(1, eval_loss, train_loss, True))
    assert improved.total == pytest.approx(plain.total - 0.1, abs=1e-9)


def test_perplexity_never_overflows() -> None:
    assert score(CheckpointMetrics(1, 710.0)).perplexity == pytest.approx(0.1)
    assert score(CheckpointMetrics(1, 1e300)).validity is Validity.VALID


@given(junk, junk, junk, junk, junk, junk, junk)
def test_any_numbers_at_all_give_a_score_that_survives_json(
    step: object,
    eval_loss: object,
    train_loss: object,
    improved: object,
    accuracy: object,
    reward: object,
    kl: object,
) -> None:
    metrics = CheckpointMetrics(step, eval_loss, train_loss, improved, accuracy, reward, kl)  # type: ignore[arg-type]
    result = score(metrics)
    assert (result.validity is Validity.VALID) == math.isfinite(result.total) == (not result.reason)
    stored = json.dumps(result.to_json(), allow_nan=False)
    assert order_key(Score.from_json(json.loads(stored))) == order_key(result)
    assert Score.from_json(json.loads(stored)).to_json() == result.to_json()


@pytest.mark.parametrize("given", ["0.5", 0.5, Fraction(1, 2), " 0.5 "])
def test_numbers_of_any_kind_count_as_what_they_are(given: object) -> None:
    assert score(CheckpointMetrics(1, given)) == score(CheckpointMetrics(1, 0.5))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metrics", "validity", "reason"),
    [
        (CheckpointMetrics(1), Validity.MISSING, "there is no eval loss"),
        (CheckpointMetrics(1, "abc"), Validity.MISSING, "the eval loss is no number"),  # type: ignore[arg-type]
        (CheckpointMetrics(1, True), Validity.MISSING, "the eval loss is no number"),
        (CheckpointMetrics("x", 1.0), Validity.MISSING, "the step is no whole number"),  # type: ignore[arg-type]
        (CheckpointMetrics(1, math.nan), Validity.NOT_FINITE, "the eval loss is NaN"),
        (CheckpointMetrics(1, "-Infinity"), Validity.NOT_FINITE, "the eval loss is -Infinity"),  # type: ignore[arg-type]
        (CheckpointMetrics(1, 1.0, math.inf), Validity.NOT_FINITE, "the train loss is Infinity"),
        (CheckpointMetrics(1, 10**400), Validity.NOT_FINITE, "the eval loss is Infinity"),
        (CheckpointMetrics(1, 1e-5, 1e308), Validity.NOT_FINITE, "the numbers are too large to add up"),
        (CheckpointMetrics(1, -0.1), Validity.NEGATIVE, "the eval loss is below zero"),
        (CheckpointMetrics(1, 0.1, -0.1), Validity.NEGATIVE, "the train loss is below zero"),
        (CheckpointMetrics(1, 0.1, accuracy=1.5), Validity.MISSING, "the accuracy is not between 0 and 1"),
        (CheckpointMetrics(1, 0.1, reward=math.nan), Validity.NOT_FINITE, "the reward is NaN"),
    ],
)
def test_what_is_wrong_is_said(metrics: CheckpointMetrics, validity: Validity, reason: str) -> None:
    result = score(metrics)
    assert (result.validity, result.reason) == (validity, reason)
    assert math.isnan(result.total)


def test_a_run_can_name_its_formula_so_that_a_lost_number_does_not_change_it() -> None:
    result = score(CheckpointMetrics(1, 0.5), formula=FORMULA_DPO)
    assert (result.formula, result.reason) == (FORMULA_DPO, "there is no accuracy")
    with pytest.raises(ValueError, match="no formula is called multi-metric/9"):
        score(CheckpointMetrics(1, 0.5), formula="multi-metric/9")


def test_weights_are_stored_with_the_score() -> None:
    weights = Weights(eval_loss=1.0, gap=0.0, perplexity=0.0, bonus=0.0)
    result = score(CheckpointMetrics(1, 0.5, 0.1, True), weights)
    assert result.total == 0.5
    assert Score.from_json(result.to_json()).weights == weights


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, "0.5", None, True, 10**400])
def test_weights_must_be_finite_and_not_negative(bad: object) -> None:
    with pytest.raises(ValueError, match="the weight gap must be a number of at least 0"):
        Weights(gap=bad)  # type: ignore[arg-type]


def broken_scores() -> list[object]:
    good = score(CheckpointMetrics(7, 0.5, 0.45, True)).to_json()
    invalid = score(CheckpointMetrics(7)).to_json()
    return [
        None,
        [],
        "score",
        {},
        {**good, "total": -1e9},
        {**good, "total": "NaN"},
        {**good, "gap": None},
        {**good, "gap": {}},
        {**good, "formula": 1},
        {**good, "formula": "x" * 10_000},
        {**good, "validity": "excellent"},
        {**good, "validity": 0},
        {**good, "reason": ["a"]},
        {**good, "weights": "none"},
        {**good, "weights": {"gap": -1}},
        {**good, "weights": {"gap": None}},
        {**good, "metrics": None},
        {**good, "metrics": {**good["metrics"], "step": 10**30}},
        {**good, "metrics": {**good["metrics"], "step": True}},
        {**good, "metrics": {**good["metrics"], "improved": "yes"}},
        {**good, "metrics": {**good["metrics"], "eval_loss": []}},
        {**invalid, "total": -5.0},
    ]


@pytest.mark.parametrize("stored", broken_scores())
def test_a_broken_stored_score_is_refused(stored: object) -> None:
    with pytest.raises(ValueError):
        Score.from_json(stored)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(score(CheckpointMetrics(7, 0.5)).to_json())), json_values)
def test_junk_from_a_pod_is_a_value_error_or_a_score(key: str, value: object) -> None:
    stored = {**score(CheckpointMetrics(7, 0.5, 0.4)).to_json(), key: value}
    try:
        result = Score.from_json(stored)
    except ValueError:
        return
    assert isinstance(result, Score)
    assert order_key(result) == order_key(replace(result))


def test_the_formula_has_the_name_that_is_promised() -> None:
    assert FORMULA == score(CheckpointMetrics(1, 1.0)).formula == "multi-metric/1"
